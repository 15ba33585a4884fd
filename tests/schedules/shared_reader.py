"""This relay's shared runs as a reader: cursors of several subscriptions, claimed together."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import LiteralString

from psycopg.errors import UniqueViolation

from relay.log.cursor import Cursor, SinkSettings
from relay.log.message import CHANNEL, CREATED_AT, ID, PAYLOAD, Row
from relay.log.run import Ran
from relay.log.sink import Outcome, Page, Stopped
from tests.relay.recording import Arrival, RecordingSink, Relay, arrival
from tests.schedules.reader import Pause, Sent, await_death, no_pause
from tests.schedules.script import Subscription
from tests.schedules.session import PATIENT, connect
from tests.schedules.writer import CHANNEL as ORDERS
from tests.schedules.writer import TYPE
from tests.sql.log import Session

# Where the cursors of one priority stand, if that is not one place.
SCATTERED = """
select latest.priority
from (
    select distinct on (c.id) c.priority, k.seen::text as seen
    from outbox.cursor c join outbox.checkpoint k on k.cursor_id = c.id
    order by c.id, k.n desc
) latest
group by latest.priority
having count(distinct latest.seen) > 1
"""
GATHER = "select outbox.publish(%s, %s, '{}', 'gathered', %s)"
MAX_RUNS = 1000
# One that had to go alone moves with the others from the second time on.
MAX_GATHERED = 4


class Book:
    """What the workers of one relay know of each other: which subscriptions go alone."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._last = subscriptions[-1].name
        self._left: set[str] = set()

    def begin(self) -> None:
        """A new schedule: all go together."""
        self._left.clear()

    def note(self, cursors: Iterable[Cursor], ran: "dict[int, Ran]") -> None:
        """What became of a run of several."""
        self._left |= {one.subscription for one in cursors if one.id in ran and ran[one.id].alone}

    def note_alone(self, cursor: Cursor, ran: Ran) -> None:
        """What became of a run of one alone: it may join the others again."""
        if ran.progressed and not ran.alone:
            self._left.discard(cursor.subscription)

    def together(self, cursors: Iterable[Cursor]) -> list[Cursor]:
        """Those for a run of several."""
        return [one for one in cursors if one.subscription not in self._left]

    def left(self, cursors: Iterable[Cursor]) -> list[Cursor]:
        """Those that have to go alone."""
        return [one for one in cursors if one.subscription in self._left]

    def last(self, cursors: Iterable[Cursor]) -> list[Cursor]:
        """Those that the lone reader takes, also where others might."""
        return [one for one in cursors if one.subscription == self._last]


class StagedSink(RecordingSink):
    """Knows by its settings which subscription a message is for, and stands still at each step."""

    def __init__(
        self, arrivals: dict[str, list[Arrival]], subscriptions: Sequence[Subscription]
    ) -> None:
        super().__init__()
        self.pause: Pause = no_pause
        self.sent: list[Sent] = []
        self._arrivals = arrivals
        self._stops_at = {one.name: one.stops_at for one in subscriptions}

    def deliver(
        self, pages: Iterable[Page], takers: Sequence[SinkSettings], *, shared: bool = False
    ) -> list[Outcome]:
        self.pause("claim")
        takes = [Taker(self, taker.topic_prefix, shared=shared) for taker in takers]
        for rows, places in pages:
            for place in places:
                takes[place].take(rows)
        self.pause("deliver")
        return [taker.outcome() for taker in takes]

    def stops_at(self, name: str, row: Row) -> bool:
        """Whether a subscription takes this message in no run with others."""
        return row[CHANNEL].decode() == self._stops_at[name]

    def keep(self, name: str, row: Row) -> None:
        """It has arrived."""
        if not self.sent:
            self.pause("start")
        self._arrivals[name].append(arrival(row))
        self.sent.append((name, row[ID]))


class Taker:
    """What one subscription gets in one run."""

    def __init__(self, sink: StagedSink, name: str, *, shared: bool) -> None:
        self._sink = sink
        self._name = name
        self._shared = shared
        self._rows: list[Row] = []
        self._stopped: Stopped | None = None

    def take(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if self._stopped is None and self._shared and self._sink.stops_at(self._name, row):
                self._stopped = Stopped(row[ID], alone=True)
            if self._stopped is not None:
                return
            self._sink.keep(self._name, row)
            self._rows.append(row)

    def outcome(self) -> Outcome:
        return Outcome(
            messages=len(self._rows),
            bytes=sum(len(row[PAYLOAD]) for row in self._rows),
            created_at=[row[CREATED_AT] for row in self._rows],
            dead=[],
            stopped=self._stopped,
            last_id=self._rows[-1][ID] if self._rows else 0,
        )


class SharedRelayReader:
    """A relay's worker; what its last run claimed ahead it holds between two rounds."""

    def __init__(self, database_url: str, relays: "SharedRelays", limit: int, alone: bool) -> None:
        self._url = database_url
        self._relays = relays
        self._limit = limit
        self._alone = alone
        self._sink = StagedSink(relays.arrivals, relays.subscriptions)
        # What its last run has claimed for the next.
        self._begun: list[Cursor] = []
        self._open()

    @property
    def in_flight(self) -> list[Sent]:
        return self._sink.sent

    @in_flight.setter
    def in_flight(self, sent: list[Sent]) -> None:
        self._sink.sent = sent

    def pid(self) -> int:
        return self._pid

    def round(self, pause: Pause) -> None:
        if self._relay.connection.closed:
            self._open()
        self._sink.pause = pause
        cursors = self._begun or self._look()
        pause("look")
        # Where another relay wrote one of the checkpoints the run is void.
        with suppress(UniqueViolation):
            if self._alone:
                self._run_alone(cursors)
            else:
                self._run_together(cursors, again=True)

    def _look(self) -> list[Cursor]:
        book, cursors = self._relays.book, self._relay.probe()
        return book.last(cursors) if self._alone else book.together(cursors)

    def _run_alone(self, cursors: Iterable[Cursor]) -> bool:
        """The first that no other reader has. Whether it got on."""
        for cursor in cursors:
            ran = self._relay.run(cursor, self._limit)
            if ran is not None:
                self._relays.book.note_alone(cursor, ran)
                return ran.progressed
        return False

    def _run_together(self, cursors: Collection[Cursor], *, again: bool) -> bool:
        """All that no other reader has. Whether any got on."""
        self._begun = []
        if not cursors:
            return False
        ran = self._relay.run_together(list(cursors), self._limit, again=again)
        self._relays.book.note(cursors, ran)
        self._begun = [one for one in cursors if one.id in ran and ran[one.id].begun]
        return any(one.progressed or one.alone for one in ran.values())

    def rest(self) -> None:
        """Gives back what it has claimed ahead."""
        self._begun = []
        if not self._relay.connection.closed:
            self._relay.rest()

    def die(self) -> None:
        self._begun = []
        self._relay.connection.close()
        await_death(self._relays.watcher, self._pid)

    def drain(self) -> None:
        self._relays.rest()
        self._sink.pause = no_pause
        runs = 0
        while cursors := self._relay.probe():
            left = self._relays.book.left(cursors)
            together = self._relays.book.together(cursors)
            got_on = self._run_alone(left)
            got_on |= self._run_together(together, again=False)
            runs += 1
            assert got_on, "cursors have work that nobody can do"
            assert runs < MAX_RUNS, "the cursors do not come to an end"

    def close(self) -> None:
        self._relay.connection.close()

    def _open(self) -> None:
        self._begun = []
        self._relay = Relay(self._url, self._sink, **PATIENT)
        self._pid = self._relay.connection.info.backend_pid


class SharedRelays:
    """This relay, where it runs several cursors at once."""

    def __init__(self, database_url: str, subscriptions: Sequence[Subscription]) -> None:
        self.subscriptions = subscriptions
        self.arrivals: dict[str, list[Arrival]] = defaultdict(list)
        self.book = Book(subscriptions)
        self.watcher = connect(database_url)
        self._url = database_url
        self._readers: list[SharedRelayReader] = []

    def begin(self) -> None:
        self.book.begin()
        gather(self.watcher, self._readers[-1].drain, self.subscriptions[-1])
        self.arrivals.clear()

    def open(self, limit: int, *, alone: bool = False) -> SharedRelayReader:
        self._readers.append(SharedRelayReader(self._url, self, limit, alone))
        return self._readers[-1]

    def rest(self) -> None:
        """All readers give back what they have claimed ahead."""
        for reader in self._readers:
            reader.rest()

    def close(self) -> None:
        self.watcher.close()


def gather(
    watcher: Session,
    drain: Callable[[], object],
    last: Subscription,
    scattered: LiteralString = SCATTERED,
) -> None:
    """Cursors that a schedule has left at several places come to stand at one, by a message that
    the last subscription wants. `scattered` says in which priorities there are such.
    """
    channel, type_ = (last.channels or (ORDERS,))[0], (last.types or (TYPE,))[0]
    for _ in range(MAX_GATHERED):
        found = watcher.execute(scattered).fetchall()
        if not found:
            return
        for (priority,) in found:
            watcher.execute(GATHER, [channel, type_, priority])
        drain()
    raise AssertionError("the cursors do not come to one place")
