"""What Postgres has written to disk: a crash of the server takes back no more than what lies above.

A commit with synchronous_commit = off is seen before it is on disk, and its transaction id is used
again if the server dies in between.
"""

from typing import LiteralString

from relay.database import SETTINGS, Connection, connect
from relay.process.heartbeat import Heartbeat
from relay.settings import Settings

FLUSHED = "select pg_current_wal_flush_lsn() >= %(lsn)s::pg_lsn"

# A commit that waits for the disk brings everything before it there as well. It has to be another
# session's: the run's own transaction is still open, and has written more itself, its row lock.
FLUSH: LiteralString = (
    SETTINGS
    + """,
       pg_catalog.set_config('synchronous_commit', 'local', true),
       pg_catalog.pg_logical_emit_message(true, 'outbox', '')
"""
)


class Disk:
    """Brings the write-ahead log to disk; over a connection of its own, once that is needed."""

    def __init__(self, settings: Settings, heartbeat: Heartbeat | None = None) -> None:
        self._settings = settings
        self._heartbeat = heartbeat
        self._connection: Connection | None = None

    def reach(self, connection: Connection, lsn: str) -> None:
        """Returns once everything up to there is on disk. Raises psycopg.OperationalError.

        `connection` is asked first: mostly some writer's commit was there before.
        """
        row = connection.execute(FLUSHED, {"lsn": lsn}, prepare=True).fetchone()
        if row is not None and row[0]:
            return
        if self._connection is None:
            self._connection = connect(self._settings, self._heartbeat)
        self._connection.execute(FLUSH, prepare=True)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
