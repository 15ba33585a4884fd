"""A schema as a tree that people read: what is in a message, of which type, within which bounds.

Each definition stands where it is used first; where it is used again, a link leads there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalogue import schema as schemas
from service.console.catalogue.bounds import bounds, type_of, written

# Deeper it is not shown, and the schema beside it still is.
MAX_DEPTH = 40


@dataclass
class Node:
    """A part of a message.

    `name` is that of a property; `role` says what else it is: "each item", "one of these".
    `definition` is the name of what stands here, `anchor` where others find it, and `link` the
    anchor of what stands elsewhere.
    """

    type: str
    name: str = ""
    role: str = ""
    is_required: bool = False
    is_deprecated: bool = False
    description: str = ""
    bounds: Sequence[str] = ()
    values: Sequence[str] = ()
    definition: str = ""
    anchor: str = ""
    link: str = ""
    children: list["Node"] = field(default_factory=list)


def tree(schema: Any) -> Node:
    """Of a valid schema."""
    return _Drawing(schema).node(schema, 0)


class _Drawing:
    """One schema, and which of its definitions are drawn already."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._anchors = {"": "schema"}

    def node(self, schema: Any, depth: int, name: str = "", role: str = "") -> Node:
        """What a schema says of a value."""
        if not isinstance(schema, dict):
            return Node("anything" if schema else "nothing", name, role)
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._referred(schema, reference, depth, name, role)
        if (inner := _or_null(schema)) is not None:
            node = self.node(inner, depth, name, role)
            node.type += " or null"
            return node
        return self._plain(schema, depth, name, role)

    def _referred(
        self, schema: dict[str, Any], reference: str, depth: int, name: str, role: str
    ) -> Node:
        """What a reference leads to, and what the schema says besides."""
        pointer = schemas.target(reference)
        definition = schemas.unescaped(pointer.rpartition("/")[2])
        if (anchor := self._anchors.get(pointer)) is not None:
            label = definition or "the whole again"
            return Node(label, name, role, link=anchor)
        anchor = self._anchors[pointer] = f"definition-{len(self._anchors)}"
        target = schemas.resolve(self._root, pointer)
        besides = {key: value for key, value in schema.items() if key != "$ref"}
        if isinstance(target, dict):
            besides = {**target, **besides}
            node = self.node(besides, depth, name, role)
        else:
            node = self.node(target, depth, name, role)
        node.definition, node.anchor = definition, anchor
        return node

    def _plain(self, schema: dict[str, Any], depth: int, name: str, role: str) -> Node:
        node = Node(
            type_of(schema),
            name,
            role,
            is_deprecated=schema.get("deprecated") is True,
            description=str(schema.get("description") or schema.get("title") or ""),
            bounds=list(bounds(schema)),
            values=[written(one) for one in schema.get("enum", [])],
        )
        if depth >= MAX_DEPTH:
            node.bounds = [*node.bounds, "and more, see the schema"]
            return node
        for child in self._children(schema, depth + 1):
            if _is_plain_item(child):
                # A list of texts is said in one line.
                node.type = f"{node.type} of {child.type}"
            else:
                node.children.append(child)
        return node

    def _children(self, schema: dict[str, Any], depth: int) -> Iterator[Node]:
        required = set(schema.get("required", []))
        for name, one in schema.get("properties", {}).items():
            child = self.node(one, depth, name)
            child.is_required = name in required
            yield child
        for name in sorted(required - set(schema.get("properties", {}))):
            yield Node("anything", name, is_required=True)
        for pattern, one in schema.get("patternProperties", {}).items():
            yield self.node(one, depth, role=f"each name like {pattern}")
        for index, one in enumerate(schema.get("prefixItems", []), 1):
            yield self.node(one, depth, role=f"item {index}")
        for keyword, role in _ONE.items():
            one = schema.get(keyword)
            if isinstance(one, dict) or (one is not None and keyword in _EVEN_BOOLEAN):
                yield self.node(one, depth, role=_role(keyword, role, schema))
        for keyword, role in _SEVERAL.items():
            if keyword in schema:
                parts = [self.node(one, depth + 1) for one in schema[keyword]]
                yield Node("", role=role, children=parts)
        for name, one in schema.get("dependentSchemas", {}).items():
            yield self.node(one, depth, role=f"where {name} is there")


_ONE = {
    "items": "each item",
    "contains": "one item at least",
    "additionalProperties": "each other name",
    "unevaluatedProperties": "each other name",
    "unevaluatedItems": "each other item",
    "propertyNames": "names",
    "not": "but not",
    "if": "where it is",
    "then": "it is also",
    "else": "and else",
}
# As a schema these mean something even where they are true or false.
_EVEN_BOOLEAN = ("not", "then", "else")
_SEVERAL = {"allOf": "all of these", "anyOf": "at least one of these", "oneOf": "one of these"}


def _role(keyword: str, role: str, schema: dict[str, Any]) -> str:
    return "each other item" if keyword == "items" and "prefixItems" in schema else role


def _is_plain_item(child: Node) -> bool:
    said = child.children or child.bounds or child.values or child.description or child.link
    return child.role == "each item" and not said and not child.definition


def _or_null(schema: dict[str, Any]) -> Any:
    """What may also be null: the other of two, where nothing else is said."""
    for keyword in ("oneOf", "anyOf"):
        parts = schema.get(keyword)
        if not isinstance(parts, list) or len(parts) != 2:
            continue
        others = [one for one in parts if one != {"type": "null"}]
        if len(others) == 1 and isinstance(others[0], dict):
            besides = {key: value for key, value in schema.items() if key != keyword}
            if besides.keys() <= {"description", "title", "deprecated"}:
                return {**others[0], **besides}
    return None
