"""The inbox: each message takes effect once, however often it arrives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

# In milliseconds. Bounds the wait for a lock, too: of two who have the same message the second
# waits for the first.
STATEMENT_TIMEOUT_MS = 10_000
BOUND_STATEMENTS = "select set_config('statement_timeout', %s, true)"


@contextmanager
def bounded_transaction(connection: Connection) -> Iterator[None]:
    """A transaction in which no statement takes longer than STATEMENT_TIMEOUT_MS.

    Set for this transaction only, so that it works behind a pooler and leaves nothing there.
    """
    with connection.transaction():
        connection.execute(BOUND_STATEMENTS, [str(STATEMENT_TIMEOUT_MS)])
        yield


FIRST_TIME = "select inbox.first_time(%s, %s)"


def first_time(connection: Connection, consumer: str, idempotency_key: str) -> bool:
    """Whether `consumer` sees this key for the first time; remembered in the open transaction."""
    row = connection.execute(FIRST_TIME, [consumer, idempotency_key]).fetchone()
    return row is not None and row[0] is True


def apply_once(
    connection: Connection, consumer: str, idempotency_key: str, effect: Callable[[], None]
) -> bool:
    """Runs `effect` unless this message had it before: both in one transaction.

    Returns whether it ran. Killed before the commit, neither has happened; killed after it, the
    message comes again and is known.
    """
    with bounded_transaction(connection):
        is_new = first_time(connection, consumer, idempotency_key)
        if is_new:
            effect()
    return is_new
