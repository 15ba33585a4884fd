"""The relay's connections to Postgres."""

from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict

from relay.settings import Settings

Connection = psycopg.Connection[Any]

# What a connection gets where DATABASE_URL says nothing else: bounds on how long this end waits for
# a server that vanished without a word.
CONNECTION_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def connect(settings: Settings) -> Connection:
    """A connection in autocommit mode whose transactions are READ COMMITTED.

    Raises psycopg.OperationalError.
    """
    given = conninfo_to_dict(settings.database_url)
    connection: Connection = psycopg.connect(
        settings.database_url,
        autocommit=True,
        application_name=f"outbox-relay {settings.name}",
        # Text is sent on as the bytes that arrive.
        client_encoding="utf8",
        **{name: value for name, value in CONNECTION_DEFAULTS.items() if name not in given},
    )
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    return connection
