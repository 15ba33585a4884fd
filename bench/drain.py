"""A backlog to Kafka, by each candidate in turn."""

import re
import statistics
import time
from collections.abc import Callable

import msgspec

from bench import classic
from bench.arena import Arena, Connection
from bench.messages import TOPIC, fill_classic, fill_log
from bench.process import cpu_seconds, peak_memory_bytes
from bench.watch import send_one, wait_until, watch
from relay.database import connect
from relay.log.probe import probe
from relay.settings import Settings

EMPTY_POLLS = 20
STATEMENT = re.compile(rb"^\d+ LOG:  (?:statement|execute)", re.MULTILINE)


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. Processor time is the candidate's own."""

    messages_per_second: float
    cpu_microseconds_per_message: float
    wal_bytes_per_message: float = 0
    statements_per_message: float = 0
    peak_memory_bytes: int = 0
    empty_poll_seconds: float = 0


class Written:
    """What the server wrote and was asked since this was made."""

    def __init__(self, arena: Arena, connection: Connection) -> None:
        self._log = arena.postgres.log
        self._connection = connection
        self._offset = self._log.stat().st_size
        self._position = _wal_bytes(connection)

    def per_message(self, messages: int) -> tuple[float, float]:
        """WAL bytes, of the whole server, and statements of the sessions that log them."""
        wal_bytes = _wal_bytes(self._connection) - self._position
        with self._log.open("rb") as log:
            log.seek(self._offset)
            statements = len(STATEMENT.findall(log.read()))
        return wal_bytes / messages, statements / messages


WAL_BYTES = "select (pg_current_wal_insert_lsn() - '0/0')::bigint"


def _wal_bytes(connection: Connection) -> int:
    row = connection.execute(WAL_BYTES).fetchone()
    assert row is not None
    return int(row[0])


def by_loop(arena: Arena, module: str) -> Drain:
    """`bare` or `plain`: the messages that the last drain by the relay left in the log."""
    measured = arena.measure(module, arena.database_url, arena.kafka.bootstrap_servers, TOPIC)
    messages: int = measured["messages"]
    return Drain(
        messages_per_second=messages / measured["seconds"],
        cpu_microseconds_per_message=measured["cpu_seconds"] / messages * 1e6,
    )


def by_classic_relay(arena: Arena, messages: int) -> Drain:
    """From its first claim to its last commit."""
    with arena.connect() as connection:
        fill_classic(connection, messages)
        written = Written(arena, connection)
        measured = arena.measure(
            "classic", arena.logged_database_url, arena.kafka.bootstrap_servers, TOPIC
        )
        assert measured["messages"] == messages
        wal, statements = written.per_message(messages)
        empty_poll = _time_of(lambda: _poll_classic(connection))
    return Drain(
        messages_per_second=messages / measured["seconds"],
        cpu_microseconds_per_message=measured["cpu_seconds"] / messages * 1e6,
        wal_bytes_per_message=wal,
        statements_per_message=statements,
        empty_poll_seconds=empty_poll,
    )


def _poll_classic(connection: Connection) -> None:
    with connection.transaction():
        assert not connection.execute(classic.PAGE, prepare=True).fetchall()


def by_relay(arena: Arena, messages: int, subscriptions: int = 1) -> Drain:
    """From the beginning of its first run's transaction to its last checkpoint.

    `messages` are deliveries, to all `subscriptions` together. The process is warm: it has sent a
    message, and waits while its subscriptions are paused.
    """
    with (
        arena.connect() as connection,
        arena.relay(database_url=arena.logged_database_url) as relay,
    ):
        send_one(connection, TOPIC, subscriptions)
        connection.execute("update outbox.subscription set paused = true")
        fill_log(connection, messages // subscriptions)
        written, used = Written(arena, connection), cpu_seconds(relay.pid)
        connection.execute("update outbox.subscription set paused = false")
        seconds = watch(connection, messages)
        used = cpu_seconds(relay.pid) - used
        wal, statements = written.per_message(messages)
        peak = peak_memory_bytes(relay.pid)
        with connect(Settings.from_environment(arena.environment)) as session:
            # Behind the last message there may be an end to note, in a run without any.
            wait_until(lambda: not probe(session, "bench"))
            relay.stop()
            empty_poll = _time_of(lambda: _poll_log(session))
    return Drain(
        messages_per_second=messages / seconds,
        cpu_microseconds_per_message=used / messages * 1e6,
        wal_bytes_per_message=wal,
        statements_per_message=statements,
        peak_memory_bytes=peak,
        empty_poll_seconds=empty_poll,
    )


def _poll_log(connection: Connection) -> None:
    assert not probe(connection, "bench")


def _time_of(poll: Callable[[], None]) -> float:
    times = []
    for _ in range(EMPTY_POLLS):
        began_at = time.monotonic()
        poll()
        times.append(time.monotonic() - began_at)
    return statistics.median(times)
