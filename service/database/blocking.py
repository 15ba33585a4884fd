"""The connection and the transactions of a command, which waits for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection, IsolationLevel

from service.database.connection import CONNECTION_DEFAULTS, missing
from service.database.transaction import BOUND


def connect(database_url: str) -> Connection[Any]:
    """A command's connection. Raises psycopg.OperationalError."""
    defaults = {"connect_timeout": 5, **CONNECTION_DEFAULTS}
    connection: Connection[Any] = Connection.connect(
        database_url, autocommit=True, **missing(defaults, database_url)
    )
    # A pooler would hand it on, and a command gains nothing by it.
    connection.prepare_threshold = None
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    connection.read_only = False
    return connection


@contextmanager
def transaction(connection: Connection[Any], timeout_seconds: float) -> Iterator[None]:
    """One transaction of a command, bounded as a request's is."""
    with connection.transaction():
        connection.execute(BOUND, {"milliseconds": str(round(timeout_seconds * 1000))})
        yield
