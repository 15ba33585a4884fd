"""Closed, a schema forbids what it declares nowhere, and allows nothing that it did not before."""

import json
from decimal import Decimal
from random import Random
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from catalogue import patterns
from catalogue.closing import close
from catalogue.schema import Schema, SchemaFault, parse
from tests.catalogue import reference
from tests.catalogue.declared import has_undeclared
from tests.catalogue.instances import Near, written
from tests.catalogue.paths import schema
from tests.catalogue.schemas import documents
from tests.catalogue.test_agreement import QUICK


def closed_fits(value: Any, payload: Any) -> bool:
    return reference.fits(close(schema(value)), json.dumps(payload).encode())


NESTED = {
    "properties": {
        "customer": {"type": "object", "properties": {"name": True}},
        "lines": {"items": {"properties": {"sku": True}}},
        "free": {"type": "object"},
    }
}


@pytest.mark.parametrize(
    ("payload", "fits"),
    [
        ({"customer": {"name": 1}, "lines": [{"sku": 1}], "free": {"any": {"thing": 1}}}, True),
        ({"more": 1}, False),
        ({"customer": {"name": 1, "more": 1}}, False),
        ({"lines": [{"sku": 1}, {"more": 1}]}, False),
    ],
)
def test_undeclared_properties_are_forbidden_wherever_some_are_declared(
    payload: Any, fits: bool
) -> None:
    assert closed_fits(NESTED, payload) == fits


def test_what_a_schema_itself_says_of_others_is_left_alone() -> None:
    open_one = {"properties": {"a": {"properties": {"b": True}}}, "additionalProperties": True}
    assert closed_fits(open_one, {"more": 1, "a": {"b": 1}})
    assert not closed_fits(open_one, {"a": {"more": 1}})


def test_alternatives_declare_for_each_other_and_stay_what_they_are() -> None:
    alternatives = {
        "oneOf": [
            {"properties": {"card": {"properties": {"number": True}}}},
            {"required": ["cash"], "properties": {"cash": {"const": True}}},
        ]
    }
    assert closed_fits(alternatives, {"card": {"number": 1}})
    # The second alternative alone fits; the member that nobody declares is refused all the same.
    assert not closed_fits(alternatives, {"cash": True, "card": {"more": 1}})
    assert not closed_fits(alternatives, {"more": 1})


def test_what_is_combined_is_closed_as_one() -> None:
    combined = {
        "allOf": [{"$ref": "#/$defs/base"}],
        "properties": {"own": True},
        "if": {"properties": {"kind": {"const": "a"}}, "required": ["kind"]},
        "then": {"properties": {"ours": True}},
        "$defs": {"base": {"properties": {"id": True}}},
    }
    assert closed_fits(combined, {"id": 1, "own": 1, "kind": "a", "ours": 1})
    assert not closed_fits(combined, {"id": 1, "more": 1})


def test_a_recursive_schema_is_closed_all_the_way() -> None:
    tree = {"properties": {"children": {"items": {"$ref": "#"}}, "name": True}}
    payload: Any = {"name": "x"}
    for _ in range(20):
        payload = {"children": [payload]}
    assert closed_fits(tree, payload)
    payload["children"][0]["children"][0]["more"] = 1
    assert not closed_fits(tree, payload)


def test_a_definition_that_is_closed_for_one_is_open_for_another() -> None:
    shared = {
        "properties": {
            "a": {"$ref": "#/$defs/one"},
            "b": {"$ref": "#/$defs/one", "properties": {"more": True}},
        },
        "$defs": {"one": {"properties": {"id": True}}},
    }
    assert closed_fits(shared, {"a": {"id": 1}, "b": {"id": 1, "more": 1}})
    assert not closed_fits(shared, {"a": {"id": 1, "more": 1}})


def test_closing_a_closed_schema_changes_nothing() -> None:
    once = close(schema(NESTED))
    assert close(once) == once


@settings(QUICK, max_examples=40)
@given(made=documents(), seed=st.integers(0, 2**32))
def test_a_closed_schema_fits_what_fits_and_has_nothing_undeclared(made: Schema, seed: int) -> None:
    random = Random(seed)
    try:
        opened = parse(written(made, random).encode())
        closed = close(opened)
    except SchemaFault:
        assume(False)
    near = Near(opened, random)
    fits_opened, fits_closed = reference.judge(opened), reference.judge(closed)
    for payload in (near.payload() for _ in range(30)):
        value = json.loads(payload, parse_float=Decimal)
        expected = fits_opened(payload) and not has_undeclared(opened, value)
        assert fits_closed(payload) == expected, (written(opened, Random(0)), payload)


def test_names_are_matched_by_patterns_in_linear_time() -> None:
    hostile = {
        "patternProperties": {"^(a+)+$": {"properties": {"x": True}}},
        "properties": {"a" * 60 + "!": {"properties": {"y": True}}},
    }
    assert close(schema(hostile)) != schema(hostile)
    assert patterns.match("^(a+)+$", "a" * 60)


def test_each_of_many_patterns_is_read_a_few_times_however_many_names_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = 300
    value = {
        "patternProperties": {f"^p{n}_": {"type": "string"} for n in range(many)},
        "properties": {f"p{n}_": {"type": "string"} for n in range(many)},
    }
    parsed = schema(value)
    read: list[object] = []
    make = jsonschema_rs.validator_for

    def counted(*given: Any, **options: Any) -> Any:
        read.append(given)
        return make(*given, **options)

    monkeypatch.setattr(jsonschema_rs, "validator_for", counted)
    close(parsed)
    assert many <= len(read) <= 3 * many
