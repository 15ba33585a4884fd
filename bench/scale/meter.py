"""What a stretch of time took: processor, WAL, disk, and how many runs there were."""

import time
from collections.abc import Mapping, Sequence
from typing import LiteralString

import msgspec

from bench.arena import Connection
from bench.process import cpu_seconds
from bench.push.drain import wal_bytes
from bench.scale.arena import ScaleArena
from local.program import Program

LOG_BYTES: LiteralString = """
select coalesce(sum(pg_total_relation_size(relid)), 0)::bigint
from pg_partition_tree('outbox.message')
"""
# Each run writes a checkpoint for every subscription in it.
CHECKPOINTS: LiteralString = """
select s.kind, coalesce(sum(latest.n), 0)::bigint
from outbox.subscription s
join outbox.cursor c on c.subscription_id = s.id
cross join lateral (
    select max(n) as n from outbox.checkpoint where cursor_id = c.id
) as latest
group by s.kind
"""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """Of one stretch. `checkpoints` by kind of subscription: `kafka`, `http`."""

    seconds: float
    relay_seconds: Sequence[float]
    postgres_seconds: float
    wal_bytes: int
    log_bytes: int
    checkpoints: Mapping[str, int]


def log_bytes(connection: Connection) -> int:
    """What the log takes on the disk, indexes and all."""
    row = connection.execute(LOG_BYTES).fetchone()
    assert row is not None
    return int(row[0])


class Meter:
    """Runs from when it is made."""

    def __init__(
        self, arena: ScaleArena, connection: Connection, relays: Sequence[Program]
    ) -> None:
        self._pids = [arena.postgres.pid, *(relay.pid for relay in relays)]
        self._connection = connection
        self._began = self._read()

    def used(self) -> Used:
        """Since the beginning."""
        now, began = self._read(), self._began
        return Used(
            seconds=now.seconds - began.seconds,
            relay_seconds=[
                b - a for a, b in zip(began.relay_seconds, now.relay_seconds, strict=True)
            ],
            postgres_seconds=now.postgres_seconds - began.postgres_seconds,
            wal_bytes=now.wal_bytes - began.wal_bytes,
            log_bytes=now.log_bytes - began.log_bytes,
            checkpoints={
                kind: n - began.checkpoints.get(kind, 0) for kind, n in now.checkpoints.items()
            },
        )

    def _read(self) -> Used:
        checkpoints = dict(self._connection.execute(CHECKPOINTS).fetchall())
        written, grown = wal_bytes(self._connection), log_bytes(self._connection)
        postgres, *relays = map(cpu_seconds, self._pids)
        return Used(
            seconds=time.monotonic(),
            relay_seconds=relays,
            postgres_seconds=postgres,
            wal_bytes=written,
            log_bytes=grown,
            checkpoints=checkpoints,
        )
