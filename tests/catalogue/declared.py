"""What a schema declares of one payload, by walking the payload; closing walks the schema."""

from typing import Any

from catalogue.closing import APPLIED
from catalogue.schema import Schema, escaped, in_place, resolve
from tests.catalogue import reference


def has_undeclared(root: Schema, value: Any, pointers: frozenset[str] = frozenset({""})) -> bool:
    """Whether it has a member that none of the schemas declares that apply to its object."""
    schemas = applied(root, pointers)
    if isinstance(value, list):
        return any(
            has_undeclared(root, item, of_item(schemas, index)) for index, item in enumerate(value)
        )
    if not isinstance(value, dict):
        return False
    is_closed = any(
        one.get("properties") or one.get("patternProperties") for one in schemas.values()
    ) and not any("additionalProperties" in one for one in schemas.values())
    for name, member in value.items():
        of_name = frozenset(way for at, one in schemas.items() for way in declared(at, one, name))
        others = {
            f"{at}/additionalProperties"
            for at, one in schemas.items()
            if "additionalProperties" in one and not declared(at, one, name)
        }
        if (is_closed and not of_name) or has_undeclared(root, member, of_name | others):
            return True
    return False


def applied(root: Schema, pointers: frozenset[str]) -> dict[str, dict[str, Any]]:
    """These and all that they apply to the same place."""
    found: set[str] = set()
    waiting = list(pointers)
    while waiting:
        found.add(pointer := waiting.pop())
        waiting += [one for one in in_place(root, pointer, APPLIED) if one not in found]
    schemas = {pointer: resolve(root, pointer) for pointer in found}
    return {pointer: one for pointer, one in schemas.items() if isinstance(one, dict)}


def of_item(schemas: dict[str, dict[str, Any]], index: int) -> frozenset[str]:
    return frozenset(
        f"{at}/prefixItems/{index}" if index < len(one.get("prefixItems", ())) else f"{at}/items"
        for at, one in schemas.items()
        if index < len(one.get("prefixItems", ())) or "items" in one
    )


def declared(at: str, schema: dict[str, Any], name: str) -> list[str]:
    """The pointers at which one schema declares a member of this name."""
    found = [f"{at}/properties/{escaped(name)}"] if name in schema.get("properties", {}) else []
    patterns = [one for one in schema.get("patternProperties", {}) if reference.found(one, name)]
    return found + [f"{at}/patternProperties/{escaped(pattern)}" for pattern in patterns]
