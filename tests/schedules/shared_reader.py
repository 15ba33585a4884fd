"""This relay's shared runs to Kafka as a reader: several subscriptions, claimed together."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress

from psycopg.errors import UniqueViolation

from relay.log.cursor import Cursor, SinkSettings
from relay.log.message import CHANNEL, CREATED_AT, ID, PAYLOAD, Row
from relay.log.run import Ran
from relay.log.sink import Outcome, Page, Stopped
from tests.relay.recording import Arrival, RecordingSink, Relay, arrival
from tests.schedules.reader import Pause, Sent, await_death, no_pause
from tests.schedules.script import Subscription
from tests.schedules.session import PATIENT, connect
from tests.schedules.shared_rounds import Rounds, gather


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
        self,
        pages: Iterable[Page],
        takers: Sequence[SinkSettings],
        *,
        shared: bool = False,
        cursor_id: int = 0,
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
    """A relay's worker, whose run stands still in its sink."""

    def __init__(self, database_url: str, relays: "SharedRelays", limit: int, alone: bool) -> None:
        self._url = database_url
        self._relays = relays
        self._limit = limit
        self._sink = StagedSink(relays.arrivals, relays.subscriptions)
        self._rounds = Rounds(self, relays.rounds, relays.subscriptions[-1], alone=alone)
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
        cursors = self._rounds.look()
        pause("look")
        # Where another relay wrote one of the checkpoints the run is void.
        with suppress(UniqueViolation):
            self._rounds.run(cursors)

    def die(self) -> None:
        self._rounds.die()
        self._relay.connection.close()
        await_death(self._relays.watcher, self._pid)

    def drain(self) -> None:
        self._sink.pause = no_pause
        self._rounds.drain()

    def close(self) -> None:
        self._relay.connection.close()

    def probe(self) -> list[Cursor]:
        return self._relay.probe()

    def run_alone(self, cursor: Cursor) -> Ran | None:
        return self._relay.run(cursor, self._limit)

    def run_together(self, cursors: Sequence[Cursor], *, again: bool) -> dict[int, Ran]:
        return self._relay.run_together(cursors, self._limit, again=again)

    def rest(self) -> None:
        if not self._relay.connection.closed:
            self._relay.rest()

    def _open(self) -> None:
        self._relay = Relay(self._url, self._sink, **PATIENT)
        self._pid = self._relay.connection.info.backend_pid


class SharedRelays:
    """This relay, where it runs several cursors at once."""

    def __init__(self, database_url: str, subscriptions: Sequence[Subscription]) -> None:
        self.subscriptions = subscriptions
        self.arrivals: dict[str, list[Arrival]] = defaultdict(list)
        self.rounds: list[Rounds] = []
        self.watcher = connect(database_url)
        self._url = database_url

    def begin(self) -> None:
        gather(self.watcher, self.rounds[-1].drain, self.subscriptions[-1])
        for rounds in self.rounds:
            rounds.begin()
        self.arrivals.clear()

    def open(self, limit: int, *, alone: bool = False) -> SharedRelayReader:
        return SharedRelayReader(self._url, self, limit, alone)

    def close(self) -> None:
        self.watcher.close()
