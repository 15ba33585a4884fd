"""All schedules of all scripts before all readers, on as many servers as there are workers."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from queue import SimpleQueue
from random import Random

import msgspec

from tests.schedules.explorer import Exhaustive, Sampled
from tests.schedules.script import Script
from tests.schedules.stage import Played, Stage, prepared_database

# A schedule goes one step at a time, so that one explorer and its server keep one core busy.
WORKERS = 2
MAX_EXAMPLES = 3
TELL_EVERY_SCHEDULES = 20
TURN_SECONDS = 0.5


class Sample(msgspec.Struct, frozen=True):
    """`count` random schedules of each script instead of all."""

    count: int
    seed: int


class Job(msgspec.Struct, frozen=True):
    """One script before readers of one kind."""

    script: Script
    kind: str
    sample: Sample | None = None


class Tally(msgspec.Struct):
    """What came of a job's schedules: each is counted once, `broken` are those that broke any."""

    schedules: int = 0
    waited: int = 0
    deliveries: int = 0
    repeats: int = 0
    broken: int = 0
    examples: list[Played] = []

    def add(self, played: Played) -> None:
        self.schedules += 1
        self.waited += played.waited
        self.deliveries += played.deliveries
        self.repeats += played.repeats
        if played.broken:
            self.broken += 1
            # The shortest tell the most.
            examples = sorted([*self.examples, played], key=lambda one: len(one.path))
            self.examples = examples[:MAX_EXAMPLES]


def explore(
    database_url: str, job: Job, tell: Callable[[int, float], object] = lambda *_: None
) -> Tally:
    """Plays a job's schedules and counts; `tell` hears how many so far and which share that is.

    Raises SessionFailed and NotRepeatable.
    """
    tally = Tally()
    with Stage(database_url, job.script, job.kind) as stage:
        for played, share in _played(stage, job):
            tally.add(played)
            if tally.schedules % TELL_EVERY_SCHEDULES == 0:
                tell(tally.schedules, share)
    return tally


def _played(stage: Stage, job: Job) -> Iterator[tuple[Played, float]]:
    if job.sample is None:
        every = Exhaustive()
        more = True
        while more:
            yield stage.play(every.choose), every.share
            more = every.advance()
        return
    known: set[str] = set()
    chance = Sampled(Random(f"{job.sample.seed}/{job.script.name}/{job.kind}"))
    for number in range(job.sample.count):
        played = stage.play(chance.choose)
        if played.path not in known:
            known.add(played.path)
            yield played, number / job.sample.count


Tell = Callable[[int, int, float], None]


class Stopped(Exception):
    """Another job failed, or the user has had enough."""


def run(jobs: Sequence[Job], tell: Tell) -> list[Tally]:
    """The tally of each job; `tell` hears (number of the job, schedules so far, share).

    Raises SessionFailed, NotRepeatable, and StartError where a server does not start.
    """
    stop = threading.Event()
    databases: SimpleQueue[str] = SimpleQueue()

    def work(number: int, job: Job) -> Tally:
        def tell_unless_stopped(schedules: int, share: float) -> None:
            if stop.is_set():
                raise Stopped
            tell(number, schedules, share)

        url = databases.get()
        try:
            tally = explore(url, job, tell_unless_stopped)
        finally:
            databases.put(url)
        tell(number, tally.schedules, 1.0)
        return tally

    with ExitStack() as opened:
        for _ in range(WORKERS):
            databases.put(opened.enter_context(prepared_database()))
        workers = opened.enter_context(ThreadPoolExecutor(WORKERS))
        opened.callback(workers.shutdown, wait=False, cancel_futures=True)
        opened.callback(stop.set)
        futures = [workers.submit(work, number, job) for number, job in enumerate(jobs)]
        pending = set(futures)
        while pending:
            # Bounded: a signal that another thread gets is seen only when this one turns.
            done, pending = wait(pending, TURN_SECONDS, FIRST_EXCEPTION)
            for future in done:
                future.result()
        return [future.result() for future in futures]
