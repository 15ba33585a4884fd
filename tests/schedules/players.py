"""Processes that play jobs, each on a server of its own."""

import signal
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import NamedTuple, Self, cast

import msgspec

from tests.schedules.campaign import Job, Tally, explore
from tests.schedules.explorer import NotRepeatable, interleavings
from tests.schedules.stage import SessionFailed, prepared_database

# A schedule goes one step at a time: one player and its server keep one core busy.
PLAYERS = 2

Tell = Callable[[int, Tally, bool], object]


class Part(NamedTuple):
    """Of a job, given by its number: all schedules that begin with the same session."""

    number: int
    job: Job


class Player:
    """A process that takes jobs from `pipe`, and puts their tallies there, as far as they are."""

    def __init__(self, database_url: str) -> None:
        spawning = get_context("spawn")
        self.pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_play, args=(database_url, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Its server goes as well.
        self._process.kill()
        self._process.join()


class _Told(NamedTuple):
    tally: Tally
    is_over: bool


def _play(database_url: str, pipe: Connection) -> None:
    # Whoever started this process ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        job: Job = pipe.recv()
        try:
            tally = explore(database_url, job, lambda tally: pipe.send(_Told(tally, False)))
        except (SessionFailed, NotRepeatable) as fault:
            pipe.send(fault)
        except Exception as fault:
            pipe.send(SessionFailed(f"{job.script.name} before {job.kind}: {fault!r}"))
        else:
            pipe.send(_Told(tally, True))


def run(jobs: Sequence[Job], tell: Tell) -> list[Tally]:
    """The tally of each job; `tell` hears (number of the job, its tally so far, if it is done).

    Raises SessionFailed, NotRepeatable, and StartError where a server does not start.
    """
    # The long ones first, so that none plays on when the others are done.
    parts = sorted(_parts(jobs), key=_size, reverse=True)
    tallies = {part: Tally() for part in parts}
    left, unfinished = deque(parts), Counter(part.number for part in parts)
    underway: dict[Connection, Part] = {}

    def of_job(number: int) -> Tally:
        tally = Tally()
        for part in parts:
            if part.number == number:
                tally.merge(tallies[part])
        return tally

    with ExitStack() as opened:
        idle = [
            opened.enter_context(Player(opened.enter_context(prepared_database()))).pipe
            for _ in range(min(PLAYERS, len(parts)))
        ]
        while left or underway:
            while left and idle:
                part, pipe = left.popleft(), idle.pop()
                underway[pipe] = part
                pipe.send(part.job)
            for ready in wait(list(underway)):
                pipe = cast(Connection, ready)
                part = underway[pipe]
                tallies[part], is_over = _told(pipe, part.job)
                if is_over:
                    del underway[pipe]
                    idle.append(pipe)
                    unfinished[part.number] -= 1
                tell(part.number, of_job(part.number), not unfinished[part.number])
    return [of_job(number) for number in range(len(jobs))]


def _told(pipe: Connection, job: Job) -> _Told:
    try:
        told = pipe.recv()
    except EOFError as error:
        raise SessionFailed(f"the process that played {job.script.name} has died") from error
    if isinstance(told, Exception):
        raise told
    assert isinstance(told, _Told)
    return told


def _parts(jobs: Sequence[Job]) -> list[Part]:
    return [
        Part(number, msgspec.structs.replace(job, first=name))
        for number, job in enumerate(jobs)
        for name in (job.script.sessions if job.sample is None else [None])
    ]


def _size(part: Part) -> int:
    """How many schedules, where nobody waits."""
    steps = part.job.script.lengths
    if part.job.first is not None:
        steps[part.job.first] -= 1
    return interleavings(steps)
