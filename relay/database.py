"""The relay's connections to Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from relay.settings import Settings

Connection = psycopg.Connection[Any]
Pool = ConnectionPool[Connection]

# What a connection gets where DATABASE_URL says nothing else: bounds on how long this end waits for
# a server that vanished without a word.
CONNECTION_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


# Every transaction of the relay and its commands begins with this, or with a statement that does.
# What a role's, a database's or a server's search_path puts before pg_catalog could shadow each
# operator, function, type and table that a statement names; pg_temp is searched first unless it is
# named last. For the transaction only: a pooler hands the session on.
SETTINGS: LiteralString = "select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)"

# A run that gets no connection for so long is tried again.
POOL_SECONDS = 10.0


def connect(settings: Settings) -> Connection:
    """A connection in autocommit mode whose transactions are READ COMMITTED.

    Raises psycopg.OperationalError.
    """
    connection: Connection = psycopg.connect(settings.database_url, **_parameters(settings))
    _configure(connection)
    return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction that goes by SETTINGS; every statement outside of a run is in one."""
    with connection.transaction():
        connection.execute(SETTINGS)
        yield


def pool(settings: Settings) -> Pool:
    """Such connections, made as they are needed, for as many runs at once as the settings say.

    Its `connection()` raises psycopg.OperationalError where none is to be had.
    """
    return ConnectionPool(
        settings.database_url,
        kwargs=_parameters(settings),
        configure=_configure,
        min_size=0,
        max_size=settings.push_connections,
        timeout=POOL_SECONDS,
        # Whoever needs one tries again; the pool need not.
        reconnect_timeout=POOL_SECONDS,
        max_idle=60.0,
        open=True,
    )


def _parameters(settings: Settings) -> dict[str, Any]:
    given = conninfo_to_dict(settings.database_url)
    return {
        "autocommit": True,
        "application_name": f"outbox-relay {settings.name}",
        # Text is sent on as the bytes that arrive.
        "client_encoding": "utf8",
        **{name: value for name, value in CONNECTION_DEFAULTS.items() if name not in given},
    }


def _configure(connection: Connection) -> None:
    # An attribute of the client's, said with every BEGIN: no SET that a pooler would leak.
    connection.isolation_level = IsolationLevel.READ_COMMITTED
