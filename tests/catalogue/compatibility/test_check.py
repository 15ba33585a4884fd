"""A new version goes with every former one, in the directions that a type asks for."""

from typing import Any

import pytest

from catalogue.compatibility import Break, Compatibility, check
from catalogue.schema import Schema

STRING: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
}
OPTIONAL = {"type": "object", "properties": {"a": {"type": "string"}}}
BARE = {"type": "object", "properties": {"b": {"type": "string"}}}


@pytest.mark.parametrize(
    ("compatibility", "rules"),
    [
        ("full", ["required_to_optional", "type_added"]),
        ("forward", ["required_to_optional", "type_added"]),
        ("backward", []),
        ("none", []),
    ],
)
def test_a_type_is_held_to_the_directions_it_asks_for(
    compatibility: Compatibility, rules: list[str]
) -> None:
    new = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    assert sorted(one.rule for one in check([STRING], new, compatibility)) == rules


def test_full_is_what_is_asked_for_unless_said_otherwise() -> None:
    assert [one.harms for one in check([STRING], OPTIONAL)] == ["running consumers"]
    assert [one.harms for one in check([OPTIONAL], STRING)] == ["replaying consumers"]


def test_the_first_version_breaks_nothing() -> None:
    assert check([], STRING) == ()


def test_a_break_with_an_older_version_is_told() -> None:
    (one,) = check([STRING, BARE], BARE)
    assert (one.version, one.rule) == (1, "required_removed")


def test_a_break_with_several_versions_is_told_once_with_the_latest() -> None:
    (one,) = check([STRING, STRING, STRING], OPTIONAL)
    assert one.version == 3


def test_a_break_says_where_for_whom_and_what_to_do() -> None:
    (one,) = check([STRING], OPTIONAL)
    assert one == Break(
        pointer="/properties/a",
        rule="required_to_optional",
        harms="running consumers",
        detail="`a` was required and may be missing now: consumers that run today rely on it. "
        "Keep it required.",
        version=1,
    )


def test_a_hundred_versions_of_a_large_type_are_all_compared() -> None:
    def order(count: int) -> Schema:
        names = [f"p{index}" for index in range(count)]
        return {"type": "object", "properties": {name: {"type": "string"} for name in names}}

    assert check([order(30 + version) for version in range(100)], order(131)) == ()


def test_a_sentence_names_types_as_the_schema_does() -> None:
    new = {**STRING, "properties": {"a": {"type": ["integer", "null"]}}}
    assert [one.detail for one in check([STRING], new)] == [
        "`integer` or `null` comes now where `string` came: consumers that run today don't expect "
        "it. Leave this property as it is, and put the new kind of value into a new optional one.",
        "`string` is in old messages where `integer` or `null` is taken now: new consumers that "
        "replay old messages refuse it. Leave this property as it is, and put the new kind of "
        "value into a new optional one.",
    ]
