"""A break points into the new schema, wherever that says it."""

from random import Random
from typing import Any

from hypothesis import given

from catalogue.compatibility import breaks
from catalogue.schema import Schema
from tests.catalogue.compatibility.drawn import Drawn
from tests.catalogue.compatibility.test_soundness import QUICK, randoms


@QUICK
@given(randoms)
def test_a_break_points_to_what_is_or_would_be_in_the_new_schema(random: Random) -> None:
    drawn = Drawn(random)
    old = drawn.schema()
    new = drawn.changed(old)
    for one in (*breaks(old, new, direction="forward"), *breaks(old, new, direction="backward")):
        # A keyword that is not there, or a property of one.
        assert missing(new, one.pointer) <= 2, (one, new)


def test_what_a_part_of_the_whole_says_is_pointed_to_there() -> None:
    base = {"properties": {"id": {"type": "string"}}, "required": ["id"]}
    old: Schema = {"type": "object", "allOf": [base, {"properties": {"a": {"type": "string"}}}]}
    new: Schema = {"type": "object", "allOf": [base, {"properties": {"a": {"type": "number"}}}]}
    (forward,) = breaks(old, new, direction="forward")
    (backward,) = breaks(old, new, direction="backward")
    assert forward.pointer == backward.pointer == "/allOf/1/properties/a/type"


def test_a_schema_that_refers_to_its_own_root_is_pointed_to_as_it_was_registered() -> None:
    def tree(value: Schema) -> Schema:
        children = {"type": "array", "items": {"$ref": "#"}}
        return {"type": "object", "properties": {"value": value, "children": children}}

    (one,) = breaks(tree({"type": "integer"}), tree({"type": "number"}), direction="forward")
    assert (one.pointer, one.rule) == ("/properties/value/type", "integer_to_number")


def test_names_are_written_as_pointers_write_them() -> None:
    old: Schema = {"properties": {"a/b~c": {"type": "string"}}}
    new: Schema = {"properties": {"a/b~c": {"type": "null"}}}
    (one,) = breaks(old, new, direction="backward")
    assert one.pointer == "/properties/a~1b~0c/type"


def missing(schema: Schema, pointer: str) -> int:
    """How many of the last steps of a pointer lead nowhere."""
    found: Any = schema
    tokens = [one.replace("~1", "/").replace("~0", "~") for one in pointer.split("/")[1:]]
    for index, token in enumerate(tokens):
        if isinstance(found, list) and token.isdecimal() and int(token) < len(found):
            found = found[int(token)]
        elif isinstance(found, dict) and token in found:
            found = found[token]
        else:
            return len(tokens) - index
    return 0
