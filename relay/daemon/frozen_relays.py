"""Relays that froze in the middle of a stream, or of a pipeline, or behind one."""

import structlog

from relay.database import Connection, transaction

logger = structlog.get_logger()

# A backend whose client reads no more waits in ClientWrite, and one whose client fell silent
# between two statements of a pipeline, or in the middle of a COPY, in ClientRead. No timeout of a
# statement, of a transaction or of idleness reaches either, and tcp_user_timeout only the first,
# and only over TCP. So a rival of the same role ends it, and with it the locks that it has. An idle
# transaction has a timeout, which a request to flush ends, as psycopg sends it behind a pipeline:
# Postgres takes that for the next statement, and there is none.
TERMINATE = """
select application_name, pg_terminate_backend(pid)
from pg_stat_activity
where datname = current_database() and usename = current_user
  and application_name ~ '^outbox-relay .* (cursor [0-9]+( [+]?[0-9]*)?|source [0-9]+)$'
  and state in ('active', 'idle in transaction') and wait_event in ('ClientRead', 'ClientWrite')
  and state_change < clock_timestamp() - make_interval(secs => %s)
"""


def terminate(connection: Connection, after_seconds: float) -> None:
    """Ends the sessions of relays that have not read on for so long in the middle of a run."""
    with transaction(connection):
        ended = connection.execute(TERMINATE, (after_seconds,)).fetchall()
    for name, done in ended:
        logger.warning("frozen_relay_terminated", session=name, terminated=done)
