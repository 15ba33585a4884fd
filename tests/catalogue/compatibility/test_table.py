"""The table of changes: each for consumers that run today, and for new ones that replay."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from catalogue.compatibility import Direction, breaks, check

Schema = dict[str, Any]
Change = Callable[[Schema], object]

ORDER: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "amount": {"type": "integer", "minimum": 0, "maximum": 100},
        "currency": {"enum": ["EUR", "USD"]},
        "note": {"type": "string", "maxLength": 10},
    },
    "required": ["id", "amount"],
}
CURRENCY = "/properties/currency/enum"
AMOUNT = "/properties/amount"
NOTE = "/properties/note"


def add(name: str, *, required: bool) -> Change:
    def change(schema: Schema) -> None:
        schema["properties"][name] = {"type": "string"}
        schema["required"] += [name] if required else []

    return change


def remove(name: str) -> Change:
    def change(schema: Schema) -> None:
        del schema["properties"][name]
        schema["required"] = [one for one in schema["required"] if one != name]

    return change


def say(name: str, **words: Any) -> Change:
    return lambda schema: schema["properties"][name].update(words)


# Each with what it breaks forward and backward, as pointer and rule; None: nothing.
TABLE: dict[str, tuple[Change, tuple[str, str] | None, tuple[str, str] | None]] = {
    "optional added": (add("tip", required=False), None, None),
    "optional removed": (remove("note"), None, None),
    "required added": (
        add("tip", required=True),
        None,
        ("/properties/tip", "required_added"),
    ),
    "optional to required": (
        lambda schema: schema["required"].append("note"),
        None,
        (NOTE, "optional_to_required"),
    ),
    "enum value removed": (say("currency", enum=["EUR"]), None, (CURRENCY, "enum_value_removed")),
    "lower bound narrowed": (
        say("amount", minimum=1),
        None,
        (f"{AMOUNT}/minimum", "bound_narrowed"),
    ),
    "upper bound narrowed": (
        say("note", maxLength=5),
        None,
        (f"{NOTE}/maxLength", "bound_narrowed"),
    ),
    "required removed": (remove("amount"), (AMOUNT, "required_removed"), None),
    "required to optional": (
        lambda schema: schema["required"].remove("amount"),
        (AMOUNT, "required_to_optional"),
        None,
    ),
    "enum value added": (
        say("currency", enum=["EUR", "USD", "GBP"]),
        (CURRENCY, "enum_value_added"),
        None,
    ),
    "bound widened": (say("amount", maximum=200), (f"{AMOUNT}/maximum", "bound_widened"), None),
    "null allowed": (
        say("note", type=["string", "null"]),
        (f"{NOTE}/type", "type_added"),
        None,
    ),
    "integer to number": (
        say("amount", type="number"),
        (f"{AMOUNT}/type", "integer_to_number"),
        None,
    ),
    "type changed": (
        say("note", type="boolean"),
        (f"{NOTE}/type", "type_changed"),
        (f"{NOTE}/type", "type_changed"),
    ),
}


@pytest.mark.parametrize("row", TABLE)
def test_a_change_breaks_whom_the_table_says(row: str) -> None:
    change, forward, backward = TABLE[row]
    new = copy.deepcopy(ORDER)
    change(new)
    assert found(ORDER, new, "forward") == ([forward] if forward else [])
    assert found(ORDER, new, "backward") == ([backward] if backward else [])


@pytest.mark.parametrize("row", TABLE)
def test_a_change_taken_back_breaks_the_others(row: str) -> None:
    change, forward, backward = TABLE[row]
    old = copy.deepcopy(ORDER)
    change(old)
    assert bool(found(old, ORDER, "forward")) == bool(backward)
    assert bool(found(old, ORDER, "backward")) == bool(forward)


def test_a_property_that_was_removed_comes_back_with_its_own_type_alone() -> None:
    without, other = copy.deepcopy(ORDER), copy.deepcopy(ORDER)
    remove("note")(without)
    say("note", type="integer")(other)
    assert check([ORDER, without], ORDER) == ()
    told = check([ORDER, without], other)
    assert {(one.version, one.rule, one.harms) for one in told} == {
        (1, "type_changed", "running consumers"),
        (1, "type_changed", "replaying consumers"),
    }


def found(old: Schema, new: Schema, direction: Direction) -> list[tuple[str, str]]:
    return [(one.pointer, one.rule) for one in breaks(old, new, direction=direction)]
