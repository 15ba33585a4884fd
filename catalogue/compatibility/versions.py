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


class Check:
    """A new version beside its former ones, which are compared one by one, the latest first."""

    def __init__(self, new: Schema, compatibility: Compatibility) -> None:
        self._new = Version(new)
        self._directions = _DIRECTIONS[compatibility]
        self._left = MAX_STEPS_IN_ALL
        # By the break without a version.
        self._told: dict[Break, Break] = {}

    def against(self, number: int, former: Schema) -> None:
        """Compares it with one of them, in two comparisons at most."""
        version = Version(former)
        for direction in self._directions:
            steps = Steps(min(MAX_STEPS, self._left))
            for one in found(version, self._new, direction, steps):
                self._told.setdefault(one, replace(one, version=number))
            self._left -= steps.taken

    @property
    def is_decided(self) -> bool:
        """Whether no further one has anything to say: of none more could anything be shown."""
        return not self._directions or (self._left == 0 and bool(self._told))

    @property
    def breaks(self) -> tuple[Break, ...]:
        """What breaks so far. A break that several versions have names the latest of them."""
        return tuple(self._told.values())


def check(
    versions: Sequence[Schema], new: Schema, compatibility: Compatibility = "full"
) -> tuple[Break, ...]:
    """What breaks with any former version; `versions` are 1, 2, … in order."""
    comparison = Check(new, compatibility)
    for number, schema in reversed(list(enumerate(versions, start=1))):
        if comparison.is_decided:
            break
        comparison.against(number, schema)
    return comparison.breaks
