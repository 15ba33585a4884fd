"""Who reads the log: this relay, by its own protocol, and two readers that look right."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, LiteralString, Protocol

from tests.relay.recording import Arrival, RecordingSink, Relay
from tests.schedules.actor import Actor
from tests.schedules.session import connect
from tests.sql.log import Session

Pause = Callable[[str], None]


class Crash(Exception):
    """The reader dies here."""


class Reader(Protocol):
    """One of the readers of a log, moved in rounds.

    `in_flight` are the ids that its present run has delivered.
    """

    in_flight: list[int]

    def pid(self) -> int: ...

    def round(self, pause: Pause) -> None:
        """One run, with a pause after each of the steps look, start and deliver."""

    def die(self) -> None:
        """Loses its session in the middle of a round; the next round begins with a new one."""

    def drain(self) -> None:
        """Reads on until there is nothing new."""

    def close(self) -> None: ...


class Readers(Protocol):
    """Readers of one kind that share their progress and what has arrived."""

    arrivals: list[Arrival]

    def open(self, limit: int) -> Reader: ...

    def close(self) -> None: ...


def live(reader: Reader, cut_off: list[list[int]], actor: Actor) -> None:
    """Takes the actor's steps; `cut_off` gets what was in flight at each crash."""
    target = ""

    def pause(reached: str) -> None:
        nonlocal target
        if reached == target:
            step = actor.next_step()
            if step is None or step == "crash":
                raise Crash
            target = step

    while step := actor.next_step():
        target = step
        reader.in_flight = []
        try:
            reader.round(pause)
        except Crash:
            cut_off.append(reader.in_flight)
            reader.die()
        actor.leave_out_the_round()


def no_pause(_: str) -> None: ...


LIVES = "select from pg_stat_activity where pid = %s"
DEATH_INTERVAL_SECONDS = 0.001
DEATH_TIMEOUT_SECONDS = 10.0


class RelayReader:
    """A relay, whose run stands still in the hooks of its sink."""

    def __init__(
        self, database_url: str, watcher: Session, sink: RecordingSink, limit: int
    ) -> None:
        self.in_flight: list[int] = []
        self._url = database_url
        self._watcher = watcher
        self._sink = sink
        self._limit = limit
        self._relay = Relay(database_url, self._sink)
        self._pid = self._relay.connection.info.backend_pid

    def pid(self) -> int:
        return self._pid

    def round(self, pause: Pause) -> None:
        if self._relay.connection.closed:
            self._relay = Relay(self._url, self._sink)
            self._pid = self._relay.connection.info.backend_pid

        def taking(one: Arrival) -> None:
            if not self.in_flight:
                pause("start")
            self.in_flight.append(one.id)

        self._sink.taking = taking
        self._sink.delivered = lambda: pause("deliver")
        cursors = self._relay.probe()
        pause("look")
        for cursor in cursors:
            if self._relay.run(cursor, self._limit) is not None:
                return

    def die(self) -> None:
        # Its lock goes when its backend sees the end: only then is the crash over.
        self._relay.connection.close()
        ends_at = time.monotonic() + DEATH_TIMEOUT_SECONDS
        while self._watcher.execute(LIVES, [self._pid]).fetchone():
            if time.monotonic() > ends_at:
                raise TimeoutError(f"backend {self._pid} outlives its connection")
            time.sleep(DEATH_INTERVAL_SECONDS)

    def drain(self) -> None:
        self._sink.taking = lambda _: None
        self._sink.delivered = lambda: None
        self._relay.drain(self._limit)

    def close(self) -> None:
        self._relay.connection.close()


class Relays:
    """This relay: snapshots as positions."""

    def __init__(self, database_url: str) -> None:
        self.arrivals: list[Arrival] = []
        self._url = database_url
        self._watcher = connect(database_url)

    def open(self, limit: int) -> RelayReader:
        return RelayReader(self._url, self._watcher, RecordingSink(self.arrivals), limit)

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
        self.in_flight: list[int] = []
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
                self._readers.arrivals.append(Arrival(message_id, channel, group_key, key, 0))
                self.in_flight.append(message_id)
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
        self.arrivals: list[Arrival] = []
        self.statement = statement
        self.after = {"after": 0, "after_xid": "0"}
        self.lock = threading.Lock()
        self._url = database_url

    def open(self, limit: int) -> Naive:
        return Naive(connect(self._url), self, limit)

    def close(self) -> None: ...


KINDS: dict[str, Callable[[str], Readers]] = {
    "relay": Relays,
    "by id": lambda url: NaiveReaders(url, BY_ID),
    "by xid": lambda url: NaiveReaders(url, BY_XID),
}
NAIVE = ("by id", "by xid")
