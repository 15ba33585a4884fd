"""Which session steps next: every choice once, a seeded sample, or one schedule again."""

import math
from collections.abc import Mapping
from fractions import Fraction
from random import Random
from typing import Protocol


class Choice(Protocol):
    def __call__(self, left: Mapping[str, int], /) -> str:
        """Chooses one of the sessions that can step; given are the steps that each has left."""


class NotRepeatable(Exception):
    """The same steps led elsewhere than the time before."""


class Exhaustive:
    """Depth first through all choices: play, then `advance`, until it says that all are done.

    Each schedule is played from its beginning; which sessions can step is only known then, since
    one that waits for a lock can't. With `first`, the branch of all schedules that begin with it.
    """

    def __init__(self, first: str | None = None) -> None:
        self._first = first
        self._options: list[list[str]] = []
        self._chosen: list[int] = []
        self._depth = 0

    def choose(self, left: Mapping[str, int], /) -> str:
        """Raises NotRepeatable where the steps so far left other sessions able to step before."""
        options = list(left)
        if self._depth == len(self._options):
            self._options.append(options)
            given = None if self._chosen else self._first
            self._chosen.append(0 if given is None else options.index(given))
        elif self._options[self._depth] != options:
            path = "".join(
                known[chosen]
                for known, chosen in zip(
                    self._options[: self._depth], self._chosen[: self._depth], strict=True
                )
            )
            raise NotRepeatable(
                f"after {path or 'nothing'} {options} can step, and before it was "
                f"{self._options[self._depth]}"
            )
        chosen = options[self._chosen[self._depth]]
        self._depth += 1
        return chosen

    def advance(self) -> bool:
        """On to the next schedule, from its beginning; False when there is none."""
        self._depth = 0
        fixed = 0 if self._first is None else 1
        while len(self._options) > fixed and self._chosen[-1] == len(self._options[-1]) - 1:
            self._options.pop()
            self._chosen.pop()
        if len(self._options) == fixed:
            return False
        self._chosen[-1] += 1
        return True

    @property
    def share(self) -> Fraction:
        """Of this schedule in the tree, each branch as heavy as its siblings: 1 in all."""
        return Fraction(1, math.prod(len(options) for options in self._options))


class Sampled:
    """One random schedule after the other: equally likely where nothing waits."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def choose(self, left: Mapping[str, int], /) -> str:
        (chosen,) = self._random.choices(list(left), weights=list(left.values()))
        return chosen


class Repeated:
    """One schedule again, by the names of its sessions in the order of their steps.

    What is left open at the end goes on in the order of the sessions.
    """

    def __init__(self, path: str) -> None:
        self._path = list(path)

    def choose(self, left: Mapping[str, int], /) -> str:
        """Raises NotRepeatable where the named session has to wait or is at its end."""
        name = self._path.pop(0) if self._path else next(iter(left))
        if name not in left:
            raise NotRepeatable(f"{name} can't step here, only {', '.join(left)}")
        return name


def interleavings(steps: Mapping[str, int]) -> int:
    """How many schedules there are where nobody ever waits: the multinomial coefficient."""
    total = math.factorial(sum(steps.values()))
    return total // math.prod(math.factorial(count) for count in steps.values())
