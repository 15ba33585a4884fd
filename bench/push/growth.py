"""What lies about while a subscription is served: a backlog behind a breaker, rows, a snapshot."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import msgspec

from bench.arena import Connection
from bench.push import drain
from bench.push.arena import PushArena
from bench.push.drain import Turn
from bench.push.subscribers import fill, subscribe, subscribed
from relay.database import connect
from relay.log.probe import probe
from relay.settings import Settings

DEAD_CHANNEL = "bench.dead"
# By one transaction, so that a backlog of millions comes from many, as in life.
TOGETHER = 100_000
# Of them one is given up and the others wait for it.
ROWS_PER_GROUP = 100
POLLS = 50


class Grown(msgspec.Struct, frozen=True):
    """A drain by one subscription, and an empty poll of the relay."""

    turn: Turn
    poll_milliseconds: float


def plain(arena: PushArena, connection: Connection, deliveries: int) -> Grown:
    """With nothing about."""
    with subscribed(arena, connection, 1, attempts_log="none"):
        return _measure(arena, connection, deliveries, nullcontext)


def snapshot(arena: PushArena, connection: Connection, deliveries: int) -> Grown:
    """While another session holds an old snapshot."""
    with subscribed(arena, connection, 1, attempts_log="none"):
        return _measure(arena, connection, deliveries, arena.old_snapshot)


def breaker(arena: PushArena, connection: Connection, deliveries: int, backlog: int) -> Grown:
    """While so many messages wait behind the open breaker of another subscription."""
    with subscribed(arena, connection, 0), _dead(connection):
        for first in range(0, backlog, TOGETHER):
            together = min(TOGETHER, backlog - first)
            fill(connection, together, first=first, channel=DEAD_CHANNEL)
        endpoint = f"{arena.endpoints.url}/ok/0"
        subscribe(connection, "ok-0", endpoint, attempts_log="none")
        return _measure(arena, connection, deliveries, nullcontext)


OPEN = """
update outbox.breaker
set failing_since = clock_timestamp(), opened_at = clock_timestamp(),
    retry_at = clock_timestamp() + interval '1 hour'
where subscription_id = %s
"""


@contextmanager
def _dead(connection: Connection) -> Iterator[None]:
    id_ = subscribe(connection, "dead", "http://127.0.0.1:9/", DEAD_CHANNEL)
    connection.execute(OPEN, (id_,))
    try:
        yield
    finally:
        connection.execute("select outbox.unsubscribe(%s, true)", (id_,))


# Of messages that the log has still, before those that are drained.
ADD_ROWS = """
insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at)
select c.id, m.id, 'parked-' || m.place / %(per_group)s, 8,
       case when m.place %% %(per_group)s = 0 then timestamptz 'infinity' end
from (select id, row_number() over (order by id) - 1 as place from outbox.message) as m
cross join outbox.cursor as c
where c.priority = 3
"""


def rows(arena: PushArena, connection: Connection, deliveries: int, count: int) -> Grown:
    """While so many of its own messages are parked, or wait behind one that is."""
    with subscribed(arena, connection, 0):
        fill(connection, count)
        subscribe(connection, "ok-0", f"{arena.endpoints.url}/ok/0", attempts_log="none")
        connection.execute(ADD_ROWS, {"per_group": ROWS_PER_GROUP})
        return _measure(arena, connection, deliveries, nullcontext)


def _measure(
    arena: PushArena,
    connection: Connection,
    deliveries: int,
    held: Callable[[], AbstractContextManager[None]],
) -> Grown:
    with held():
        turn = drain.drain(arena, connection, 1, deliveries)
        return Grown(turn, _empty_poll(arena))


def _empty_poll(arena: PushArena) -> float:
    """Milliseconds, the median of many."""
    times = []
    with connect(Settings.from_environment(arena.environment)) as session:
        for _ in range(POLLS):
            began_at = time.perf_counter()
            found = probe(session, "bench")
            times.append((time.perf_counter() - began_at) * 1000)
            assert not found
    return statistics.median(times)
