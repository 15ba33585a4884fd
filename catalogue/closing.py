"""Writers closed: the same schema with undeclared properties forbidden.

What is declared at a place of the payload is what any of the schemas that apply there declares,
under whatever condition. So a place is closed with all of them in view, and outside of every
condition: closed inside an alternative it would change which alternative fits.
"""

from collections.abc import Iterable
from itertools import count
from typing import Any

from catalogue import patterns
from catalogue.schema import Schema, SchemaFault, escaped, in_place, mapped, resolve, subschemas

# What applies to the same place. What `not` holds is not declared by it.
APPLIED = ("allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas")
# Where one of them says what else may come, the place is left as it is.
OPENED = ("additionalProperties", "unevaluatedProperties")
# They hang on what is declared beside them, which to close what lies further in would add to.
UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")

MAX_PLACES = 2_000

# The pointers of all schemas that apply to one place.
Group = frozenset[str]


def close(schema: Schema) -> Schema:
    """Plain draft 2020-12 as well. Raises SchemaFault where it would become too large."""
    root = _without_loop(schema)
    closing = _Closing(root)
    shape = closing.shape(closing.group([""]))
    if isinstance(root, bool) or shape is True:
        return schema
    closed = _both(root, shape)
    assert isinstance(closed, dict), "both are objects"
    if not closing.named:
        return closed
    return {**closed, "$defs": {**root.get("$defs", {}), **closing.definitions()}}


class _Closing:
    """Of one document: what closes each place, by the schemas that apply there."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.places = 0
        taken = root.get("$defs", {}) if isinstance(root, dict) else {}
        self.unused = (name for number in count(1) if (name := f"closed-{number}") not in taken)
        # References may lead back, so what they lead to has a name, and a shape once it is made.
        self.named: dict[Group, str] = {}
        self.shapes: dict[Group, Schema] = {}
        self.referred: set[Group] = set()

    def group(self, pointers: Iterable[str]) -> Group:
        """These schemas and all that they apply to the same place."""
        found: set[str] = set()
        waiting = list(pointers)
        while waiting:
            if (pointer := waiting.pop()) not in found:
                found.add(pointer)
                waiting += in_place(self.root, pointer, APPLIED)
        return frozenset(found)

    def members(self, group: Group) -> list["_Member"]:
        found = [(pointer, resolve(self.root, pointer)) for pointer in sorted(group)]
        return [_Member(pointer, schema) for pointer, schema in found if isinstance(schema, dict)]

    def definitions(self) -> dict[str, Schema]:
        return {name: self.shapes[group] for group, name in self.named.items()}

    def shape(self, group: Group) -> Schema:
        """What closes the place of this group and all further in; True: nothing is to be closed."""
        if not any("$ref" in one.schema for one in self.members(group)):
            return self.made(group)
        if group in self.named:
            self.referred.add(group)
        else:
            self.named[group] = next(self.unused)
            self.shapes[group] = self.made(group)
            if self.shapes[group] is True and group not in self.referred:
                del self.named[group]
                return True
        return {"$ref": f"#/$defs/{self.named[group]}"}

    def made(self, group: Group) -> Schema:
        self.places += 1
        if self.places > MAX_PLACES:
            raise SchemaFault("", f"closed, it would have more than {MAX_PLACES} places")
        members = self.members(group)
        if not members or any(one in member.schema for member in members for one in UNEVALUATED):
            return True
        return {**self.object(members), **self.array(members)} or True

    def object(self, members: list["_Member"]) -> dict[str, Any]:
        """What closes the members of an object here, and what lies in them."""
        names = list(dict.fromkeys(name for one in members for name in one.names))
        patterned = list(dict.fromkeys(name for one in members for name in one.patterns))
        if not any(keyword in one.schema for one in members for keyword in OPENED):
            others: Schema = not (names or patterned)
        else:
            others = self.shape(self.group(way for one in members for way in one.additional()))
        applied = [one.named(names) for one in members]
        shape = {
            "properties": {
                name: self.shape(self.group(way for ways in applied for way in ways[name]))
                for name in names
            },
            "patternProperties": {
                pattern: self.shape(self.group(way for one in members for way in one.like(pattern)))
                for pattern in patterned
            },
        }
        if others is True:
            shape = {
                keyword: {name: one for name, one in found.items() if one is not True}
                for keyword, found in shape.items()
            }
        kept: dict[str, Any] = {keyword: found for keyword, found in shape.items() if found}
        return kept if others is True else {**kept, "additionalProperties": others}

    def array(self, members: list["_Member"]) -> dict[str, Any]:
        """What closes the items of an array here."""
        longest = max((len(one.schema.get("prefixItems", ())) for one in members), default=0)
        *first, rest = (
            self.shape(self.group(way for one in members for way in one.item(index)))
            for index in range(longest + 1)
        )
        shape: dict[str, Any] = {}
        if any(one is not True for one in first) or (first and rest is not True):
            shape["prefixItems"] = first
        if rest is not True:
            shape["items"] = rest
        return shape


class _Member:
    """One of the schemas that apply to a place, and which of its own apply further in."""

    def __init__(self, pointer: str, schema: dict[str, Any]) -> None:
        self.pointer = pointer
        self.schema = schema
        self.names: dict[str, Schema] = schema.get("properties", {})
        self.patterns: dict[str, Schema] = schema.get("patternProperties", {})

    def named(self, names: list[str]) -> dict[str, list[str]]:
        """By name, to the member of an object that has it."""
        found = {name: [self.property(name)] if name in self.names else [] for name in names}
        # A pattern with all names before the next one: to read it takes longer than to match it.
        for pattern in self.patterns:
            for name in names:
                if patterns.match(pattern, name):
                    found[name].append(self.pattern(pattern))
        return {name: ways or self.additional() for name, ways in found.items()}

    def like(self, pattern: str) -> list[str]:
        """To members whose names match: to any of them, since names match several patterns."""
        found = [self.property(name) for name in self.names if patterns.match(pattern, name)]
        return [*found, *map(self.pattern, self.patterns), *self.additional()]

    def additional(self) -> list[str]:
        """To members that it does not declare."""
        keyword = "additionalProperties"
        return [f"{self.pointer}/{keyword}"] if keyword in self.schema else []

    def item(self, index: int) -> list[str]:
        if index < len(self.schema.get("prefixItems", ())):
            return [f"{self.pointer}/prefixItems/{index}"]
        return [f"{self.pointer}/items"] if "items" in self.schema else []

    def property(self, name: str) -> str:
        return f"{self.pointer}/properties/{escaped(name)}"

    def pattern(self, pattern: str) -> str:
        return f"{self.pointer}/patternProperties/{escaped(pattern)}"


def _both(schema: Schema, shape: Schema) -> Schema:
    """A schema that asks for both: in one where they fit together, and else side by side."""
    if isinstance(shape, bool) or isinstance(schema, bool):
        return schema if shape is True or schema is False else shape
    if not _fit_together(schema, shape):
        return {**schema, "allOf": [*schema.get("allOf", []), shape]}
    both = {**schema, **shape}
    for keyword in ("properties", "patternProperties"):
        if keyword in shape:
            own, added = schema.get(keyword, {}), shape[keyword]
            both[keyword] = {
                name: _both(own.get(name, True), added.get(name, True)) for name in {**own, **added}
            }
    if "items" in shape:
        both["items"] = _both(schema.get("items", True), shape["items"])
    return both


def _fit_together(schema: dict[str, Any], shape: dict[str, Any]) -> bool:
    """What one says of other properties or items must not come to be about others than before."""
    if "$ref" in shape or "prefixItems" in shape or "prefixItems" in schema:
        return False
    if "additionalProperties" in schema:
        declared = ("properties", "patternProperties")
        return "additionalProperties" not in shape and all(
            name in schema.get(keyword, {})
            for keyword in declared
            for name in shape.get(keyword, {})
        )
    return True


def _without_loop(schema: Schema) -> Schema:
    """The same, with the whole as a definition where it refers to itself.

    It is closed at its top, and may not be closed so where it is referred to.
    """
    if isinstance(schema, bool) or not any(
        isinstance(one, dict) and one.get("$ref") == "#" for _, one in subschemas(schema)
    ):
        return schema
    name = "whole"
    while name in schema.get("$defs", {}):
        name += "-"

    def renamed(one: Schema) -> Schema:
        changed = mapped(one, renamed)
        if isinstance(changed, dict) and changed.get("$ref") == "#":
            changed = {**changed, "$ref": f"#/$defs/{name}"}
        return changed

    whole = renamed(schema)
    assert isinstance(whole, dict), "it has a reference"
    defs = whole.pop("$defs", {})
    about: dict[str, Any] = {one: whole.pop(one) for one in ("$schema", "$id") if one in whole}
    return {**about, "$ref": f"#/$defs/{name}", "$defs": {**defs, name: whole}}
