"""A schema as people read it, and what changed from one to the next."""

from typing import Any

import pytest

from catalogue import schema as schemas
from service.console.catalogue.changes import changes
from service.console.catalogue.tree import MAX_DEPTH, Node, tree

Schema = dict[str, Any]


def lines(node: Node, depth: int = 0) -> list[str]:
    """As the page has them, without descriptions."""
    said = [node.role, node.name, node.type, node.definition, *node.bounds, *node.values]
    said += ["required"] * node.is_required + [f"→ {node.link}"] * bool(node.link)
    own = "  " * depth + " ".join(one for one in said if one)
    return [own, *(line for child in node.children for line in lines(child, depth + 1))]


def test_a_tree_says_what_may_be_in_a_message() -> None:
    schema: Schema = {
        "type": "object",
        "required": ["id", "other"],
        "minProperties": 1,
        "properties": {
            "id": {"type": ["string", "integer"], "minLength": 1},
            "size": {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 5},
            "kind": {"enum": ["a", 1, None]},
            "fixed": {"const": {"a": 1}},
            "names": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1},
            "codes": {"type": "array", "items": {"pattern": "^a$"}, "uniqueItems": True},
            "pair": {"prefixItems": [{"type": "string"}, True], "items": False},
            "by": {"patternProperties": {"^x": {"type": "number"}}, "additionalProperties": False},
            "maybe": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Node"}]},
            "either": {"oneOf": [{"type": "string"}, {"type": "number"}]},
            "not": {"not": {"type": "null"}},
        },
        "dependentRequired": {"size": ["kind"]},
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"required": ["size"]},
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/Node"}, "whole": {"$ref": "#"}},
            }
        },
    }
    assert lines(tree(schema)) == [
        "object at least 1 name with size also kind",
        "  id string or integer at least 1 character required",
        "  size integer > 0 a multiple of 5",
        '  kind string or number or null "a" 1 null',
        '  fixed object always {"a":1}',
        "  names array of string exactly 1 item",
        "  codes array each item once",
        "    each item anything like ^a$",
        "  pair array no other items",
        "    item 1 string",
        "    item 2 anything",
        "  by object no other names",
        "    each name like ^x number",
        "  maybe object or null Node",
        "    next Node → definition-1",
        "    whole the whole again → schema",
        "  either",
        "    one of these",
        "      string",
        "      number",
        "  not anything",
        "    but not null",
        "  other anything required",
        "  where it is object",
        '    kind string always "a"',
        "  it is also object",
        "    size anything required",
    ]


@pytest.mark.parametrize(
    ("schema", "type_"), [(True, "anything"), (False, "nothing"), ({}, "anything")]
)
def test_a_schema_without_words_is_a_tree_too(schema: Any, type_: str) -> None:
    assert lines(tree(schema)) == [type_]


def test_the_deepest_schema_that_there_may_be_is_drawn() -> None:
    schema: Schema = {}
    for _ in range(30):
        schema = {"properties": {"a": schema}}
    assert len(lines(tree(schemas.parse(str(schema).replace("'", '"').encode())))) == 31
    for _ in range(30):
        schema = {"properties": {"a": schema}}
    assert len(lines(tree(schema))) == MAX_DEPTH + 1


def told(old: Any, new: Any) -> list[str]:
    return [f"{one.kind} {one.where}: {one.said}" for one in changes(old, new)]


def of(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties}


TEXT: Schema = {"type": "string"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (of(a=TEXT), of(a=TEXT), []),
        (of(), of(a=TEXT), ["added a: string, optional"]),
        (of(), {**of(a=TEXT), "required": ["a"]}, ["added a: string, required"]),
        ({**of(a=TEXT), "required": ["a"]}, of(), ["removed a: string"]),
        (
            of(a=TEXT),
            {**of(a=TEXT), "required": ["a"]},
            ["changed a: optional before, required now"],
        ),
        (
            {**of(a=TEXT), "required": ["a"]},
            of(a=TEXT),
            ["changed a: required before, optional now"],
        ),
        (of(), {**of(), "required": ["b"]}, ["changed b: optional before, required now"]),
        (
            of(a={"items": of(b={"maxLength": 1})}),
            of(a={"items": of(b={"maxLength": 2})}),
            ["changed a[].b: maxLength from 1 to 2"],
        ),
        (of(a={"enum": [1, 2]}), of(a={"enum": [2, 3]}), ["added a: enum 3", "removed a: enum 1"]),
        (of(a=TEXT), of(a={"type": ["string", "null"]}), ['added a: type "null"']),
        (of(a=TEXT), of(a={**TEXT, "description": "x"}), ["changed a: another description"]),
        (of(a={"minimum": 1}), of(a={}), ["removed a: minimum 1"]),
        (of(a={}), of(a={"format": "uuid"}), ['added a: format "uuid"']),
        (of(a=True), of(a=False), ["changed a: from anything to nothing"]),
        (
            {"oneOf": [TEXT, of()]},
            {"oneOf": [TEXT, of(a=TEXT)]},
            ["added oneOf 2.a: string, optional"],
        ),
        ({"oneOf": [TEXT]}, {"oneOf": [TEXT, TEXT]}, ["changed : oneOf has other parts"]),
        (
            {"$defs": {"M": of()}},
            {"$defs": {"M": of(a=TEXT)}},
            ["added definition M.a: string, optional"],
        ),
    ],
)
def test_a_change_is_told_by_where_it_is(old: Any, new: Any, said: list[str]) -> None:
    assert told(old, new) == said
