"""The work of one subscription alone."""

import time
from collections.abc import Callable, Mapping, Sequence

from relay.daemon.rounds import Rounds
from relay.daemon.worker import OpenSession, Worker
from relay.log.cursor import Cursor
from relay.log.run import Ran, Runs
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry


class SubscriptionWorker(Worker[Runs]):
    """Works off the cursors of one subscription."""

    def __init__(
        self,
        subscription: str,
        subscription_id: int,
        *,
        telemetry: Telemetry,
        sessions: OpenSession[Runs],
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

    def _serve(self, runs: Runs, offered: Sequence[Cursor]) -> bool:
        taken: dict[int, Cursor] = {}
        changed = False

        def take() -> list[Cursor]:
            """What was offered since the last time."""
            with self._condition:
                offered, self._offered = self._offered, {}
            taken.update(offered)
            return list(offered.values())

        def run(cursor: Cursor, limit: int, again: bool) -> Ran | None:
            nonlocal changed
            if cursor.sink_settings != self._opened_for:
                # They have changed, and this session was made for the former ones.
                changed = True
                return None
            ran = self._run(runs, [cursor], limit, again=again).get(cursor.id)
            if ran is not None:
                self._judge(ran)
            return ran

        try:
            self._rounds.serve(take, run, lambda: changed or self._stop.is_set())
        except BaseException:
            # The next session begins with it, once the fault lets one begin.
            self._give_back(taken)
            raise
        if changed:
            self._give_back(
                {
                    cursor.id: cursor
                    for cursor in taken.values()
                    if cursor.sink_settings != self._opened_for
                }
            )
        return not changed

    def _give_back(self, taken: Mapping[int, Cursor]) -> None:
        with self._condition:
            self._offered = {**taken, **self._offered}

    def _judge(self, ran: Ran) -> None:
        if ran.alone or ran.blocked or not ran.exhausted:
            self._simple_since = None
        elif self._simple_since is None:
            self._simple_since = time.monotonic()

    def _failed(self, fault: Exception) -> None:
        # Whatever it was, half a run gets through sooner.
        self._rounds.halve(fault.messages if isinstance(fault, SinkAway) else None)
        self._simple_since = None
