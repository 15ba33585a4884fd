"""Whether a new version goes with every former one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from catalogue.compatibility.breaks import Break, found
from catalogue.compatibility.place import Schema
from catalogue.compatibility.steps import MAX_STEPS, MAX_STEPS_IN_ALL, Steps
from catalogue.compatibility.version import Version
from catalogue.compatibility.words import Direction

Compatibility = Literal["full", "backward", "forward", "none"]

_DIRECTIONS: dict[Compatibility, tuple[Direction, ...]] = {
    "full": ("forward", "backward"),
    "forward": ("forward",),
    "backward": ("backward",),
    "none": (),
}


def check(
    versions: Sequence[Schema], new: Schema, compatibility: Compatibility = "full"
) -> tuple[Break, ...]:
    """What breaks with any former version; `versions` are 1, 2, … in order.

    A break that several versions have names the latest of them.
    """
    left, changed = MAX_STEPS_IN_ALL, Version(new)
    told: dict[Break, Break] = {}
    for number, schema in reversed(list(enumerate(versions, start=1))):
        former = Version(schema)
        for direction in _DIRECTIONS[compatibility]:
            steps = Steps(min(MAX_STEPS, left))
            for one in found(former, changed, direction, steps):
                told.setdefault(one, replace(one, version=number))
            left -= steps.taken
    return tuple(told.values())
