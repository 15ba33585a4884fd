"""This relay's shared push runs as a reader: several endpoints, of which the last one is nasty."""

from collections.abc import Sequence
from typing import LiteralString

from relay.log.cursor import Cursor
from relay.log.probe import probe
from relay.log.run import Ran
from relay.monitoring.telemetry import Telemetry
from relay.push.shared_runs import SharedPushRuns
from tests.schedules.push_reader import PushReader, PushReaders
from tests.schedules.reader import Pause, no_pause
from tests.schedules.script import Subscription
from tests.schedules.shared_rounds import SCATTERED, Rounds, gather
from tests.sql.log import Session

# One that has failed and not succeeded since goes alone, whatever it has to send.
SCATTERED_OR_FAILING: LiteralString = (
    SCATTERED
    + """
union
select 3 from outbox.breaker where failing_since is not null
"""
)


class SharedPushReaders(PushReaders):
    """The push runs of several relays, where they run several cursors at once."""

    def __init__(self, database_url: str, subscriptions: Sequence[Subscription]) -> None:
        super().__init__(database_url)
        self.last = subscriptions[-1]
        self.rounds: list[Rounds] = []
        self._gathering = False

    def begin(self) -> None:
        self._gathering = True
        gather(self._watcher, self._readers[-1].drain, self.last, SCATTERED_OR_FAILING)
        self._gathering = False
        for rounds in self.rounds:
            rounds.begin()
        super().begin()

    def open(self, limit: int, *, alone: bool = False) -> "SharedPushReader":
        reader = SharedPushReader(self._url, self._watcher, self, limit, alone=alone)
        self._readers.append(reader)
        return reader

    def outcome(self, subscription: str, key: str) -> str:
        if self._gathering or subscription != self.last.name:
            return "acked"
        return super().outcome(subscription, key)

    def count_late_failures(self, cursor: Cursor) -> None:
        """A run of one alone has counted what came late; here each reader has its own loop."""
        for reader in self._readers:
            reader.request_loop.take_late_failures(cursor.subscription_id, 0.0)


class SharedPushReader(PushReader):
    """A relay's worker."""

    def __init__(
        self,
        database_url: str,
        watcher: Session,
        readers: SharedPushReaders,
        limit: int,
        *,
        alone: bool,
    ) -> None:
        self._shared = readers
        self._rounds = Rounds(self, readers.rounds, readers.last, alone=alone)
        super().__init__(database_url, watcher, readers, limit)

    def round(self, pause: Pause) -> None:
        if self._connection.closed:
            self._open()
        self.request_loop.pause = pause
        cursors = self._rounds.look()
        pause("look")
        self._rounds.run(cursors)
        self.answer()

    def die(self) -> None:
        self._rounds.die()
        super().die()

    def drain(self) -> None:
        self.request_loop.pause = no_pause
        self._rounds.drain(self._shared.answer)

    def probe(self) -> list[Cursor]:
        return probe(self._connection, "push")

    def run_alone(self, cursor: Cursor) -> Ran | None:
        ran = self._runs.run([cursor], self._limit, again=False).get(cursor.id)
        if ran is not None:
            self._shared.count_late_failures(cursor)
        return ran

    def run_together(self, cursors: Sequence[Cursor], *, again: bool) -> dict[int, Ran]:
        return self._together.run(cursors, self._limit, again=again)

    def rest(self) -> None:
        if not self._connection.closed:
            self._together.rest()

    def _open(self) -> None:
        super()._open()
        self._together = SharedPushRuns(
            self._connection, self.request_loop, self._settings, Telemetry()
        )
