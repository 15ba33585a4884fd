"""What jsonpath can't count: a number that SQL finds out beside the path, and its bounds."""

from typing import Any, Literal, NamedTuple

# Up to here Postgres tells the length of a string fast, by a pattern. From here on a measure is
# faster, and for most payloads it needs none: they are shorter than the string may be.
MAX_QUICK_LENGTH = 254


class Measure(NamedTuple):
    """Of a value: its characters, its members, its items that repeat one, or those that match."""

    of: Literal["length", "members", "repeats", "matches"]
    least: int = 0
    most: int | None = None


def measured(schema: dict[str, Any], keyword: str) -> Measure | None:
    """What this keyword of a schema has to be left to; None: a predicate says it."""
    value = schema[keyword]
    if keyword == "minLength" and value > MAX_QUICK_LENGTH:
        return Measure("length", least=value)
    if keyword == "maxLength" and value > MAX_QUICK_LENGTH:
        return Measure("length", most=value)
    if keyword == "minProperties" and value > 1:
        return Measure("members", least=value)
    if keyword == "maxProperties" and value > 0:
        return Measure("members", most=value)
    if keyword == "uniqueItems" and value:
        return Measure("repeats", most=0)
    if keyword == "contains":
        least, most = schema.get("minContains", 1), schema.get("maxContains")
        if least > 1 or (most or 0) > 0:
            return Measure("matches", least=least, most=most)
    return None
