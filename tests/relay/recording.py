"""A relay in small: the real protocol on a real log, into a sink that remembers."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple, Self

from relay.database import connect
from relay.kafka.runs import KafkaRuns
from relay.log.cursor import Cursor, SinkSettings
from relay.log.message import CHANNEL, CREATED_AT, Row
from relay.log.probe import probe
from relay.log.reading import RUN_MESSAGES
from relay.log.run import Ran
from relay.log.sink import Blocked, Dead, Outcome, Page, Stopped
from relay.monitoring.telemetry import Telemetry
from tests.relay.operating import settings

_numbers = itertools.count(1)


class Arrival(NamedTuple):
    """What of a message is kept once it has arrived; `bytes` is the payload's size."""

    id: int
    channel: str
    group_key: str | None
    idempotency_key: str
    bytes: int


def arrival(row: Row) -> Arrival:
    message_id, channel, _, group_key, idempotency_key, _, _, payload, *_ = row
    return Arrival(
        message_id,
        channel.decode(),
        None if group_key is None else group_key.decode(),
        idempotency_key.decode(),
        len(payload),
    )


class RecordingSink:
    """Takes every message and remembers it in the order of arrival.

    `missing` names channels without a topic; a run looks for all of them ahead.
    `refuses` says which messages can never go. `taking` is called before each message is taken
    and `delivered` after a run's last one: what they raise ends the run there.
    """

    transactions = None
    held_seconds = 0.0

    def __init__(self, arrivals: list[Arrival] | None = None) -> None:
        self.arrivals: list[Arrival] = [] if arrivals is None else arrivals
        self.runs: list[int] = []
        self.missing: set[str] = set()
        self.reason = "UNKNOWN_TOPIC_OR_PART"
        self.given_up: set[str] = set()
        self.asked: list[str] = []
        self.looks_missing: Callable[[str], bool] = lambda channel: channel in self.missing
        self.refuses: Callable[[Arrival], bool] = lambda _: False
        self.taking: Callable[[Arrival], object] = lambda _: None
        self.delivered: Callable[[], object] = lambda: None

    @property
    def ids(self) -> list[int]:
        """The ids of all that arrived, repeats included."""
        return [one.id for one in self.arrivals]

    def open(self) -> None: ...

    def close(self) -> None: ...

    def check_blocked(self, settings: SinkSettings, channel: str) -> bool:
        self.asked.append(channel)
        return self.looks_missing(channel)

    def give_up(self, settings: SinkSettings, channels: Iterable[str]) -> bool:
        self.given_up.update(channels)
        return True

    def deliver(
        self,
        pages: Iterable[Page],
        takers: Sequence[SinkSettings],
        *,
        shared: bool = False,
        cursor_id: int = 0,
    ) -> list[Outcome]:
        assert len(takers) == 1
        return [self.take(chain.from_iterable(page.rows for page in pages))]

    def take(self, rows: Iterable[Row]) -> Outcome:
        """The messages of one cursor's run."""
        dead: list[Dead] = []
        created_at: list[int] = []
        stopped, size = None, 0
        rows = iter(rows)
        for row in rows:
            one = arrival(row)
            if one.channel in self.given_up:
                dead.append(Dead(one.id, "TOO_MANY_WAITING_CHANNELS", "refused by the test"))
                continue
            if one.channel in self.missing:
                ahead = {one.channel} | {row[CHANNEL].decode() for row in rows}
                missing = sorted(ahead & self.missing - self.given_up)
                stopped = Stopped(one.id, tuple(Blocked(name, self.reason) for name in missing))
                break
            self.taking(one)
            if self.refuses(one):
                dead.append(Dead(one.id, "MSG_SIZE_TOO_LARGE", "refused by the test"))
                continue
            self.arrivals.append(one)
            created_at.append(row[CREATED_AT])
            size += one.bytes
        self.runs.append(len(created_at))
        self.delivered()
        return Outcome(len(created_at), size, created_at, dead, stopped)


class Relay:
    """One relay's connection and sink, moved by hand."""

    def __init__(
        self, database_url: str, sink: RecordingSink | None = None, **environment: str
    ) -> None:
        name = f"relay-{next(_numbers)}"
        self.settings = settings(database_url, RELAY_NAME=name, **environment)
        self.sink = sink or RecordingSink()
        self.telemetry = Telemetry()
        self.connection = connect(self.settings)
        self._runs = KafkaRuns(self.connection, self.sink, self.settings, self.telemetry)
        self._together = KafkaRuns(
            self.connection, self.sink, self.settings, self.telemetry, shared=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runs.close()
        self.connection.close()

    def probe(self, subscription_id: int | None = None) -> list[Cursor]:
        return probe(self.connection, self.settings.name, subscription_id, waiting=True)

    def run(self, cursor: Cursor, limit: int = RUN_MESSAGES) -> Ran | None:
        return self._runs.run([cursor], limit, again=False).get(cursor.id)

    def run_together(
        self, cursors: Sequence[Cursor], limit: int = RUN_MESSAGES, *, again: bool = False
    ) -> dict[int, Ran]:
        return self._together.run(cursors, limit, again=again)

    def rest(self) -> None:
        self._together.rest()

    def drain(self, limit: int = RUN_MESSAGES, max_runs: int = 10_000) -> list[int]:
        """Runs every cursor that has work until none gets on; returns the ids that arrived."""
        before = len(self.sink.arrivals)
        runs, progressed = 0, True
        while progressed:
            progressed = False
            for cursor in self.probe():
                ran = self.run(cursor, limit)
                progressed |= ran is not None and ran.progressed
                runs += 1
                assert runs < max_runs, "the cursors do not come to an end"
        return self.sink.ids[before:]


def repeats(arrivals: Iterable[Arrival]) -> int:
    """How many messages came again."""
    ids = [one.id for one in arrivals]
    return len(ids) - len(set(ids))
