"""Who reads the log: this relay, by its own protocol, and two readers that look right."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, LiteralString

from psycopg.errors import UniqueViolation

from tests.relay.recording import Arrival, RecordingSink, Relay
from tests.schedules import push_reader
from tests.schedules.push_reader import PushReaders
from tests.schedules.reader import Pause, Readers, Sent, await_death, no_pause
from tests.schedules.script import ALONE, Script
from tests.schedules.session import PATIENT, connect
from tests.schedules.shared_push_reader import SharedPushReaders
from tests.schedules.shared_reader import SharedRelays
from tests.sql.log import Session

NAME = ALONE[0].name


class RelayReader:
    """A relay, whose run stands still in the hooks of its sink."""

    def __init__(
        self, database_url: str, watcher: Session, sink: RecordingSink, limit: int
    ) -> None:
        self.in_flight: list[Sent] = []
        self._url = database_url
        self._watcher = watcher
        self._sink = sink
        self._limit = limit
        self._relay = Relay(database_url, self._sink, **PATIENT)
        self._pid = self._relay.connection.info.backend_pid

    def pid(self) -> int:
        return self._pid

    def round(self, pause: Pause) -> None:
        if self._relay.connection.closed:
            self._relay = Relay(self._url, self._sink, **PATIENT)
            self._pid = self._relay.connection.info.backend_pid

        def taking(one: Arrival) -> None:
            if not self.in_flight:
                pause("start")
            self.in_flight.append((NAME, one.id))

        self._sink.taking = taking
        self._sink.delivered = lambda: pause("deliver")
        cursors = self._relay.probe()
        pause("look")
        # Where another relay wrote this checkpoint the run is void, and its messages are repeats.
        with suppress(UniqueViolation):
            for cursor in cursors:
                if self._relay.run(cursor, self._limit) is not None:
                    return

    def die(self) -> None:
        self._relay.connection.close()
        await_death(self._watcher, self._pid)

    def drain(self) -> None:
        self._sink.taking = lambda _: None
        self._sink.delivered = lambda: None
        self._relay.drain(self._limit)

    def close(self) -> None:
        self._relay.connection.close()


class Relays:
    """This relay: snapshots as positions."""

    def __init__(self, database_url: str) -> None:
        self.arrivals: dict[str, list[Arrival]] = {NAME: []}
        self._url = database_url
        self._watcher = connect(database_url)

    def begin(self) -> None:
        self.arrivals[NAME].clear()

    def open(self, limit: int, *, alone: bool = False) -> RelayReader:
        return RelayReader(self._url, self._watcher, RecordingSink(self.arrivals[NAME]), limit)

    def close(self) -> None:
        self._watcher.close()


BY_ID = """
select id, channel, group_key, idempotency_key, id
from outbox.message
where id > %(after)s
order by id
limit %(limit)s
"""

# The patient one: it stays below every transaction that is still open.
BY_XID = """
select id, channel, group_key, idempotency_key, xid::text
from outbox.message
where (xid, id) > (%(after_xid)s::xid8, %(after)s)
  and xid < pg_snapshot_xmin(pg_current_snapshot())
order by xid, id
limit %(limit)s
"""


class Naive:
    """A reader whose position is the last row that it read; one at a time may read."""

    def __init__(self, session: Session, readers: "NaiveReaders", limit: int) -> None:
        self.in_flight: list[Sent] = []
        self._session = session
        self._readers = readers
        self._limit = limit

    def pid(self) -> int:
        return self._session.info.backend_pid

    def round(self, pause: Pause) -> None:
        pause("look")
        if not self._readers.lock.acquire(blocking=False):
            return
        try:
            rows = self._read()
            for message_id, channel, group_key, key, _ in rows:
                if not self.in_flight:
                    pause("start")
                one = Arrival(message_id, channel, group_key, key, 0)
                self._readers.arrivals[NAME].append(one)
                self.in_flight.append((NAME, message_id))
            if rows:
                pause("deliver")
                self._readers.after = {"after": rows[-1][0], "after_xid": rows[-1][4]}
        finally:
            self._readers.lock.release()

    def _read(self) -> Sequence[tuple[Any, ...]]:
        parameters = {**self._readers.after, "limit": self._limit}
        return self._session.execute(self._readers.statement, parameters).fetchall()

    def die(self) -> None:
        # Its lock went with its round, and its session holds nothing.
        ...

    def drain(self) -> None:
        while self._read():
            self.round(no_pause)

    def close(self) -> None:
        self._session.close()


class NaiveReaders:
    """Readers by one statement, that go on behind the last row."""

    def __init__(self, database_url: str, statement: LiteralString) -> None:
        self.arrivals: dict[str, list[Arrival]] = {NAME: []}
        self.statement = statement
        self.after = {"after": 0, "after_xid": "0"}
        self.lock = threading.Lock()
        self._url = database_url

    def begin(self) -> None:
        self.arrivals[NAME].clear()

    def open(self, limit: int, *, alone: bool = False) -> Naive:
        return Naive(connect(self._url), self, limit)

    def close(self) -> None: ...


KINDS: dict[str, Callable[[str, Script], Readers]] = {
    "relay": lambda url, _: Relays(url),
    "push": lambda url, _: PushReaders(url),
    "by id": lambda url, _: NaiveReaders(url, BY_ID),
    "by xid": lambda url, _: NaiveReaders(url, BY_XID),
    "shared": lambda url, script: SharedRelays(url, script.subscriptions),
    "shared push": lambda url, script: SharedPushReaders(url, script.subscriptions),
}
# Those that have to keep every promise, and those that have to be caught.
PROVEN = ("relay", "push", "shared", "shared push")
NAIVE = ("by id", "by xid")
# Who reads for one subscription, and for several together.
SINGLE = ("relay", "push", *NAIVE)
SHARED = ("shared", "shared push")


def kinds(script: Script) -> Sequence[str]:
    """Who reads in this script."""
    return SHARED if script.is_shared else SINGLE


# In one statement: all of them stand at one place.
SUBSCRIBE = """
insert into outbox.subscription (name, shards, channels, types, settings)
select name, %(shards)s, channels, types, jsonb_build_object('topic_prefix', name)
from jsonb_to_recordset(%(subscriptions)s) as one (name text, channels text[], types text[])
"""
# With what the log is subscribed to, given the number of shards.
SUBSCRIPTIONS = dict.fromkeys(KINDS, SUBSCRIBE) | dict.fromkeys(
    ("push", "shared push"), push_reader.SUBSCRIBE
)
