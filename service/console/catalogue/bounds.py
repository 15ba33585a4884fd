"""The bounds of a value in a few words each."""

from collections.abc import Iterator
from typing import Any

import msgspec

MAX_LENGTH = 200


_encode = msgspec.json.Encoder(decimal_format="number").encode


def written(value: object) -> str:
    """A value as JSON, if that is not long."""
    text = _encode(value).decode()
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"


def type_of(schema: dict[str, Any]) -> str:
    """The type in a word or two; empty where only other schemas say it."""
    named = schema.get("type")
    if isinstance(named, list):
        return " or ".join(map(str, named))
    if isinstance(named, str):
        return named
    if "enum" in schema or "const" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return " or ".join(dict.fromkeys(map(_type_of_value, values))) or "nothing"
    if {"properties", "patternProperties", "required"} & schema.keys():
        return "object"
    if {"items", "prefixItems"} & schema.keys():
        return "array"
    return "" if {"$ref", "if", "allOf", "anyOf", "oneOf"} & schema.keys() else "anything"


def _type_of_value(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
    return "number"


_NUMBERS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
}
_SIZES = (
    ("minLength", "maxLength", "character"),
    ("minItems", "maxItems", "item"),
    ("minContains", "maxContains", "such item"),
    ("minProperties", "maxProperties", "name"),
)


def bounds(schema: dict[str, Any]) -> Iterator[str]:
    """What holds of a value besides its type; values that it may have are not among them."""
    if "format" in schema:
        yield str(schema["format"])
    if "const" in schema:
        yield f"always {written(schema['const'])}"
    for keyword, form in _NUMBERS.items():
        if keyword in schema:
            yield form.format(written(schema[keyword]))
    for least, most, unit in _SIZES:
        if least in schema or most in schema:
            yield _size(schema.get(least), schema.get(most), unit)
    if schema.get("uniqueItems") is True:
        yield "each item once"
    if schema.get("items") is False:
        yield "no other items"
    if "pattern" in schema:
        yield f"like {schema['pattern']}"
    if schema.get("additionalProperties") is False:
        yield "no other names"
    for name, others in schema.get("dependentRequired", {}).items():
        if others:
            yield f"with {name} also {', '.join(others)}"
    if "default" in schema:
        yield f"{written(schema['default'])} where it is left out"


def _size(least: Any, most: Any, unit: str) -> str:
    if least == most:
        said, last = f"exactly {least}", least
    elif most is None:
        said, last = f"at least {least}", least
    elif least is None or least == 0:
        said, last = f"at most {most}", most
    else:
        said, last = f"{least} to {most}", most
    return f"{said} {unit}{'' if last == 1 else 's'}"
