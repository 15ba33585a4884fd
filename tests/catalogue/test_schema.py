"""Which schemas the catalogue takes."""

import json
from decimal import Decimal
from typing import Any

import pytest

from catalogue.schema import MAX_BYTES, MAX_SUBSCHEMAS, SchemaFault, parse

REFUSED: dict[str, tuple[bytes | Any, str]] = {
    "no JSON": (b"{", ""),
    "NaN": (b'{"minimum": NaN}', ""),
    "no UTF-8": (b'{"title": "\xff"}', ""),
    "a name twice": (b'{"type": "string", "type": "number"}', ""),
    "a NUL": (rb'{"const": "\u0000"}', "/const"),
    "a NUL in a name": (rb'{"properties": {"a\u0000": true}}', "/properties"),
    "half a surrogate pair": (rb'{"enum": ["\ud800"]}', "/enum/0"),
    "too deep": (b'{"not":' * 65 + b"{}" + b"}" * 65, ""),
    "far too deep": (b"[" * 30_000, ""),
    "too large": (b'{"title": "' + b"a" * MAX_BYTES + b'"}', ""),
    "too many subschemas": ({"allOf": [True] * MAX_SUBSCHEMAS}, ""),
    "too large a number": (b'{"maximum": 1e400}', ""),
    "too long a number": (b'{"maximum": 0.' + b"3" * 101 + b"}", ""),
    "an exponent beyond all": (b'{"maximum": 1e99999999999999999999}', ""),
    "no object": ([], ""),
    "an unknown type": ({"properties": {"a": {"type": "text"}}}, "/properties/a/type"),
    "a negative length": ({"maxLength": -1}, "/maxLength"),
    "a multiple of zero": ({"multipleOf": 0}, "/multipleOf"),
    "another draft": ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema"),
    "items of an older draft": ({"items": [True]}, "/items"),
    "definitions of an older draft": ({"definitions": {}}, "/definitions"),
    "a reference to elsewhere": ({"$ref": "https://example.org/"}, "/$ref"),
    "a reference to a file": ({"items": {"$ref": "other.json"}}, "/items/$ref"),
    "a reference to nothing": ({"$ref": "#/$defs/a"}, "/$ref"),
    "a reference to no schema": (
        {"$ref": "#/$defs/a/enum/0", "$defs": {"a": {"enum": [{}]}}}, "/$ref",
    ),
    "an anchor": ({"$defs": {"a": {"$anchor": "b"}}}, "/$defs/a/$anchor"),
    "a dynamic reference": ({"$dynamicRef": "#a"}, "/$dynamicRef"),
    "an identifier inside": ({"properties": {"a": {"$id": "b"}}}, "/properties/a/$id"),
    "itself": ({"$ref": "#"}, ""),
    "itself by way of another": (
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}},
        },
        "/$defs/a",
    ),
    "a long way in place": (
        {
            "$ref": "#/$defs/0",
            "$defs": {**{str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(99)}, "99": {}},
        },
        "/$defs/63",
    ),
    "a pattern that is none": (
        {"properties": {"a/b": {"pattern": "("}}}, "/properties/a~1b/pattern",
    ),
    "a pattern of names that is none": ({"patternProperties": {"[": True}}, "/patternProperties/["),
    "look-ahead": ({"pattern": "^(?!a)"}, "/pattern"),
    "a back reference": ({"pattern": r"(a)\1"}, "/pattern"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "pointer"), REFUSED.values(), ids=REFUSED.keys())
def test_a_schema_is_refused_with_its_pointer(given: Any, pointer: str) -> None:
    text = given if isinstance(given, bytes) else json.dumps(given).encode()
    with pytest.raises(SchemaFault) as caught:
        parse(text)
    assert caught.value.pointer == pointer
    assert len(caught.value.reason) < 1_000


def test_numbers_keep_all_their_digits() -> None:
    text = b'{"minimum": 0.1, "maximum": 12345678901234567890123, "maxLength": 1e3, "const": 1.0}'
    assert parse(text) == {
        "minimum": Decimal("0.1"),
        "maximum": 12345678901234567890123,
        "maxLength": 1000,
        "const": 1,
    }


@pytest.mark.parametrize(
    "taken",
    [
        True,
        {},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.org/a"},
        {"properties": {"children": {"items": {"$ref": "#"}}}},
        {"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "string"}}},
        {"properties": {"$ref": {"type": "string"}, "$id": True, "definitions": True}},
        {"const": {"$ref": 5, "pattern": "("}},
        {"x-owner": "team", "title": "t", "examples": [1], "deprecated": True},
        {"unevaluatedProperties": False},
        {"pattern": r"\bword\b"},
    ],
)
def test_a_schema_is_taken(taken: Any) -> None:
    assert parse(json.dumps(taken).encode()) == taken
