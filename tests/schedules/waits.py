"""Whether a session's step is over, or waits for another's lock: the database says it, no time.

One session moves at a time, and all others stand still: each has the answer to its last statement,
or waits for a lock. So nobody but the moving one takes a lock or lets one go, and where Postgres
says that it waits, and for none but those that stand still, it waits until one of them is told to
move. Every other state passes: a backend that runs, waits for a page, or for a lock of somebody
whom no schedule moves is looked at again, however long that takes. How often it is looked at is a
matter of time, and what is seen is not.
"""

import time
from collections.abc import Collection, Iterable

from tests.schedules.actor import Actor
from tests.sql.log import Session

# Most steps are over before the first look.
FIRST_LOOK_SECONDS = 0.002
LOOK_SECONDS = 0.05
# By then it is a fault, and no slow machine.
STEP_TIMEOUT_SECONDS = 300.0
# As which pg_blocking_pids names whoever holds a lock by a prepared transaction.
PREPARED = 0

BLOCKING = """
select pg_blocking_pids(pid)
from unnest(%s::integer[]) with ordinality as asked (pid, place)
order by place
"""


class Waits:
    """Of the sessions of one schedule, by a session that is none of them."""

    def __init__(self, control: Session, actors: Collection[Actor]) -> None:
        self._control = control
        self._actors = actors

    def settle(self, actor: Actor) -> None:
        """Returns when the moving session's step is over, or waits for one that stands still.

        Raises what the step raised, and TimeoutError.
        """
        ends_at = time.monotonic() + STEP_TIMEOUT_SECONDS
        patience_seconds = FIRST_LOOK_SECONDS
        while not actor.over(patience_seconds):
            if self._waits(actor):
                actor.waiting = True
                return
            if time.monotonic() > ends_at:
                raise TimeoutError(f"{actor.name} neither ends its step nor waits for a lock")
            patience_seconds = min(2 * patience_seconds, LOOK_SECONDS)

    def freed(self) -> list[Actor]:
        """Those that waited and have their lock by now, while all stand still."""
        waiting = [actor for actor in self._actors if actor.waiting]
        if not waiting:
            return []
        return [
            actor
            for actor, blocking in zip(waiting, self._blocking(waiting), strict=True)
            if not blocking
        ]

    def go_on(self, actor: Actor) -> None:
        """The rest of a freed session's step, as far as `settle`. Raises the same."""
        if not actor.go_on(STEP_TIMEOUT_SECONDS):
            raise TimeoutError(f"{actor.name} has its lock and does not say so")
        self.settle(actor)

    def _waits(self, moving: Actor) -> bool:
        (blocking,) = self._blocking([moving])
        still = {actor.pid() for actor in self._actors if actor is not moving}
        return bool(blocking) and blocking <= still | {PREPARED}

    def _blocking(self, actors: Iterable[Actor]) -> list[set[int]]:
        """The pids for which each of these waits. (One that moves may get a new session.)"""
        pids = [actor.pid() for actor in actors]
        return [set(row[0]) for row in self._control.execute(BLOCKING, [pids])]
