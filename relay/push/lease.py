"""How long a run to an endpoint may send."""

import time

from relay.database import Connection

# Where it began so long ago, a run begins it anew before it sends.
RENEW_SECONDS = 1.0


class Lease:
    """The time in which no other relay can hold a run's cursor, whatever becomes of this one.

    Postgres ends a session that is idle in its transaction for `idle_seconds`, and the cursor's
    lock with it. Every statement begins that time anew. One half of it is for sending.
    """

    def __init__(self, connection: Connection, idle_seconds: float, began_at: float) -> None:
        """`began_at`: before its latest statement, by time.monotonic()."""
        self._connection = connection
        self._idle_seconds = idle_seconds
        self._began_at = began_at

    @property
    def ends_at(self) -> float:
        """By time.monotonic(); no request is made from then on."""
        return self._began_at + self._idle_seconds / 2

    def renew(self) -> None:
        """Asks the database for the whole time where a slow claim, load or page has used some up.

        Raises psycopg.OperationalError where the session has ended, and the lock with it.
        """
        now = time.monotonic()
        if now - self._began_at > RENEW_SECONDS:
            self._connection.execute("select")
            self._began_at = now
