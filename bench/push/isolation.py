"""Healthy subscriptions beside one that hangs, is slow, fails, is far behind or is paused."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import msgspec

from bench.arena import Connection
from bench.latency import MILLISECONDS, percentile
from bench.push.arena import PushArena
from bench.push.drain import WARM_UP_MESSAGES
from bench.push.latency import wait
from bench.push.subscribers import CHANNEL, fill, subscribe, subscribed
from bench.watch import watch
from bench.writer import PUBLISH

HEALTHY = 99
# Of all of them, a second.
DELIVERIES = 200
BEHIND = 100_000
BACKLOG_CHANNEL = "bench.backlog"
PAUSE_SECONDS = 1.0
NAME = "beside"
# The worst that it can do: its breaker stays closed, and its timeouts come while others are served.
NEVER_OPENS: dict[str, Any] = {"timeout_seconds": 2, "breaker": {"minimum": 1_000_000}}

Disturbance = Callable[[PushArena, Connection], AbstractContextManager[None]]


@contextmanager
def served(arena: PushArena, connection: Connection) -> Iterator[None]:
    """The healthy subscriptions, and a relay that has sent to each of them."""
    with subscribed(arena, connection, HEALTHY), _noting_rows(connection), arena.relay():
        fill(connection, WARM_UP_MESSAGES)
        watch(connection, WARM_UP_MESSAGES * HEALTHY)
        arena.endpoints.take()
        yield


class Turn(msgspec.Struct, frozen=True):
    """Milliseconds from commit to request, of the healthy; what waits in the end for the one beside
    them; and how many delivery rows were written, of the healthy and of that one.
    """

    p50: float
    p99: float
    left: int
    healthy_rows: int
    other_rows: int


LEFT = """
select coalesce(sum(messages), 0)::bigint from outbox.subscription_backlog where subscription = %s
"""


def turn(arena: PushArena, connection: Connection, seconds: int, disturbance: Disturbance) -> Turn:
    """Raises RuntimeError where a message does not come to each of the healthy."""
    rate = DELIVERIES // HEALTHY
    connection.execute("truncate public.delivery_row")
    with disturbance(arena, connection):
        committed = arena.measure("writer", arena.database_url, PUBLISH, CHANNEL, rate, seconds)
        left = connection.execute(LEFT, (NAME,)).fetchone()
        came = wait(arena, HEALTHY, len(committed))
    assert left is not None
    committed_at = {n: at for n, _, at in committed}
    times = [(one.begin - committed_at[one.n]) * MILLISECONDS for one in came]
    return Turn(percentile(times, 50), percentile(times, 99), left[0], *_rows(connection))


@contextmanager
def undisturbed(_: PushArena, __: Connection) -> Iterator[None]:
    """The healthy alone."""
    yield


@contextmanager
def beside(
    path: str, settings: dict[str, Any], arena: PushArena, connection: Connection
) -> Iterator[None]:
    """One more, with this path and these settings, while the block lasts."""
    subscribe(connection, NAME, f"{arena.endpoints.url}/{path}/0", **settings)
    try:
        yield
    finally:
        connection.execute("select outbox.delete_subscription(%s, true)", (NAME,))


PAUSE = "update outbox.subscription set paused = %s where name = %s"
ALSO = "update outbox.subscription set channels = channels || %s::text where name = %s"


@contextmanager
def behind(arena: PushArena, connection: Connection) -> Iterator[None]:
    """It works off what it alone wants, and wants what the others want besides."""
    with beside("beside", {}, arena, connection):
        connection.execute(PAUSE, (True, NAME))
        connection.execute(ALSO, (BACKLOG_CHANNEL, NAME))
        fill(connection, BEHIND, channel=BACKLOG_CHANNEL)
        # The healthy have passed that by now.
        fill(connection, 1)
        wait(arena, HEALTHY, 1)
        connection.execute(PAUSE, (False, NAME))
        yield
    connection.execute("truncate outbox.message")


@contextmanager
def paused(arena: PushArena, connection: Connection) -> Iterator[None]:
    """It is paused and resumed by turns."""
    ended = threading.Event()

    def pause() -> None:
        with arena.connect() as session:
            is_paused = False
            while not ended.wait(PAUSE_SECONDS):
                is_paused = not is_paused
                session.execute(PAUSE, (is_paused, NAME))

    with beside("beside", {}, arena, connection):
        pausing = threading.Thread(target=pause)
        pausing.start()
        try:
            yield
        finally:
            ended.set()
            pausing.join()


DISTURBANCES: dict[str, Disturbance] = {
    "hangs": partial(beside, "hang", NEVER_OPENS),
    "is slow": partial(beside, "slow", {}),
    "fails": partial(beside, "fail", NEVER_OPENS),
    "is far behind": behind,
    "is paused and resumed": paused,
}


# A row is gone again soon: so each is noted as it is written.
NOTE_ROWS = """
create table public.delivery_row (is_healthy boolean not null);
create function public.note_delivery_row() returns trigger language plpgsql as $$
begin
    insert into public.delivery_row
    select s.name <> 'beside' from outbox.cursor c
    join outbox.subscription s on s.id = c.subscription_id where c.id = new.cursor_id;
    return null;
end
$$;
create trigger note_delivery_row after insert on outbox.delivery
    for each row execute function public.note_delivery_row();
"""
FORGET_ROWS = """
drop trigger note_delivery_row on outbox.delivery;
drop function public.note_delivery_row();
drop table public.delivery_row;
"""


@contextmanager
def _noting_rows(connection: Connection) -> Iterator[None]:
    connection.execute(NOTE_ROWS)
    try:
        yield
    finally:
        connection.execute(FORGET_ROWS)


COUNT_ROWS = """
select count(*) filter (where is_healthy), count(*) filter (where not is_healthy)
from public.delivery_row
"""


def _rows(connection: Connection) -> tuple[int, int]:
    counted = connection.execute(COUNT_ROWS).fetchone()
    assert counted is not None
    return counted[0], counted[1]
