"""A schema inside a larger document: its references begin at its own root, not at the document's.

`$ref` is followed from the root of the whole document by everybody who reads AsyncAPI. So what said
`#/$defs/Money` says `#/components/schemas/order.created/$defs/Money` there. And what is a value, as
`const` and an example are, holds no member of that name: readers would follow it wherever it leads.
"""

from typing import Any

from catalogue.schema import LISTS, MAPS, ONE, Schema, mapped

# By `$id` it would be a document of its own; the others mean something else in AsyncAPI.
LEFT_OUT = frozenset({"$id", "discriminator", "externalDocs"})
OF_SCHEMAS = frozenset({*ONE, *LISTS, *MAPS, "$ref"})


def embedded(schema: Schema, pointer: str) -> Schema:
    """The schema as it stands at `pointer` (`#/components/schemas/…`) of a document."""
    if isinstance(schema, bool):
        return schema
    kept = {keyword: value for keyword, value in schema.items() if _can_stand(keyword, value)}
    if "$ref" in kept:
        kept["$ref"] = f"{pointer}{kept['$ref'].removeprefix('#')}"
    for keyword in kept.keys() & set(MAPS):
        # A property of that name would be taken for a reference.
        kept[keyword] = {name: one for name, one in kept[keyword].items() if name != "$ref"}
    return mapped(kept, lambda one: embedded(one, pointer))


def is_followed(value: Any) -> bool:
    """Whether readers would find a reference in a value."""
    if isinstance(value, dict):
        return isinstance(value.get("$ref"), str) or any(map(is_followed, value.values()))
    return isinstance(value, list) and any(map(is_followed, value))


def _can_stand(keyword: str, value: Any) -> bool:
    return keyword not in LEFT_OUT and (keyword in OF_SCHEMAS or not is_followed(value))
