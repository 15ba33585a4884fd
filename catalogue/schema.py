"""A JSON Schema (draft 2020-12) that the catalogue takes, and the ways through it."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias
from urllib.parse import unquote

import jsonschema_rs

from catalogue import patterns

# As `parse` gives it: numbers are int or Decimal, never float, and a whole one is an int.
Schema: TypeAlias = dict[str, Any] | bool

DRAFT = "https://json-schema.org/draft/2020-12/schema"
MAX_BYTES = 65_536
MAX_DEPTH = 64
MAX_SUBSCHEMAS = 1_000
# Digits, and places before and behind the point. No real bound has more, and every path to an
# answer reckons with these exactly.
MAX_DIGITS = 100

# Where subschemas stand: one, a list of them, or some by name.
ONE = (
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
MAPS = ("$defs", "dependentSchemas", "patternProperties", "properties")
# Those that apply to the same place of the instance as the schema that holds them.
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")

# They would make a reference lead elsewhere, or belong to an older draft, where validators differ.
REFUSED = (
    "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary",
    "additionalItems", "definitions", "dependencies",
)  # fmt: skip

_LOCAL = re.compile(r"#(/\$defs/.+)?")


class SchemaFault(Exception):
    """A schema that the catalogue does not take: why, and at which JSON pointer into it."""

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer or 'the schema'}: {reason}")
        self.pointer = pointer
        self.reason = reason


def parse(text: bytes) -> Schema:
    """The schema that stands in `text`. Raises SchemaFault."""
    if len(text) > MAX_BYTES:
        raise SchemaFault("", f"it is larger than {MAX_BYTES} bytes")
    schema: Schema = _decode(text)
    _check_values(schema, "", 1)
    _check_draft(schema)
    known = dict(subschemas(schema))
    if len(known) > MAX_SUBSCHEMAS:
        raise SchemaFault("", f"it has more than {MAX_SUBSCHEMAS} subschemas")
    for pointer, subschema in known.items():
        if isinstance(subschema, dict):
            _check_keywords(subschema, pointer)
            _check_reference(subschema, pointer, known)
            _check_patterns(subschema, pointer)
    _check_loops(schema)
    return schema


def subschemas(schema: Schema, pointer: str = "") -> Iterator[tuple[str, Schema]]:
    """The schema and all schemas in it, each with its JSON pointer."""
    yield pointer, schema
    for way, subschema in children(schema):
        yield from subschemas(subschema, pointer + way)


def children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas that stand directly in this one, each with its JSON pointer from here."""
    if isinstance(schema, bool):
        return
    for keyword in schema:
        value = schema[keyword]
        if keyword in ONE:
            yield f"/{keyword}", value
        elif keyword in LISTS:
            for index, one in enumerate(value):
                yield f"/{keyword}/{index}", one
        elif keyword in MAPS:
            for name, one in value.items():
                yield f"/{keyword}/{escaped(name)}", one


def mapped(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """The same schema with `change` done to each that stands directly in it."""
    if isinstance(schema, bool):
        return schema
    new = dict(schema)
    for keyword, value in schema.items():
        if keyword in ONE:
            new[keyword] = change(value)
        elif keyword in LISTS:
            new[keyword] = [change(one) for one in value]
        elif keyword in MAPS:
            new[keyword] = {name: change(one) for name, one in value.items()}
    return new


def target(reference: str) -> str:
    """The JSON pointer that a local `$ref` names."""
    return unquote(reference[1:])


def resolve(root: Schema, pointer: str) -> Schema:
    """The schema at a JSON pointer into `root`, which `parse` has found to be there."""
    value: Any = root
    for step in pointer.split("/")[1:]:
        value = value[int(step)] if isinstance(value, list) else value[unescaped(step)]
    found: Schema = value
    return found


def escaped(name: str) -> str:
    """A name as one step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


def _decode(text: bytes) -> Any:
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=_unique,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_no_number,
        )
    except RecursionError:
        raise SchemaFault("", f"it is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise SchemaFault("", f"it is no JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SchemaFault("", f"it has the name {twice!r:.200} twice in one object")
    return found


def _number(literal: str) -> int | Decimal:
    try:
        value = Decimal(literal)
    except InvalidOperation:
        raise SchemaFault("", f"the number {literal:.40} is too large") from None
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "JSON has no NaN"
    if len(literal) > MAX_DIGITS or exponent < -MAX_DIGITS or value.adjusted() > MAX_DIGITS:
        raise SchemaFault("", f"the number {literal:.40} has more than {MAX_DIGITS} digits")
    return int(value) if value == value.to_integral_value() else value.normalize()


def _no_number(literal: str) -> None:
    raise SchemaFault("", f"it is no JSON: {literal} is no number")


def _check_values(value: Any, pointer: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise SchemaFault("", f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        _check_text(value, pointer)
    elif isinstance(value, dict):
        for name, one in value.items():
            _check_text(name, pointer)
            _check_values(one, f"{pointer}/{escaped(name)}", depth + 1)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _check_values(one, f"{pointer}/{index}", depth + 1)


def _check_text(text: str, pointer: str) -> None:
    if "\0" in text:
        raise SchemaFault(pointer, "a text holds NUL, which Postgres can't hold")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise SchemaFault(pointer, "a text holds half a surrogate pair, which is no text")


def _check_draft(schema: Any) -> None:
    if not isinstance(schema, dict | bool):
        raise SchemaFault("", "a schema is an object, true or false")
    if isinstance(schema, dict) and schema.get("$schema", DRAFT) not in (DRAFT, DRAFT + "#"):
        raise SchemaFault("/$schema", f"the catalogue reads draft 2020-12: {DRAFT}")
    try:
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        steps = "".join(f"/{escaped(str(step))}" for step in error.instance_path)
        raise SchemaFault(steps, f"no schema of draft 2020-12: {error.message:.500}") from None


def _check_keywords(schema: dict[str, Any], pointer: str) -> None:
    for keyword in REFUSED:
        if keyword in schema:
            raise SchemaFault(f"{pointer}/{keyword}", f"the catalogue takes no {keyword}")
    for keyword in ("$id", "$schema"):
        if keyword in schema and pointer:
            raise SchemaFault(f"{pointer}/{keyword}", f"{keyword} stands at the top alone")


def _check_reference(schema: dict[str, Any], pointer: str, known: Mapping[str, Schema]) -> None:
    reference = schema.get("$ref", "#")
    if not _LOCAL.fullmatch(reference):
        raise SchemaFault(f"{pointer}/$ref", "a reference leads to # or to #/$defs/… of the same")
    if target(reference) not in known:
        raise SchemaFault(f"{pointer}/$ref", f"there is no schema at {reference:.200}")


def _check_patterns(schema: dict[str, Any], pointer: str) -> None:
    found = [(f"{pointer}/pattern", schema["pattern"])] if "pattern" in schema else []
    found += [
        (f"{pointer}/patternProperties/{escaped(name)}", name)
        for name in schema.get("patternProperties", {})
    ]
    for place, pattern in found:
        if (fault := patterns.fault(pattern)) is not None:
            raise SchemaFault(place, fault)


def _check_loops(root: Schema) -> None:
    """No schema may lead back to itself at the same place of the instance: it would say nothing."""
    heights: dict[str, int] = {}
    for pointer, _ in subschemas(root):
        _height(root, pointer, (), heights)


def _height(root: Schema, pointer: str, way: tuple[str, ...], heights: dict[str, int]) -> int:
    """How many schemas apply one by way of the other to the same place, from this one on."""
    if pointer in way:
        raise SchemaFault(pointer, "it refers to itself for the same place")
    if pointer not in heights and len(way) < MAX_DEPTH:
        further = [
            _height(root, one, (*way, pointer), heights)
            for one in in_place(root, pointer, IN_PLACE)
        ]
        heights[pointer] = 1 + max(further, default=0)
    if heights.get(pointer, MAX_DEPTH) >= MAX_DEPTH:
        raise SchemaFault(pointer, f"more than {MAX_DEPTH} schemas apply to the same place")
    return heights[pointer]


def in_place(root: Schema, pointer: str, keywords: tuple[str, ...]) -> Iterator[str]:
    """The pointers of what these keywords, and `$ref`, apply to the same place of the instance."""
    schema = resolve(root, pointer)
    if isinstance(schema, bool):
        return
    if "$ref" in schema:
        yield target(schema["$ref"])
    for way, _ in children(schema):
        if way.split("/", 2)[1] in keywords:
            yield pointer + way
