"""A schema inside a document: where it stands, and on which side of the comparison."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import cast
from urllib.parse import unquote

Schema = Mapping[str, object] | bool


class Side(Enum):
    """How a schema is taken."""

    # A reader ignores properties that it does not know, even where its schema forbids them.
    READER = "reader"
    # Just what it says.
    AS_WRITTEN = "as written"


class Document:
    """One version of a type's schema. Every place in it exists once for each side."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._places: dict[tuple[str, Side], Place] = {}

    def root(self, side: Side) -> "Place":
        return self.place("", self._root, side)

    def place(self, pointer: str, schema: object, side: Side) -> "Place":
        """The one place there; a schema that is neither object nor boolean is no schema."""
        found = self._places.get((pointer, side))
        if found is None:
            found = Place(self, pointer, cast("Schema", schema), side)
            self._places[pointer, side] = found
        return found

    def find(self, reference: str, side: Side) -> "Place | None":
        """What a `$ref` names, None where that is not in this document."""
        if reference not in ("", "#") and not reference.startswith("#/"):
            return None
        pointer, found = unquote(reference.removeprefix("#")), cast("object", self._root)
        for token in pointer.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isascii() and name.isdecimal():
                found = found[int(name)] if int(name) < len(found) else None
            else:
                return None
        return self.place(pointer, found, side) if isinstance(found, Mapping | bool) else None


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """A schema that stands at `pointer` of its document; equal to itself alone."""

    document: Document
    pointer: str
    schema: Schema
    side: Side

    @property
    def keywords(self) -> Mapping[str, object]:
        """What it says, nothing where it is a boolean."""
        return {} if isinstance(self.schema, bool) else self.schema

    def at(self, *path: str | int) -> "Place":
        """The schema further down, on the same side."""
        found: object = self.schema
        for step in path:
            found = cast("Mapping[str | int, object]", found)[step]
        return self.document.place(below(self.pointer, *path), found, self.side)

    def keyword(self, keyword: str, *path: str | int) -> str:
        """Where the keyword stands, or would stand."""
        return below(self.pointer, keyword, *path)

    def as_written(self) -> "Place":
        """The same schema, taken as it stands."""
        return self.document.place(self.pointer, self.schema, Side.AS_WRITTEN)

    def target(self) -> "Place | None":
        """What its `$ref` names."""
        reference = self.keywords.get("$ref")
        return self.document.find(reference, self.side) if isinstance(reference, str) else None

    def named(self, keyword: str) -> dict[str, "Place"]:
        """The schemas of a keyword that has them by name, such as `properties`."""
        names = cast("Mapping[str, object]", self.keywords.get(keyword, {}))
        return {name: self.at(keyword, name) for name in names}

    def listed(self, keyword: str) -> tuple["Place", ...]:
        """The schemas of a keyword that has a list of them, such as `allOf`."""
        count = len(cast("list[object]", self.keywords.get(keyword, ())))
        return tuple(self.at(keyword, index) for index in range(count))

    def made(self, schema: Schema, *path: str | int) -> "Place":
        """A schema that is written nowhere, in the place of something that is."""
        return Place(Document(schema), below(self.pointer, *path), schema, Side.AS_WRITTEN)


# Schemas that hold for one value together.
Location = tuple[Place, ...]

ANYTHING = Document(True).root(Side.AS_WRITTEN)
NOTHING = Document(False).root(Side.AS_WRITTEN)


def or_anything(place: Place) -> Place:
    """The one place that anything keeps to, for each schema that says no more than `true`."""
    return ANYTHING if place.schema is True or place.schema == {} else place


def below(pointer: str, *path: str | int) -> str:
    """The JSON pointer that leads further down by these names."""
    return pointer + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def conjuncts(place: Place) -> Iterator[Place]:
    """The schemas that it asks a value to keep to besides its own keywords.

    What closes a writer is the last of them.
    """
    if (target := place.target()) is not None:
        yield target
    yield from place.listed("allOf")


def together(place: Place) -> Iterator[Place]:
    """Every schema that a value which keeps to this one keeps to: itself, and what it asks for."""
    return _reached(place, conjuncts)


def in_place(place: Place) -> Iterator[Place]:
    """Every schema that may speak of the same value, those of branches among them."""
    return _reached(place, _applied)


def _applied(place: Place) -> Iterator[Place]:
    yield from conjuncts(place)
    for keyword in ("anyOf", "oneOf"):
        yield from place.listed(keyword)
    for keyword in ("if", "then", "else"):
        if keyword in place.keywords:
            yield place.at(keyword)
    yield from place.named("dependentSchemas").values()


def _reached(place: Place, near: Callable[[Place], Iterator[Place]]) -> Iterator[Place]:
    seen, waiting = {place}, [place]
    while waiting:
        found = waiting.pop()
        yield found
        for one in near(found):
            if one not in seen:
                seen.add(one)
                waiting.append(one)
