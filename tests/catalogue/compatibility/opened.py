"""Readers that are open, said as a schema that a validator may run."""

from typing import Any

from catalogue.schema import Schema

_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties")
_SCHEMAS = ("items", "additionalProperties")
_REST = ("additionalProperties", "unevaluatedProperties")
_DEFS = "#/$defs/"


def opened(schema: Schema) -> Schema:
    """What an open reader takes: it ignores what it does not know.

    What `not`, `if` and `contains` hold is as it was, and so are the definitions for them; each
    stands beside an opened one of another name.
    """
    found = _opened(schema)
    if isinstance(found, bool) or "$defs" not in found:
        return found
    defs = found["$defs"]
    more = {f"open {name}": _opened(one) for name, one in defs.items()}
    return {**found, "$defs": {**defs, **more}}


def _opened(schema: Schema) -> Schema:
    if isinstance(schema, bool):
        return schema
    inside = _each(schema)
    for word in _REST:
        if inside.get(word) is False:
            del inside[word]
    if "oneOf" in schema:
        # What it would refuse may be what tells branches apart.
        chosen = inside.pop("oneOf")
        either = {"anyOf": [{"oneOf": schema["oneOf"]}, {"oneOf": chosen}]}
        inside["allOf"] = [*inside.get("allOf", ()), either]
    return inside


def _each(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with what it asks of the same value or of one further down opened."""
    found = dict(schema)
    for word in _LISTS:
        if word in found:
            found[word] = [_opened(one) for one in found[word]]
    for word in _NAMED:
        if word in found:
            found[word] = {name: _opened(one) for name, one in found[word].items()}
    for word in _SCHEMAS:
        if word in found:
            found[word] = _opened(found[word])
    if "$ref" in found:
        found["$ref"] = found["$ref"].replace(_DEFS, f"{_DEFS}open%20")
    return found
