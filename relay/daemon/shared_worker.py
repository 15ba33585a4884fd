"""The work of many subscriptions together: what follows the log is read once for all of them."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter

import psycopg

from relay.daemon.worker import OpenSession, Worker
from relay.log.cursor import Cursor
from relay.log.reading import RUN_MESSAGES
from relay.log.run import Runs
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry

# So many cursors are claimed at once. One run more for more of them costs less than that all wait
# for the slowest.
MAX_TOGETHER = 128


class SharedWorker(Worker[Runs]):
    """Works off cursors of several subscriptions in runs of many; those that can't, it lets go."""

    def __init__(
        self,
        kind: str,
        *,
        telemetry: Telemetry,
        sessions: OpenSession[Runs],
        turned: Callable[[], None],
        leave: Callable[[int], None],
    ) -> None:
        """`leave` is told of each subscription that has to go alone."""
        super().__init__(f"all {kind}", telemetry=telemetry, sessions=sessions, turned=turned)
        self.kind = kind
        # How many relays are at work: each takes its part of the cursors in one run.
        self.relays = 1
        self._leave = leave
        self._together: Sequence[Cursor] = ()
        # Of one run; fewer after one that failed as a whole.
        self._most = MAX_TOGETHER
        self.start()

    @property
    def subscriptions(self) -> Sequence[str]:
        return sorted({cursor.subscription for cursor in self._together})

    @property
    def _takes_offer(self) -> bool:
        return True

    def _take_offered(self) -> dict[int, Cursor]:
        with self._condition:
            offered, self._offered = self._offered, {}
        return offered

    def _serve(self, runs: Runs, offered: Sequence[Cursor]) -> bool:
        waiting = deque(self._take_offered().values())
        # Relays begin at different places, so that they do not ask for the same cursors.
        waiting.rotate(random.randrange(len(waiting) or 1))
        begun: Sequence[Cursor] = ()
        urgent = False
        while (begun or waiting) and not self._stop.is_set():
            most = min(self._most, -(-len(waiting) // self.relays))
            if len(waiting) > most:
                # By turns the most urgent, and those that have waited longest.
                urgent = not urgent
                if urgent:
                    waiting = deque(sorted(waiting, key=attrgetter("priority")))
            together = begun or [waiting.popleft() for _ in range(most)]
            begun, going = self._run_together(runs, together, again=not waiting)
            waiting.extend(going)
            known = {cursor.id for cursor in (*begun, *waiting)}
            more = self._take_offered().values()
            waiting.extend(cursor for cursor in more if cursor.id not in known)
        return True

    def _run_together(
        self, runs: Runs, together: Sequence[Cursor], *, again: bool
    ) -> tuple[Sequence[Cursor], Sequence[Cursor]]:
        """One run. Those that are claimed for the next already, and others that go on."""
        self._together = together
        ran = self._run(runs, together, RUN_MESSAGES, again=again and not self._offered)
        self._most = min(self._most * 2, MAX_TOGETHER)
        begun, going, alone = [], [], set[int]()
        for cursor in together:
            one = ran.get(cursor.id)
            if one is None:
                continue
            if one.alone:
                alone.add(cursor.subscription_id)
            elif one.begun:
                begun.append(cursor)
            elif not one.blocked and not one.exhausted:
                going.append(cursor)
        for subscription_id in alone:
            self._leave(subscription_id)
        return begun, [cursor for cursor in going if cursor.subscription_id not in alone]

    def _failed(self, fault: Exception) -> None:
        """After a run that failed as a whole the next ones are half as large, down to one cursor,
        so that one of them can't take the others with it for long; it goes alone then, unless the
        cluster may be away. A connection that is lost is the fault of none.
        """
        if _is_connection_lost(fault) or not self._together:
            return
        if len(self._together) == 1 and not isinstance(fault, SinkAway):
            self._leave(self._together[0].subscription_id)
        self._most = max(len(self._together) // 2, 1)


# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions, and what an
# administrator, a crash or a time-out of the session ends.
LOST = ("08", "57P", "25P03")


def _is_connection_lost(fault: Exception) -> bool:
    if not isinstance(fault, psycopg.Error):
        return False
    state = fault.sqlstate
    return state.startswith(LOST) if state else isinstance(fault, psycopg.OperationalError)
