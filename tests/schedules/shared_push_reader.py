"""This relay's shared push runs as a reader: several endpoints, of which the last one is nasty."""

from collections.abc import Collection, Iterable, Sequence
from typing import LiteralString

from relay.log.cursor import Cursor
from relay.log.probe import probe
from relay.monitoring.telemetry import Telemetry
from relay.push.shared_runs import SharedPushRuns
from tests.schedules.push_reader import PushReader, PushReaders
from tests.schedules.reader import Pause, no_pause
from tests.schedules.script import Subscription
from tests.schedules.shared_reader import MAX_RUNS, SCATTERED, Book, gather
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
        self.book = Book(subscriptions)
        self._nasty = subscriptions[-1]
        self._gathering = False
        self._shared: list[SharedPushReader] = []

    def begin(self) -> None:
        self._gathering = True
        gather(self._watcher, self._shared[-1].drain, self._nasty, SCATTERED_OR_FAILING)
        self._gathering = False
        super().begin()
        self.book.begin()

    def open(self, limit: int, *, alone: bool = False) -> "SharedPushReader":
        reader = SharedPushReader(self._url, self._watcher, self, limit, alone=alone)
        self._shared.append(reader)
        self._readers.append(reader)
        return reader

    def outcome(self, subscription: str, key: str) -> str:
        if self._gathering or subscription != self._nasty.name:
            return "acked"
        return super().outcome(subscription, key)

    def rest(self) -> None:
        """All readers give back what they have claimed ahead."""
        for reader in self._shared:
            reader.rest()

    def count_late_failures(self, cursor: Cursor) -> None:
        """The run of one alone has counted what came late; here each reader has its own loop."""
        for reader in self._shared:
            reader.request_loop.take_late_failures(cursor.subscription_id, 0.0)


class SharedPushReader(PushReader):
    """A relay's worker; what its last run claimed ahead it holds between two rounds."""

    def __init__(
        self,
        database_url: str,
        watcher: Session,
        readers: SharedPushReaders,
        limit: int,
        *,
        alone: bool,
    ) -> None:
        self._of = readers
        self._alone = alone
        self._begun: list[Cursor] = []
        super().__init__(database_url, watcher, readers, limit)

    def round(self, pause: Pause) -> None:
        if self._connection.closed:
            self._open()
        self.request_loop.pause = pause
        cursors = self._begun or self._look()
        pause("look")
        if self._alone:
            self._run_alone(cursors)
        else:
            self._run_together(cursors, again=True)
        self.answer()

    def _look(self) -> list[Cursor]:
        book, cursors = self._of.book, probe(self._connection, "push")
        return book.last(cursors) if self._alone else book.together(cursors)

    def _run_alone(self, cursors: Iterable[Cursor]) -> bool:
        """The first that no other reader has. Whether it got on."""
        for cursor in cursors:
            ran = self._runs.run([cursor], self._limit, again=False).get(cursor.id)
            if ran is not None:
                self._of.count_late_failures(cursor)
                self._of.book.note_alone(cursor, ran)
                return ran.progressed
        return False

    def _run_together(self, cursors: Collection[Cursor], *, again: bool) -> bool:
        """All that no other reader has. Whether any got on."""
        self._begun = []
        if not cursors:
            return False
        ran = self._together.run(list(cursors), self._limit, again=again)
        self._of.book.note(cursors, ran)
        self._begun = [one for one in cursors if one.id in ran and ran[one.id].begun]
        return any(one.progressed or one.alone for one in ran.values())

    def rest(self) -> None:
        """Gives back what it has claimed ahead."""
        self._begun = []
        if not self._connection.closed:
            self._together.rest()

    def die(self) -> None:
        self._begun = []
        super().die()

    def drain(self) -> None:
        self._of.rest()
        self._of.answer()
        self.request_loop.pause = no_pause
        runs = 0
        while cursors := probe(self._connection, "push"):
            self._run_alone(self._of.book.left(cursors))
            self._run_together(self._of.book.together(cursors), again=False)
            self._of.answer()
            runs += 1
            assert runs < MAX_RUNS, "the cursors do not come to an end"

    def _open(self) -> None:
        super()._open()
        self._together = SharedPushRuns(
            self._connection, self.request_loop, self._settings, Telemetry()
        )
