"""What the rules of a schema name: the place of each fault, and what SQL can't keep."""

import json
from typing import Any

import pytest

from catalogue.faults import Fault
from catalogue.rules import Untranslatable, translate
from catalogue.validation import Validator
from tests.catalogue.paths import faults_in_sql, fits, schema
from tests.sql.log import Session

ORDER = {
    "type": "object",
    "required": ["id", "lines"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "note": {"type": "string", "maxLength": 2_000},
        "lines": {
            "type": "array",
            "uniqueItems": True,
            "items": {
                "type": "object",
                "required": ["sku"],
                "properties": {"sku": {"type": "string"}, "price": {"multipleOf": 0.01}},
                "additionalProperties": False,
            },
        },
    },
    "patternProperties": {"^x-": {"type": "integer"}},
    "additionalProperties": False,
}


def test_each_fault_is_told_with_its_pointer_and_keyword(db: Session) -> None:
    payload = {
        "id": "1",
        "note": "a" * 2_001,
        "lines": [{"sku": "a", "price": 0.075}, {"more/of~it": 1}, {"more/of~it": 1}],
        "x-n": 1.5,
        "y": 1,
    }
    expected = {
        ("/id", "format"),
        ("/note", "maxLength"),
        ("/lines", "uniqueItems"),
        ("/lines/0/price", "multipleOf"),
        ("/lines/1/sku", "required"),
        ("/lines/1/more~1of~0it", "additionalProperties"),
        ("/lines/2/sku", "required"),
        ("/lines/2/more~1of~0it", "additionalProperties"),
        ("/x-n", "type"),
        ("/y", "additionalProperties"),
    }
    text = json.dumps(payload).encode()
    told = faults_in_sql(db, translate(schema(ORDER)), text)
    assert {(fault.pointer, fault.keyword) for fault in told} == expected
    assert set(Validator(schema(ORDER)).faults(text)) == set(told)


def test_no_more_faults_are_told_than_asked_for(db: Session) -> None:
    payload = json.dumps([1] * 100).encode()
    asked = schema({"items": {"type": "string"}})
    assert len(faults_in_sql(db, translate(asked), payload, at_most=20)) == 20
    assert len(Validator(asked).faults(payload)) == 20


def test_the_first_fault_is_one_of_all_that_are_told() -> None:
    asked = schema(ORDER)
    payload = json.dumps({"id": "1", "lines": [{}], "x-n": 1.5, "y": 1}).encode()
    [first] = Validator(asked).faults(payload, limit=1)
    assert first in Validator(asked).faults(payload)


@pytest.mark.parametrize("limit", [1, 20])
def test_a_required_member_that_is_undeclared_but_there_is_not_missing(
    db: Session, limit: int
) -> None:
    asked = schema({"required": ["a"], "properties": {"b": True}, "additionalProperties": False})
    expected = {Fault("/a", "additionalProperties", "no such property is declared")}
    assert set(faults_in_sql(db, translate(asked), b'{"a": 1}')) == expected
    assert set(Validator(asked).faults(b'{"a": 1}', limit=limit)) == expected


def test_a_fault_says_nothing_of_what_the_payload_holds(db: Session) -> None:
    secret = "4111111111111111"
    asked = schema({"type": "number", "anyOf": [{"const": 1}], "not": {"type": "string"}})
    payload = json.dumps(secret).encode()
    for fault in (*faults_in_sql(db, translate(asked), payload), *Validator(asked).faults(payload)):
        assert secret not in fault.message
        assert len(fault.message) <= 300


def test_a_condition_is_told_by_what_it_asks_for(db: Session) -> None:
    asked = schema(
        {
            "if": {"properties": {"kind": {"const": "card"}}, "required": ["kind"]},
            "then": {"required": ["number"], "properties": {"number": {"maxLength": 300}}},
            "else": {"dependentRequired": {"a": ["b"]}},
        }
    )
    card = faults_in_sql(db, translate(asked), b'{"kind": "card"}')
    assert card == [Fault("/number", "required", "is required")]
    assert not fits(db, asked, b'{"kind": "cash", "a": 1}')
    assert not fits(db, asked, json.dumps({"kind": "card", "number": "1" * 301}).encode())
    assert fits(db, asked, json.dumps({"kind": "cash", "number": "1" * 301}).encode())


LIST = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"$ref": "#"}},
    "additionalProperties": False,
}


@pytest.mark.parametrize("levels", [1, 2, 31, 62, 63])
def test_a_recursive_schema_holds_as_deep_as_a_payload_may_be(db: Session, levels: int) -> None:
    payload: Any = {"value": 1}
    for _ in range(levels):
        payload = {"next": payload, "value": 1}
    assert fits(db, schema(LIST), json.dumps(payload).encode())
    deepest = payload
    while "next" in deepest:
        deepest = deepest["next"]
    deepest["value"] = "x"
    assert not fits(db, schema(LIST), json.dumps(payload).encode())


UNTRANSLATABLE: dict[str, tuple[Any, str, str]] = {
    "unique items of an alternative": (
        {"anyOf": [{"uniqueItems": True}, True]}, "/anyOf/0", "uniqueItems",
    ),
    "unique items that must not be": ({"not": {"uniqueItems": True}}, "/not", "uniqueItems"),
    "a count of members in a condition": (
        {"if": {"minProperties": 2}, "then": False}, "/if", "minProperties",
    ),
    "a count of matches in an alternative": (
        {"properties": {"a": {"oneOf": [{"contains": True, "minContains": 2}]}}},
        "/properties/a/oneOf/0", "contains",
    ),
    "a length beyond counting in an alternative": (
        {"items": {"anyOf": [{"items": {"maxLength": 1_000}}, {"type": "null"}]}},
        "/items/anyOf/0/items", "maxLength",
    ),
    "a pattern outside of the subset": (
        {"$defs": {"a": {"pattern": r"\bword"}}, "items": {"$ref": "#/$defs/a"}},
        "/$defs/a", "pattern",
    ),
    "a pattern of names outside of the subset": (
        {"patternProperties": {r"\bword": True}}, "", "patternProperties",
    ),
    "what nothing looked at": ({"unevaluatedProperties": False}, "", "unevaluatedProperties"),
    "items that nothing looked at": (
        {"properties": {"a": {"unevaluatedItems": False}}}, "/properties/a", "unevaluatedItems",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "pointer", "keyword"), UNTRANSLATABLE.values(), ids=UNTRANSLATABLE.keys()
)
def test_what_sql_can_not_keep_is_named(asked: Any, pointer: str, keyword: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        translate(schema(asked))
    assert (caught.value.pointer, caught.value.keyword) == (pointer, keyword)


@pytest.mark.parametrize("asked", [asked for asked, *_ in UNTRANSLATABLE.values()])
def test_what_sql_can_not_keep_is_checked_here_all_the_same(asked: Any) -> None:
    assert Validator(schema(asked)).faults(b"{") != ()
    Validator(schema(asked)).faults(b'{"a": [1, "word"]}')
    Validator(schema(asked)).faults(b'{"a": [1e400]}')


def test_a_schema_without_lengths_beyond_254_needs_no_check_beside() -> None:
    assert translate(schema({"properties": {"a": {"maxLength": 254}}})).checks == []
    assert len(translate(schema({"properties": {"a": {"maxLength": 255}}})).checks) == 1
