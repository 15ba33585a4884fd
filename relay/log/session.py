"""What a transaction of the relay sets for itself, before it reads or writes the log."""

from typing import Any, LiteralString

import psycopg

from relay.database import SETTINGS, Connection

# For this transaction only, since a pooler hands the session on. The planner knows nothing of xid8
# and would read the whole table: these keep every statement on its one index. A relay that freezes
# loses its lock by the two timeouts: idle in transaction, or in the middle of a stream. And no
# commit waits for the disk where a checkpoint that a crash of Postgres takes back is a run that is
# repeated; exactly once waits: of two runs that were taken back Kafka's cursor could restore one.
SET_LOCAL: LiteralString = (
    SETTINGS
    + """,
       pg_catalog.set_config('enable_seqscan', 'off', true),
       pg_catalog.set_config('enable_bitmapscan', 'off', true),
       pg_catalog.set_config('jit', 'off', true),
       pg_catalog.set_config('max_parallel_workers_per_gather', '0', true),
       pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),
       pg_catalog.set_config('statement_timeout', '10min', true),
       pg_catalog.set_config('lock_timeout', '2s', true),
       pg_catalog.set_config('synchronous_commit', %(synchronous_commit)s, true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', %(timeout)s, true),
       pg_catalog.set_config('tcp_user_timeout', %(timeout)s, true),
       pg_catalog.set_config('application_name', %(name)s, true)
"""
)

# In a run a session says besides which cursors it holds, or which source it reads. Any login can
# call its sessions so: those of this one count.
RELAYS = """
select count(distinct regexp_replace(application_name,
                                     ' (cursor [0-9]+( [+]?[0-9]*)?|source [0-9]+)$', ''))
from pg_stat_activity
where datname = current_database() and usename = current_user
  and application_name like 'outbox-relay %'
"""


def set_local(
    connection: Connection, name: str, timeout_seconds: float, *, durable: bool = False
) -> psycopg.Cursor[Any]:
    """The settings, and `name` as the application's, until the transaction ends.

    `durable`: its commit is on this server's disk when it returns. What comes back says whether the
    server takes writes: see `demand_writable`.
    """
    settings = {
        "name": name,
        "timeout": f"{round(timeout_seconds * 1000)}ms",
        "synchronous_commit": "local" if durable else "off",
    }
    return connection.execute(SET_LOCAL, settings)


def relays_now(connection: Connection) -> int:
    """How many relays have sessions, with this one. Raises psycopg.Error."""
    row = connection.execute(RELAYS).fetchone()
    return max(row[0] if row else 1, 1)
