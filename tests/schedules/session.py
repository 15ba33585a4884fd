"""A session of a schedule, whose waits are bounded."""

import psycopg

from tests.sql.log import Session

# Longer than any schedule takes; what it bounds is what a failed one has left behind.
OPTIONS = "-c statement_timeout=60s"


def connect(database_url: str) -> Session:
    """A session in autocommit. Raises psycopg.OperationalError."""
    return psycopg.connect(database_url, autocommit=True, connect_timeout=10, options=OPTIONS)
