"""Entries go into the log, many at once; one that the log refuses fails no other."""

from collections.abc import Sequence

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


def enter(connection: Connection, entries: Sequence[Entry], priority: int) -> dict[int, str]:
    """Inserts them in their order with this priority, in the transaction under way.

    Returns those that the log itself refuses, by their places, with its words: what was checked
    before knows its rules, and an owner may have added others. Raises psycopg.Error.
    """
    return _enter(connection, entries, priority, 0) if entries else {}


def _enter(
    connection: Connection, entries: Sequence[Entry], priority: int, first: int
) -> dict[int, str]:
    try:
        with connection.transaction():
            _copy(connection, entries, priority)
    except psycopg.Error as refused:
        if not isinstance(refused, REFUSALS) and refused.sqlstate != UNFIT:
            raise
        if len(entries) == 1:
            return {first: _words(refused)}
        half = len(entries) // 2
        return {
            **_enter(connection, entries[:half], priority, first),
            **_enter(connection, entries[half:], priority, first + half),
        }
    return {}


def _words(refused: psycopg.Error) -> str:
    said = refused.diag.message_primary or str(refused)
    return f"{said}: {refused.diag.message_detail}" if refused.sqlstate == UNFIT else said


def _copy(connection: Connection, entries: Sequence[Entry], priority: int) -> None:
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.set_types(TYPES)
        write = copy.write_row
        for entry in entries:
            write((priority, *entry))
