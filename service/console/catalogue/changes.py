"""What changed from one version to the next, and what that breaks where it was let through."""

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from catalogue import schema as schemas
from catalogue.compatibility import Break, breaks
from catalogue.compatibility.values import identity
from service.console.catalogue.bounds import type_of, written
from service.console.catalogue.reading import Version

# Of one step so many changes are told.
MAX_CHANGES = 50
# Beyond it what a step breaks is not looked for: that may take seconds, and somebody is waiting.
MAX_COMPARED_BYTES = 32_768
# Outcomes that are kept: versions never change, and what a change breaks takes a while to find.
MAX_KEPT = 500


@dataclass(frozen=True)
class Change:
    """`where` is a path as people write it: `lines[].price`."""

    kind: Literal["added", "removed", "changed"]
    where: str
    said: str


@dataclass(frozen=True)
class Step:
    """A version, and what it changed of the one before; `is_first`: there is none before.

    `breaks` None: the schemas are too large to look for them here.
    """

    version: Version
    changes: Sequence[Change]
    untold: int
    breaks: Sequence[Break] | None
    is_first: bool


def first(version: Version) -> Step:
    """Of the first one."""
    return Step(version, (), 0, (), is_first=True)


_kept: dict[bytes, Step] = {}


def known(new: Version, old: Version) -> Step | None:
    """A step that was found before."""
    return _kept.get(_key(new, old))


def _key(new: Version, old: Version) -> bytes:
    digests = [hashlib.sha256(one.schema.encode()).digest() for one in (new, old)]
    return b"".join((*digests, f"{new.version} {new.created_at} {new.compatibility}".encode()))


def step(new: Version, old: Version) -> Step:
    """From one version to the next; it takes some seconds at most."""
    before, after = (schemas.parse(one.schema.encode()) for one in (old, new))
    all_changes = list(changes(before, after))
    found = Step(
        new,
        all_changes[:MAX_CHANGES],
        max(0, len(all_changes) - MAX_CHANGES),
        _breaks(new, before, after, len(old.schema) + len(new.schema)),
        is_first=False,
    )
    if len(_kept) >= MAX_KEPT:
        _kept.pop(next(iter(_kept)), None)
    _kept[_key(new, old)] = found
    return found


def _breaks(new: Version, before: Any, after: Any, size: int) -> Sequence[Break] | None:
    if new.compatibility == "full":
        # It was refused, had it broken anything.
        return ()
    if size > MAX_COMPARED_BYTES:
        return None
    found = (
        *breaks(before, after, direction="forward"),
        *breaks(before, after, direction="backward"),
    )
    return found[:MAX_CHANGES]


_OF_NAMES = {
    "properties": "{}",
    "patternProperties": "names like {}",
    "$defs": "definition {}",
    "dependentSchemas": "where {} is there",
}
_OF_ONE = {
    "items": "[]",
    "contains": "[contains]",
    "additionalProperties": "other names",
    "propertyNames": "names",
    "not": "not",
    "if": "if",
    "then": "then",
    "else": "else",
}
_OF_LIST = ("allOf", "anyOf", "oneOf", "prefixItems")
_SETS = ("required", "enum", "type")
# What is said to people and holds nobody to anything.
_WORDS = ("title", "description", "examples", "$comment", "deprecated", "readOnly", "writeOnly")


def changes(old: Any, new: Any, where: str = "") -> Iterator[Change]:
    """Between two schemas, each by where it is."""
    if old == new:
        return
    if not isinstance(old, dict) or not isinstance(new, dict):
        yield Change("changed", where, f"from {_named(old)} to {_named(new)}")
        return
    for keyword in dict.fromkeys([*old, *new]):
        if keyword not in old or keyword not in new or old[keyword] != new[keyword]:
            yield from _changed(keyword, old, new, where)


def _changed(keyword: str, old: Any, new: Any, where: str) -> Iterator[Change]:
    before, after = old.get(keyword), new.get(keyword)
    if keyword in _OF_NAMES:
        yield from _of_names(keyword, old, new, where)
    elif keyword in _SETS:
        yield from _of_set(keyword, before, after, old, new, where)
    elif keyword in _OF_ONE and before is not None and after is not None:
        yield from changes(before, after, _joined(where, _OF_ONE[keyword]))
    elif keyword in _OF_LIST and before and after and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True), 1):
            yield from changes(one, other, _joined(where, f"{keyword} {index}"))
    elif keyword in _WORDS:
        yield Change("changed", where, f"another {keyword}")
    elif before is None:
        yield Change("added", where, f"{keyword} {_short(keyword, after)}")
    elif after is None:
        yield Change("removed", where, f"{keyword} {_short(keyword, before)}")
    elif keyword in _OF_LIST:
        yield Change("changed", where, f"{keyword} has other parts")
    else:
        said = f"{keyword} from {_short(keyword, before)} to {_short(keyword, after)}"
        yield Change("changed", where, said)


def _of_names(keyword: str, old: Any, new: Any, where: str) -> Iterator[Change]:
    before, after = old.get(keyword, {}), new.get(keyword, {})
    for name in dict.fromkeys([*before, *after]):
        place = _joined(where, _OF_NAMES[keyword].format(name))
        if name not in before:
            yield Change("added", place, _added(keyword, name, new))
        elif name not in after:
            yield Change("removed", place, _named(before[name]))
        else:
            yield from changes(before[name], after[name], place)


def _added(keyword: str, name: str, new: Any) -> str:
    said = _named(new[keyword][name])
    if keyword != "properties":
        return said
    return f"{said}, {'required' if name in new.get('required', []) else 'optional'}"


def _of_set(
    keyword: str, before: Any, after: Any, old: Any, new: Any, where: str
) -> Iterator[Change]:
    """Of names that are required, values that may be, types that may be."""
    was, now = _by_identity(before), _by_identity(after)
    for one in (one for key, one in now.items() if key not in was):
        if keyword != "required":
            yield Change("added", where, f"{keyword} {written(one)}")
        elif one in old.get("properties", {}) or one not in new.get("properties", {}):
            yield Change("changed", _joined(where, one), "optional before, required now")
    for one in (one for key, one in was.items() if key not in now):
        if keyword != "required":
            yield Change("removed", where, f"{keyword} {written(one)}")
        elif one in new.get("properties", {}) or one not in old.get("properties", {}):
            yield Change("changed", _joined(where, one), "required before, optional now")


def _by_identity(value: Any) -> dict[Hashable, Any]:
    """What a list says, or the one that stands for it: to look each up in another takes no time."""
    if value is None:
        return {}
    return {identity(one): one for one in (value if isinstance(value, list) else [value])}


def _joined(where: str, step: str) -> str:
    if not where or step.startswith("["):
        return where + step
    return f"{where}.{step}"


def _short(keyword: str, value: Any) -> str:
    return "" if keyword in (*_OF_ONE, *_OF_LIST) else written(value)


def _named(schema: Any) -> str:
    """A schema in a word or two."""
    if not isinstance(schema, dict):
        return "anything" if schema else "nothing"
    if isinstance(schema.get("$ref"), str):
        return str(schema["$ref"]).rpartition("/")[2] or "the whole"
    if "enum" in schema:
        return f"one of {', '.join(map(written, schema['enum']))}"
    if "const" in schema:
        return f"always {written(schema['const'])}"
    parts = [_named(one) for keyword in ("anyOf", "oneOf") for one in schema.get(keyword, [])]
    return type_of(schema) or " or ".join(parts) or "a value"
