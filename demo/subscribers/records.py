"""A subscriber's own record of what it was sent: a SQLite file, which outlives its process."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

BUSY_TIMEOUT_SECONDS = 5.0

Outcome = Literal["accepted", "repeated", "refused", "forged"]

# WAL: who looks at it doesn't hold up who writes.
SCHEMA = """
    pragma synchronous = off;
    pragma journal_mode = wal;
    create table request (
        number          integer primary key,
        idempotency_key text not null,
        order_id        text not null,
        type            text not null,
        outcome         text not null
    );
    create unique index accepted_once on request (idempotency_key) where outcome = 'accepted';
"""


def make(path: Path) -> None:
    """An empty record."""
    with _open(path) as connection:
        connection.executescript(SCHEMA)


WRITE = """
    insert into request (idempotency_key, order_id, type, outcome) values (?, ?, ?, ?)
    on conflict do nothing
"""
KNOWS = "select 1 from request where idempotency_key = ? and outcome = 'accepted'"


class Record:
    """Every request in the order in which it was answered; each key is accepted once."""

    def __init__(self, path: Path) -> None:
        self._connection = _connect(path)
        # With WAL this loses nothing to a kill, only to a loss of power.
        self._connection.execute("pragma synchronous = normal")

    def close(self) -> None:
        self._connection.close()

    def knows(self, key: str) -> bool:
        """Whether the message of this idempotency key was accepted before."""
        return self._connection.execute(KNOWS, (key,)).fetchone() is not None

    def write(self, key: str, order_id: str, type: str, outcome: Outcome) -> bool:
        """Whether it was written: not where a key is accepted that was accepted before."""
        return self._connection.execute(WRITE, (key, order_id, type, outcome)).rowcount == 1


ARRIVALS = """
    select idempotency_key from request where outcome in ('accepted', 'repeated') order by number
"""
COUNTS = "select outcome, count(*) from request group by outcome"


def arrivals(path: Path) -> list[str]:
    """The idempotency keys of what came with success, repeats too, in the order of arrival."""
    with _open(path) as connection:
        return [key for (key,) in connection.execute(ARRIVALS)]


def counts(path: Path) -> Counter[str]:
    """Requests by outcome."""
    with _open(path) as connection:
        return Counter(dict(connection.execute(COUNTS).fetchall()))


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    connection = _connect(path)
    try:
        yield connection
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    """Autocommit."""
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
