"""Entries go into the log, many at once; one that the log refuses fails no other."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import psycopg
from psycopg import errors

from relay.database import Connection
from relay.sources.entry import Entry

COPY = """
copy outbox.message
    (priority, channel, type, group_key, idempotency_key, headers, content_type, payload)
from stdin (format binary)
"""
# What the log says of a row that it will never take.
REFUSALS = (errors.IntegrityError, errors.DataError, errors.RaiseException)
# What outbox.refuse_event raises, of a message that does not fit its event type.
UNFIT = "OB422"
TYPES = ("int2", "text", "text", "text", "text", "text", "text", "bytea")


def enter(connection: Connection, entries: Iterable[Entry], priority: int) -> dict[int, str]:
    """Inserts them in their order with this priority, in the transaction under way.

    They go to the server as they come: it is at the first ones while the last are made. Returns
    those that the log itself refuses, by their places, with its words: what was checked before
    knows its rules, and an owner may have added others. Raises psycopg.Error, and what `entries`
    does.
    """
    coming = iter(entries)
    taken = list(islice(coming, 1))
    if not taken:
        return {}
    try:
        with connection.transaction():
            _copy(connection, chain(taken, _noted(coming, taken)), priority)
    except psycopg.Error as refused:
        if not _is_refusal(refused):
            raise
        taken += coming
        return _halves(connection, taken, priority, 0, refused)
    return {}


def _noted(coming: Iterator[Entry], taken: list[Entry]) -> Iterator[Entry]:
    for entry in coming:
        taken.append(entry)
        yield entry


def _enter(
    connection: Connection, entries: Sequence[Entry], priority: int, first: int
) -> dict[int, str]:
    try:
        with connection.transaction():
            _copy(connection, entries, priority)
    except psycopg.Error as refused:
        if not _is_refusal(refused):
            raise
        return _halves(connection, entries, priority, first, refused)
    return {}


def _halves(
    connection: Connection,
    entries: Sequence[Entry],
    priority: int,
    first: int,
    refused: psycopg.Error,
) -> dict[int, str]:
    """Of those that were refused together."""
    if len(entries) == 1:
        return {first: _words(refused)}
    half = len(entries) // 2
    return {
        **_enter(connection, entries[:half], priority, first),
        **_enter(connection, entries[half:], priority, first + half),
    }


def _is_refusal(fault: psycopg.Error) -> bool:
    return isinstance(fault, REFUSALS) or fault.sqlstate == UNFIT


def _words(refused: psycopg.Error) -> str:
    said = refused.diag.message_primary or str(refused)
    return f"{said}: {refused.diag.message_detail}" if refused.sqlstate == UNFIT else said


def _copy(connection: Connection, entries: Iterable[Entry], priority: int) -> None:
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.set_types(TYPES)
        write = copy.write_row
        for entry in entries:
            write((priority, *entry))
