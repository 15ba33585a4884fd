"""The bound on one comparison: no schema makes it long, however it is nested and branched."""

from typing import Self

# A schema of a hundred properties takes five hundred steps, a `oneOf` of a hundred branches ten
# thousand; all of these together take about a second.
MAX_STEPS = 50_000
# For a version and all former ones together.
MAX_STEPS_IN_ALL = 200_000
# Each level is about three calls of Python's thousand.
MAX_DEPTH = 200


class OutOfSteps(Exception):
    """The comparison would take too long, so that nothing can be shown."""


class Steps:
    """`with steps:` is one step, one level below what it stands in."""

    def __init__(self, most: int = MAX_STEPS) -> None:
        self._most = most
        self._depth = 0
        self.taken = 0

    def __enter__(self) -> Self:
        self.take()
        if self._depth >= MAX_DEPTH:
            raise OutOfSteps
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1

    def take(self) -> None:
        """Raise OutOfSteps where none is left."""
        if self.taken >= self._most:
            raise OutOfSteps
        self.taken += 1
