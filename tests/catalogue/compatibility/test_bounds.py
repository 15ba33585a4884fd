"""No schema makes a comparison long, and what is not compared to its end counts as broken."""

import time
from decimal import Decimal
from typing import Any

import pytest

from catalogue.compatibility import breaks, check
from catalogue.compatibility.breaks import TOO_LARGE

Schema = Any

# A comparison takes about a second at most; others work on these cores, too.
LONGEST_SECONDS = 20.0


def each_of(names: int, values: int) -> Schema:
    """As many combinations as `values` to the power of `names`."""
    return {
        "type": "object",
        "allOf": [
            {"anyOf": [{"properties": {f"p{name}": {"const": value}}} for value in range(values)]}
            for name in range(names)
        ],
    }


def ring(length: int, **more: Any) -> Schema:
    """Definitions that lead round in a circle."""
    defs = {
        f"d{index}": {
            "type": "object",
            "properties": {"next": {"$ref": f"#/$defs/d{(index + 1) % length}"}, **more},
        }
        for index in range(length)
    }
    return {"$ref": "#/$defs/d0", "$defs": defs}


def linked(kinds: int, **more: Any) -> Schema:
    """Kinds of things, each of which may have any of them inside, twice."""
    branches = [{"$ref": f"#/$defs/k{kind}"} for kind in range(kinds)]
    inside = {"one": {"oneOf": branches}, "other": {"oneOf": branches}, **more}
    defs = {
        f"k{kind}": {
            "type": "object",
            "properties": {"kind": {"const": kind}, **inside},
            "required": ["kind"],
        }
        for kind in range(kinds)
    }
    return {"oneOf": branches, "$defs": defs}


HOSTILE: dict[str, tuple[Schema, Schema]] = {
    "combinations": (each_of(20, 4), {**each_of(20, 4), "maxProperties": 90}),
    "rings": (ring(31), ring(37, note={"type": "string"})),
    "many values in branches": (
        {"anyOf": [{"const": f"v{index}"} for index in range(900)]},
        {"enum": [f"v{index}" for index in range(901)]},
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_comparison_that_would_be_long_ends_as_one_that_cannot_be_shown(case: str) -> None:
    began = time.monotonic()
    (one,) = breaks(*HOSTILE[case], direction="forward")
    assert (one.rule, one.pointer) == ("cannot_be_shown", "")
    assert TOO_LARGE in one.detail
    assert time.monotonic() - began < LONGEST_SECONDS


def test_all_versions_together_have_one_bound() -> None:
    began = time.monotonic()
    old, new = HOSTILE["combinations"]
    assert check([old] * 100, new) != ()
    assert time.monotonic() - began < LONGEST_SECONDS


@pytest.mark.parametrize("case", HOSTILE)
def test_a_large_schema_that_does_not_change_breaks_nothing(case: str) -> None:
    for schema in HOSTILE[case]:
        assert breaks(schema, {**schema, "title": "the same"}, direction="forward") == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            {"properties": {f"p{index}": {"type": "string"} for index in range(300)}},
            {"properties": {f"p{index}": {"type": "string"} for index in range(301)}},
            id="three hundred properties",
        ),
        pytest.param(
            {"oneOf": [{"const": index, "title": "one"} for index in range(101)]},
            {"oneOf": [{"const": index, "title": "one"} for index in range(100)]},
            id="a hundred titled values",
        ),
        pytest.param(
            linked(8), linked(8, note={"type": "string"}), id="kinds that hold one another"
        ),
        pytest.param(ring(5), ring(7, note={"type": "string"}), id="small rings"),
        pytest.param(
            {"type": "number", "multipleOf": Decimal("1e-999")},
            {"type": "number", "multipleOf": Decimal("1e-998")},
            id="tiny steps",
        ),
    ],
)
def test_what_is_large_and_plain_is_compared_to_its_end(old: Schema, new: Schema) -> None:
    assert breaks(old, new, direction="forward") == ()


def test_a_number_too_long_to_reckon_with_is_compared_as_it_is_written() -> None:
    old = {"maximum": Decimal("1e999999999"), "type": "number"}
    assert breaks(old, {**old, "minimum": 0}, direction="forward") == ()
    (one,) = breaks(old, {**old, "maximum": Decimal("1e999999998")}, direction="forward")
    assert (one.rule, one.pointer) == ("cannot_be_shown", "/maximum")


def test_a_reference_that_leads_to_itself_alone_cannot_be_shown() -> None:
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    rules = {one.rule for one in breaks(loop, {**loop, "type": "string"}, direction="forward")}
    assert rules == {"cannot_be_shown"}


def test_a_hostile_pattern_is_never_run() -> None:
    old = {"type": "string", "pattern": "^(a|b)*a(a|b){12}$"}
    new = {"enum": ["a" * 40 + "c"]}
    (one,) = breaks(old, new, direction="forward")
    assert one.rule == "cannot_be_shown"
