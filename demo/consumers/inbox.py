"""The inbox: each message takes effect once, however often it arrives."""

from collections.abc import Callable
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

FIRST_TIME = "select inbox.first_time(%s, %s)"


def first_time(connection: Connection, consumer: str, idempotency_key: str) -> bool:
    """Whether `consumer` sees this key for the first time; remembered in the open transaction."""
    row = connection.execute(FIRST_TIME, [consumer, idempotency_key]).fetchone()
    return row is not None and row[0] is True


REMEMBER_REPEAT = "insert into repeated (idempotency_key) values (%s)"


def apply_once(
    connection: Connection, consumer: str, idempotency_key: str, effect: Callable[[], None]
) -> bool:
    """Runs `effect` unless this message had it before: both in one transaction.

    Returns whether it ran. Killed before the commit, neither has happened; killed after it, the
    message comes again and is known.
    """
    with connection.transaction():
        if first_time(connection, consumer, idempotency_key):
            effect()
            return True
        connection.execute(REMEMBER_REPEAT, [idempotency_key])
        return False
