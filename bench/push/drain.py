"""A backlog to endpoints that answer at once, by the relay and by the bare loop in turn."""

import time

import msgspec

from bench.arena import Connection
from bench.process import cpu_seconds
from bench.push.arena import PushArena
from bench.push.endpoints import Request
from bench.push.subscribers import fill, subscribed
from bench.watch import ACKNOWLEDGED, PATIENCE_SECONDS, watch

CONCURRENCY = 32
# Of each subscription, so that both sides begin with their connections made.
WARM_UP_MESSAGES = 64
# Seldom: looking takes time from the two that are measured.
LOOK_SECONDS = 0.25


class Turn(msgspec.Struct, frozen=True):
    """One drain. Processor time is the sender's own, WAL that of the whole server."""

    deliveries_per_second: float
    cpu_microseconds: float
    wal_bytes: float = 0.0


def by_relay(
    arena: PushArena,
    connection: Connection,
    subscriptions: int,
    deliveries: int,
    log: str,
    *,
    secure: bool = False,
) -> Turn:
    """From the fill's commit to the last checkpoint; `log` is the subscriptions' attempts_log."""
    with subscribed(arena, connection, subscriptions, secure=secure, attempts_log=log):
        return drain(arena, connection, subscriptions, deliveries)


def drain(arena: PushArena, connection: Connection, subscriptions: int, deliveries: int) -> Turn:
    """The same, of subscriptions that are there. Raises RuntimeError where one is lost."""
    messages = deliveries // subscriptions
    with arena.relay() as relay:
        fill(connection, WARM_UP_MESSAGES)
        watch(connection, WARM_UP_MESSAGES * subscriptions)
        with connection.transaction():
            fill(connection, messages, first=WARM_UP_MESSAGES)
            used, wal = cpu_seconds(relay.pid), wal_bytes(connection)
        seconds = _gone(connection, messages * subscriptions)
        used, wal = cpu_seconds(relay.pid) - used, wal_bytes(connection) - wal
    check(arena.endpoints.take(), subscriptions, WARM_UP_MESSAGES + messages)
    deliveries = messages * subscriptions
    return Turn(deliveries / seconds, used / deliveries * 1e6, wal / deliveries)


def _gone(connection: Connection, deliveries: int) -> float:
    """Seconds from now until the checkpoint with which so many have gone."""
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    since, deadline = row[0], time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        gone, last_at = connection.execute(ACKNOWLEDGED, (since,)).fetchall()[0]
        if gone >= deliveries:
            return float((last_at - since).total_seconds())
    raise RuntimeError(f"{deliveries:,} deliveries took more than {PATIENCE_SECONDS} s")


def by_bare_loop(
    arena: PushArena,
    connection: Connection,
    subscriptions: int,
    deliveries: int,
    *,
    secure: bool = False,
) -> Turn:
    """From the first request to the last answer."""
    messages = deliveries // subscriptions
    with subscribed(arena, connection, subscriptions, secure=secure):
        fill(connection, WARM_UP_MESSAGES + messages)
        took = arena.measure("push.bare", arena.database_url, CONCURRENCY, WARM_UP_MESSAGES)
        connection.execute("truncate outbox.message")
    check(arena.endpoints.take(), subscriptions, WARM_UP_MESSAGES + messages)
    deliveries = messages * subscriptions
    return Turn(deliveries / took["seconds"], took["cpu_seconds"] / deliveries * 1e6)


def check(came: dict[str, list[Request]], subscriptions: int, messages: int) -> None:
    """Raises RuntimeError where a message did not come to each."""
    counts = [len({request.n for request in requests}) for requests in came.values()]
    if counts != [messages] * subscriptions:
        raise RuntimeError(f"{messages:,} messages to {subscriptions} endpoints, came {counts}")


WAL_BYTES = "select (pg_current_wal_insert_lsn() - '0/0')::bigint"


def wal_bytes(connection: Connection) -> int:
    """What the whole server has written so far."""
    row = connection.execute(WAL_BYTES).fetchone()
    assert row is not None
    return int(row[0])
