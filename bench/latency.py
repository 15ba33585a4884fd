"""From a commit to Kafka's acknowledgement, message by message, at a steady rate."""

import statistics
from collections.abc import Iterable

import msgspec

from bench.arena import Arena, Connection
from bench.watch import send_one
from bench.writer import PUBLISH

TOPIC = "bench.latency"
MILLISECONDS = 1e-6


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from the commit's answer to two moments, and transactions per second.

    `acknowledged`: the relay's checkpoint says so; `consumed`: a consumer has it.
    """

    acknowledged: list[float]
    consumed: list[float]
    rate: float


def percentile(values: list[float], percent: int) -> float:
    """One of 1 to 99."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def measure(arena: Arena, rate: int, seconds: int) -> Latency:
    """Writes with several connections from another process, reads with a consumer in a third."""
    count = rate * seconds
    with arena.connect() as connection, arena.relay():
        connection.execute("truncate outbox.message")
        # The relay connects to Kafka with its first message.
        send_one(connection, TOPIC)
        reader = arena.start("reader", arena.kafka.bootstrap_servers, TOPIC, count)
        assert reader.stdout is not None
        reader.stdout.readline()
        committed = arena.measure("writer", arena.database_url, PUBLISH, TOPIC, rate, seconds)
        consumed = dict(arena.result(reader))
        acknowledged = _acknowledged(connection)
    times = [nanoseconds for _, _, nanoseconds in committed]
    return Latency(
        acknowledged=_milliseconds((acknowledged[id_], at) for _, id_, at in committed),
        consumed=_milliseconds((consumed[n], at) for n, _, at in committed),
        rate=(count - 1) / (max(times) - min(times)) * 1e9,
    )


def _milliseconds(pairs: Iterable[tuple[int, int]]) -> list[float]:
    return [(end - begin) * MILLISECONDS for end, begin in pairs]


# The first checkpoint that shows a message is the one of its run: at these rates a run always reads
# its delta to the end.
POSITIONS = """
create temporary table checkpoint as
select created_at, seen from outbox.checkpoint
join outbox.cursor on cursor.id = cursor_id and cursor.priority = 3
"""
FIRST_SHOWN = """
select message.id, (extract(epoch from acknowledged.created_at) * 1000000)::bigint * 1000
from outbox.message
cross join lateral (
    select created_at from checkpoint
    where checkpoint.created_at >= message.created_at
      and pg_visible_in_snapshot(message.xid, checkpoint.seen)
    order by created_at
    limit 1
) as acknowledged
"""


def _acknowledged(connection: Connection) -> dict[int, int]:
    """When each message's checkpoint was written, in nanoseconds since 1970."""
    connection.execute(POSITIONS)
    connection.execute("create index on checkpoint (created_at)")
    connection.execute("analyze checkpoint")
    return dict(connection.execute(FIRST_SHOWN).fetchall())
