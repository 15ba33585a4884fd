"""What a change of a schema breaks, between one version and the next."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from catalogue.compatibility.conditions import is_same
from catalogue.compatibility.containment import Comparison
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.place import Schema
from catalogue.compatibility.steps import OutOfSteps, Steps
from catalogue.compatibility.version import Version
from catalogue.compatibility.words import RULES, Direction
from catalogue.schema import SchemaFault

# Whom a break harms: consumers that run today, or new ones that read old messages again.
Harmed = Literal["running consumers", "replaying consumers"]
HARMED: dict[Direction, Harmed] = {
    "forward": "running consumers",
    "backward": "replaying consumers",
}
TOO_LARGE = "whether it fits, since both schemas together are too large or too deeply nested"


@dataclass(frozen=True, slots=True)
class Break:
    """`pointer` leads into the new schema, to what breaks or to where it would stand.

    `version` is the former version that it breaks with; None where just two schemas were compared.
    """

    pointer: str
    rule: str
    harms: Harmed
    detail: str
    version: int | None = None


def breaks(old: Schema, new: Schema, *, direction: Direction) -> tuple[Break, ...]:
    """All breaks of one direction; none where every message that one schema lets its writers write
    is taken by the other's readers. Both are as `catalogue.schema.parse` gives them.

    forward: new messages, read by consumers of the old schema. backward: old messages, read by
    consumers of the new one.
    """
    return tuple(dict.fromkeys(found(Version(old), Version(new), direction, Steps())))


def found(old: Version, new: Version, direction: Direction, steps: Steps) -> Iterator[Break]:
    """The same, within so many steps."""
    forward = direction == "forward"
    for gap in _gaps(*((new, old) if forward else (old, new)), steps):
        said = RULES[gap.subject].forward if forward else RULES[gap.subject].backward
        pointer = new.written(gap.writer) if forward else gap.reader
        yield Break(pointer, said.rule, HARMED[direction], _sentence(said.sentence, gap))


def _gaps(writer: Version, reader: Version, steps: Steps) -> list[Gap]:
    try:
        if is_same(writer.reader, reader.reader, steps):
            return []
        return Comparison(steps).gaps(writer.writer, reader.reader)
    except (OutOfSteps, RecursionError, SchemaFault):
        return [Gap("cannot_be_shown", "", "", {"what": TOO_LARGE})]


def _sentence(form: str, gap: Gap) -> str:
    said = form.format_map(gap.words)
    return said[0].upper() + said[1:]
