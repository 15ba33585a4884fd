"""The work of one subscription alone."""

import time
from collections.abc import Callable, Sequence

from relay.daemon.rounds import Rounds
from relay.daemon.worker import OpenSession, Worker
from relay.log.cursor import Cursor
from relay.log.run import LookingRuns, Ran
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry


class SubscriptionWorker(Worker[LookingRuns]):
    """Works off the cursors of one subscription, and looks for itself while it is busy."""

    def __init__(
        self,
        subscription: str,
        subscription_id: int,
        *,
        telemetry: Telemetry,
        sessions: OpenSession[LookingRuns],
        turned: Callable[[], None],
    ) -> None:
        super().__init__(subscription, telemetry=telemetry, sessions=sessions, turned=turned)
        self.subscription_id = subscription_id
        self._rounds = Rounds()
        # Since when no run has had anything that would hold up others in a run with it, by
        # time.monotonic().
        self._simple_since: float | None = None
        self.start()

    @property
    def subscriptions(self) -> Sequence[str]:
        return [self.name]

    def was_simple_for(self, seconds: float) -> bool:
        """Whether its runs would have gone well together with others' for so long."""
        return self._simple_since is not None and time.monotonic() > self._simple_since + seconds

    @property
    def _takes_offer(self) -> bool:
        # While a session can't be had the latest offer counts: the settings may be others by now.
        return not self._busy

    def offer(self, cursors: Sequence[Cursor]) -> None:
        with self._condition:
            settings = {cursor.sink_settings for cursor in cursors}
            if any(known.sink_settings not in settings for known in self._offered.values()):
                self._forget_offer()
            super().offer(cursors)

    def _serve(self, runs: LookingRuns, offered: Sequence[Cursor]) -> bool:
        if any(cursor.sink_settings != self._opened_for for cursor in offered):
            # They have changed, and this session was made for the former ones. What there is to do
            # is offered again.
            self._forget_offer()
            return False
        changed = False

        def run(cursor: Cursor, limit: int, again: bool) -> Ran | None:
            nonlocal changed
            if cursor.sink_settings != self._opened_for:
                changed = True
                return None
            ran = self._run(runs, [cursor], limit, again=again).get(cursor.id)
            if ran is not None:
                self._judge(ran)
            return ran

        def look() -> list[Cursor]:
            return runs.probe(self.subscription_id)

        self._rounds.serve(offered, run, look, self._stop.is_set)
        self._forget_offer()
        return not changed

    def _forget_offer(self) -> None:
        with self._condition:
            self._offered = {}

    def _judge(self, ran: Ran) -> None:
        if ran.alone or ran.blocked or not ran.exhausted:
            self._simple_since = None
        elif self._simple_since is None:
            self._simple_since = time.monotonic()

    def _failed(self, fault: Exception) -> None:
        # Whatever it was, half a run gets through sooner.
        self._rounds.halve(fault.messages if isinstance(fault, SinkAway) else None)
        self._simple_since = None
