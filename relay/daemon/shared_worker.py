"""The work of many subscriptions together: what follows the log is read once for all of them."""

from collections.abc import Callable, Sequence

import psycopg

from relay.daemon.waiting_cursors import WaitingCursors
from relay.daemon.worker import OpenSession, Worker
from relay.log.cursor import Cursor, Target
from relay.log.reading import RUN_MESSAGES
from relay.log.run import SharedRuns
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry

# So many cursors are claimed at once. One run more for more of them costs less than that all wait
# for the slowest.
MAX_TOGETHER = 128


class SharedWorker(Worker[SharedRuns]):
    """Works off cursors of several subscriptions in runs of many; those that can't, it lets go."""

    def __init__(
        self,
        target: Target,
        *,
        telemetry: Telemetry,
        sessions: OpenSession[SharedRuns],
        turned: Callable[[], None],
        leave: Callable[[int], None],
    ) -> None:
        """`leave` is told of each subscription that has to go alone."""
        name = f"all {' '.join(filter(None, target))}"
        super().__init__(name, telemetry=telemetry, sessions=sessions, turned=turned)
        self.target = target
        # How many relays are at work: each takes its part of the cursors in one run.
        self.relays = 1
        self._leave = leave
        # Of those that are offered: what is new is not for them, and they only move on.
        self._to_move: set[int] = set()
        self._runs: SharedRuns | None = None
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

    def offer(self, cursors: Sequence[Cursor]) -> None:
        with self._condition:
            self._to_move.difference_update(cursor.id for cursor in cursors)
            super().offer(cursors)
        if (runs := self._runs) is not None:
            runs.give_way({cursor.id for cursor in cursors})

    def offer_to_move(self, cursors: Sequence[Cursor]) -> None:
        """Cursors that have nothing to send, as far as is known: the others go first."""
        with self._condition:
            self._to_move.update(one.id for one in cursors if one.id not in self._offered)
            super().offer(cursors)

    def _take_offered(self) -> tuple[list[Cursor], list[Cursor]]:
        """Those that have something to send, and those that move."""
        with self._condition:
            offered, self._offered = self._offered, {}
            to_move, self._to_move = self._to_move, set()
        return (
            [cursor for cursor in offered.values() if cursor.id not in to_move],
            [cursor for cursor in offered.values() if cursor.id in to_move],
        )

    def _serve(self, runs: SharedRuns, offered: Sequence[Cursor]) -> bool:
        waiting = WaitingCursors()
        waiting.add(*self._take_offered())
        waiting.mix()
        begun: Sequence[Cursor] = ()
        offered_since: Sequence[Cursor] = ()
        while (begun or waiting) and not self._stop.is_set():
            if begun:
                # Who came meanwhile is not in this run.
                runs.give_way(waiting.sending_ids)
            together = begun or waiting.take(self._most, self.relays)
            again = not waiting and not self._offered
            begun, going = self._run_together(runs, together, again=again)
            waiting.add(going)
            if not again:
                # What was new after their claim no claim has seen.
                waiting.add(offered_since)
            offered, to_move = self._take_offered()
            ids = {cursor.id for cursor in begun}
            offered_since = [cursor for cursor in offered if cursor.id in ids]
            waiting.add(offered, to_move, begun)
        return True

    def _run_together(
        self, runs: SharedRuns, together: Sequence[Cursor], *, again: bool
    ) -> tuple[Sequence[Cursor], Sequence[Cursor]]:
        """One run. Those that are claimed for the next already, and others that go on."""
        self._together, self._runs = together, runs
        try:
            ran = self._run(runs, together, RUN_MESSAGES, again=again)
        finally:
            self._runs = None
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
        # Those that still lead here are offered again; others may have moved to another cluster.
        self._take_offered()
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
