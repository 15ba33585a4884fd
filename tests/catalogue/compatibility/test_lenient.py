"""The twelve cases of Confluent's LENIENT policy: a property added to or removed from an open or a
closed schema, optional, required, or required with a default. Backward, as there.

https://github.com/confluentinc/schema-registry/pull/4292
"""

from itertools import product
from typing import Any

import pytest

from catalogue.compatibility import breaks

PLAIN: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
CLOSED = {"additionalProperties": False}
OPEN: dict[str, Any] = {}
MODELS = {"open": OPEN, "closed": CLOSED}
NEEDS = ("optional", "required", "with default")


def with_email(need: str) -> dict[str, Any]:
    email = {"type": "string", **({"default": "none"} if need == "with default" else {})}
    return {
        "type": "object",
        "properties": {"name": {"type": "string"}, "email": email},
        "required": ["name"] if need == "optional" else ["name", "email"],
    }


@pytest.mark.parametrize(("model", "need"), list(product(MODELS, NEEDS)))
def test_a_property_removed_breaks_no_replay(model: str, need: str) -> None:
    old, new = {**with_email(need), **MODELS[model]}, {**PLAIN, **MODELS[model]}
    assert breaks(old, new, direction="backward") == ()


@pytest.mark.parametrize("model", MODELS)
def test_an_optional_property_added_breaks_no_replay(model: str) -> None:
    old, new = {**PLAIN, **MODELS[model]}, {**with_email("optional"), **MODELS[model]}
    assert breaks(old, new, direction="backward") == ()


@pytest.mark.parametrize("model", MODELS)
def test_a_required_property_added_breaks_replay(model: str) -> None:
    old, new = {**PLAIN, **MODELS[model]}, {**with_email("required"), **MODELS[model]}
    (one,) = breaks(old, new, direction="backward")
    assert (one.rule, one.pointer) == ("required_added", "/properties/email")


@pytest.mark.parametrize("model", MODELS)
def test_a_default_puts_nothing_into_old_messages(model: str) -> None:
    """LENIENT lets it pass. Here a default is a description: no validator fills it in."""
    old, new = {**PLAIN, **MODELS[model]}, {**with_email("with default"), **MODELS[model]}
    assert [one.rule for one in breaks(old, new, direction="backward")] == ["required_added"]


def test_a_writer_that_says_it_is_open_may_have_written_anything_there() -> None:
    """LENIENT lets it pass. `additionalProperties: true` lets old messages carry any `email`."""
    said = {"additionalProperties": True}
    old, new = {**PLAIN, **said}, {**with_email("optional"), **said}
    (one,) = breaks(old, new, direction="backward")
    assert (one.rule, one.pointer) == ("any_value_removed", "/properties/email")


def test_a_schema_in_parts_is_closed_as_one() -> None:
    named = {"properties": {"name": {"type": "string"}}, "required": ["name"]}
    age = {"type": "number"}
    old = {"type": "object", "allOf": [named, {"properties": {"age": age}}]}
    new_part = {"properties": {"age": age, "email": {"type": "string"}}}
    new = {"type": "object", "allOf": [named, new_part]}
    assert breaks(old, new, direction="backward") == ()
    assert breaks(old, new, direction="forward") == ()
