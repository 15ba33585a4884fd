"""Jobs: the schedules of a script before readers of one kind, and what came of them."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random

import msgspec

from tests.schedules.explorer import Exhaustive, Sampled
from tests.schedules.script import Script
from tests.schedules.stage import Played, Stage

MAX_EXAMPLES = 3
TELL_EVERY_SCHEDULES = 20


class Sample(msgspec.Struct, frozen=True):
    """`count` random schedules of each script instead of all."""

    count: int
    seed: int


class Job(msgspec.Struct, frozen=True):
    """One script before readers of one kind; with `first`, what begins with that session."""

    script: Script
    kind: str
    sample: Sample | None = None
    first: str | None = None


class Tally(msgspec.Struct):
    """What came of a job's schedules: each is counted once, `broken` are those that broke any.

    `share` is how much of the tree of all choices they are: 1 where each was played, and once.
    """

    schedules: int = 0
    share: Fraction = Fraction(0)
    waited: int = 0
    deliveries: int = 0
    repeats: int = 0
    broken: int = 0
    examples: list[Played] = []

    def add(self, played: Played, share: Fraction) -> None:
        one = Tally(
            1,
            share,
            int(played.waited),
            played.deliveries,
            played.repeats,
            int(bool(played.broken)),
            [played] if played.broken else [],
        )
        self.merge(one)

    def merge(self, other: "Tally") -> None:
        self.schedules += other.schedules
        self.share += other.share
        self.waited += other.waited
        self.deliveries += other.deliveries
        self.repeats += other.repeats
        self.broken += other.broken
        # The shortest tell the most.
        examples = sorted([*self.examples, *other.examples], key=lambda one: len(one.path))
        self.examples = examples[:MAX_EXAMPLES]


def explore(database_url: str, job: Job, tell: Callable[[Tally], object] = lambda _: None) -> Tally:
    """Plays a job's schedules and counts; `tell` hears now and then what came of them so far.

    Raises SessionFailed and NotRepeatable.
    """
    tally = Tally()
    with Stage(database_url, job.script, job.kind) as stage:
        for played, share in _played(stage, job):
            tally.add(played, share)
            if tally.schedules % TELL_EVERY_SCHEDULES == 0:
                tell(tally)
    return tally


def _played(stage: Stage, job: Job) -> Iterator[tuple[Played, Fraction]]:
    if job.sample is None:
        every = Exhaustive(job.first)
        more = True
        while more:
            yield stage.play(every.choose), every.share
            more = every.advance()
        return
    known: set[str] = set()
    chance = Sampled(Random(f"{job.sample.seed}/{job.script.name}/{job.kind}"))
    for _ in range(job.sample.count):
        played = stage.play(chance.choose)
        if played.path not in known:
            known.add(played.path)
            yield played, Fraction(1, job.sample.count)
