"""What a relay with nothing to do costs."""

import time

import msgspec

from bench.arena import Arena, Connection
from bench.process import cpu_seconds

SETTLE_SECONDS = 5


class Idle(msgspec.Struct, frozen=True):
    """Shares of one core, relay and Postgres apart, and WAL bytes of the relay's sessions."""

    relay: float
    postgres: float
    wal_bytes: int


def measure(arena: Arena, seconds: int) -> Idle:
    """Watches for `seconds` after the relay has come to rest."""
    with arena.connect() as connection, arena.relay() as relay:
        time.sleep(SETTLE_SECONDS)
        pids = relay.pid, arena.postgres.pid
        wal_bytes = _wal_bytes(connection)
        before = [cpu_seconds(pid) for pid in pids]
        began_at = time.monotonic()
        time.sleep(seconds)
        shares = [
            (cpu_seconds(pid) - used) / (time.monotonic() - began_at)
            for pid, used in zip(pids, before, strict=True)
        ]
        return Idle(shares[0], shares[1], _wal_bytes(connection) - wal_bytes)


# Their own share: the server's background writer logs a list of transactions now and then.
WAL_BYTES = """
select coalesce(sum((pg_stat_get_backend_wal(pid)).wal_bytes), 0)::bigint
from pg_stat_activity
where application_name like 'outbox-relay%'
"""


def _wal_bytes(connection: Connection) -> int:
    row = connection.execute(WAL_BYTES).fetchone()
    assert row is not None
    return int(row[0])
