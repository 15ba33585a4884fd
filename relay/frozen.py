"""Relays that froze in the middle of a stream."""

import structlog

from relay.database import Connection

logger = structlog.get_logger()

# A backend whose client reads no more waits in ClientWrite, where no timeout of a statement, of a
# transaction or of idleness reaches it, and tcp_user_timeout only where the connection is TCP. So a
# rival of the same role ends it, and with it the lock on its cursor.
TERMINATE = """
select application_name, pg_terminate_backend(pid)
from pg_stat_activity
where datname = current_database() and usename = current_user
  and application_name ~ '^outbox-relay .* cursor [0-9]+$'
  and state = 'active' and wait_event = 'ClientWrite'
  and query_start < clock_timestamp() - make_interval(secs => %s)
"""


def terminate(connection: Connection, after_seconds: float) -> None:
    """Ends the sessions of relays that have not read on for so long in the middle of a run."""
    for name, done in connection.execute(TERMINATE, (after_seconds,)):
        logger.warning("frozen_relay_terminated", session=name, terminated=done)
