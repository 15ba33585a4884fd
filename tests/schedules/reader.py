"""What readers of a log have in common: rounds that stand still after each step, and deaths."""

import time
from collections.abc import Callable
from typing import Protocol

from tests.relay.recording import Arrival
from tests.schedules.actor import Actor
from tests.sql.log import Session

Pause = Callable[[str], None]
# The name of a subscription, and the id of a message that was sent to it.
Sent = tuple[str, int]


class Crash(Exception):
    """The reader dies here."""


class Reader(Protocol):
    """One of the readers of a log, moved in rounds.

    `in_flight` is what its present run has delivered.
    """

    in_flight: list[Sent]

    def pid(self) -> int: ...

    def round(self, pause: Pause) -> None:
        """One run, with a pause after each of the steps look, claim, start and deliver."""

    def die(self) -> None:
        """Loses its session in the middle of a round; the next round begins with a new one."""

    def drain(self) -> None:
        """Reads on until there is nothing new."""

    def close(self) -> None: ...


class Readers(Protocol):
    """Readers of one kind that share their progress, and what has arrived by subscription."""

    arrivals: dict[str, list[Arrival]]

    def begin(self) -> None:
        """A new schedule: what has arrived is forgotten."""

    def open(self, limit: int, *, alone: bool = False) -> Reader:
        """`alone`: of readers that run several cursors together, one that does not."""

    def close(self) -> None: ...


def live(reader: Reader, cut_off: list[list[Sent]], actor: Actor) -> None:
    """Takes the actor's steps; `cut_off` gets what was in flight at each crash."""
    target = ""

    def pause(reached: str) -> None:
        nonlocal target
        if reached == target:
            step = actor.next_step()
            if step is None or step == "crash":
                raise Crash
            target = step

    while step := actor.next_step():
        target = step
        reader.in_flight = []
        try:
            if step == "crash":
                # Between two rounds, with what it has claimed for the next.
                raise Crash
            reader.round(pause)
        except Crash:
            cut_off.append(reader.in_flight)
            reader.die()
        actor.leave_out_the_round()


def no_pause(_: str) -> None: ...


LIVES = "select 1 from pg_stat_activity where pid = %s"
DEATH_INTERVAL_SECONDS = 0.001
DEATH_TIMEOUT_SECONDS = 300.0


def await_death(watcher: Session, pid: int) -> None:
    """Until a backend is gone: its lock goes when it sees its connection's end, and only then is
    the crash over. Raises TimeoutError.
    """
    ends_at = time.monotonic() + DEATH_TIMEOUT_SECONDS
    while watcher.execute(LIVES, [pid]).fetchone():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"backend {pid} outlives its connection")
        time.sleep(DEATH_INTERVAL_SECONDS)
