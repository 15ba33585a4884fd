"""Keywords about numbers, asked of numbers as they are written.

The validator in Rust compares doubles, which is right for the numbers of every day. For a payload
or a schema with others it walks the schema as ever, and these keywords are asked here. Their
numbers come as `payloads.read_written` gives them.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from catalogue.payloads import WRITTEN
from catalogue.schema import Schema, mapped

# The keyword that stands for all those of this module in one schema.
KEYWORD = "exact"

# A number that is written lets every pattern pass.
PATTERN_PREFIX = "^\\x00|"

# As in SQL, for which a division would take too long.
TOO_LARGE_TO_DIVIDE = Decimal("1e1000")


def exact(schema: Schema, tables: list[dict[str, Any]]) -> Schema:
    """The same schema with KEYWORD for those of this module; they are appended to `tables`."""
    changed = mapped(schema, lambda one: exact(one, tables))
    if isinstance(changed, bool):
        return changed
    if table := {keyword: changed.pop(keyword) for keyword in HOLDS if keyword in changed}:
        changed[KEYWORD] = len(tables)
        tables.append(table)
    if "pattern" in changed:
        changed["pattern"] = f"{PATTERN_PREFIX}(?:{changed['pattern']})"
    return changed


def keyword_class(tables: list[dict[str, Any]]) -> type:
    """What jsonschema_rs asks; the text of each error is the keyword that fails."""

    class Exact:
        def __init__(self, schema: dict[str, Any], table: int, path: list[str | int]) -> None:
            self.table = tables[table]

        def iter_errors(self, value: Any) -> Iterator[ValueError]:
            for keyword, wanted in self.table.items():
                if not HOLDS[keyword](value, wanted):
                    yield ValueError(keyword)

        def validate(self, value: Any) -> None:
            for error in self.iter_errors(value):
                raise error

    return Exact


def number(value: Any) -> Decimal | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and value.startswith(WRITTEN):
        return Decimal(value[len(WRITTEN) :])
    return value if isinstance(value, Decimal) else None


def comparable(value: Any) -> Any:
    """Equal for equal values of JSON and for no others, and hashable."""
    if (written := number(value)) is not None:
        return "number", written
    if isinstance(value, list):
        return "array", tuple(map(comparable, value))
    if isinstance(value, dict):
        return "object", frozenset((name, comparable(one)) for name, one in value.items())
    return type(value), value


def _is_type(value: Any, names: str | list[str]) -> bool:
    written = number(value)
    if written is not None:
        whole = written == written.to_integral_value()
        return "number" in names or ("integer" in names and whole)
    types = {type(None): "null", bool: "boolean", str: "string", list: "array", dict: "object"}
    return types[type(value)] in ([names] if isinstance(names, str) else names)


def _is_multiple(value: Decimal, unit: int | Decimal) -> bool:
    if value.copy_abs() >= TOO_LARGE_TO_DIVIDE:
        return False
    digits, exponent = _digits(value)
    unit_digits, unit_exponent = _digits(Decimal(unit))
    if digits == 0:
        return True
    if exponent < unit_exponent:
        return False  # Its last digit stands behind the last one that the unit has.
    shift = pow(10, exponent - unit_exponent, unit_digits)
    return digits % unit_digits * shift % unit_digits == 0


def _digits(value: Decimal) -> tuple[int, int]:
    """Without zeros at the end, and the power of ten that they are to be multiplied by."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), "JSON has no NaN"
    kept = len(digits)
    while kept > 1 and digits[kept - 1] == 0:
        kept -= 1
    return int(Decimal((0, digits[:kept], 0))), exponent + len(digits) - kept


def _of_number(holds: Callable[[Decimal, Any], bool]) -> Callable[[Any, Any], bool]:
    def asked(value: Any, wanted: Any) -> bool:
        written = number(value)
        return written is None or holds(written, wanted)

    return asked


def _of_text(holds: Callable[[str, int], bool]) -> Callable[[Any, Any], bool]:
    def asked(value: Any, wanted: Any) -> bool:
        return not isinstance(value, str) or value.startswith(WRITTEN) or holds(value, wanted)

    return asked


def _are_unique(value: Any, wanted: bool) -> bool:
    if not wanted or not isinstance(value, list):
        return True
    return len(set(map(comparable, value))) == len(value)


HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "type": _is_type,
    "const": lambda value, wanted: comparable(value) == comparable(wanted),
    "enum": lambda value, wanted: comparable(value) in set(map(comparable, wanted)),
    "minimum": _of_number(lambda written, least: written >= least),
    "maximum": _of_number(lambda written, most: written <= most),
    "exclusiveMinimum": _of_number(lambda written, below: written > below),
    "exclusiveMaximum": _of_number(lambda written, above: written < above),
    "multipleOf": _of_number(_is_multiple),
    "minLength": _of_text(lambda text, least: len(text) >= least),
    "maxLength": _of_text(lambda text, most: len(text) <= most),
    "uniqueItems": _are_unique,
}
