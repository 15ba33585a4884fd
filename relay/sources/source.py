"""A source: an inward connector as its row has it, and what a relay writes there."""

from collections.abc import Callable
from typing import LiteralString

import msgspec
from psycopg.rows import class_row

from relay.database import Connection


class Source(msgspec.Struct, frozen=True):
    """`kind` is kafka or sqs, `topic` the name of its topic or queue.

    `cluster` names another cluster than the relay's own, or a queue; `settings` is JSON.
    """

    id: int
    name: str
    kind: str
    channel: str
    priority: int
    topic: str
    start: str
    cluster: str
    settings: str


class Stopped(Exception):
    """It can't go on by itself: what is asked, and what to do."""


class Changed(Exception):
    """Its row says something else by now, or it was paused or deleted."""


# Writes words to the row of a source.
Note = Callable[[Connection, int, str], None]

SOURCES: LiteralString = """
    select id, name, kind, channel, priority, coalesce(settings ->> 'from', 'earliest') as start,
           coalesce(settings ->> 'topic', regexp_replace(settings ->> 'queue_url', '^.*/', ''))
               as topic,
           outbox.source_cluster(settings) as cluster, settings::text as settings
    from outbox.source
"""
ACTIVE = SOURCES + "where not paused and (%(id)s::bigint is null or id = %(id)s) order by id"
BY_ID = SOURCES + "where id = %s"
INSTALLATION = "select id::text from outbox.installation"
WITH_SOURCES = "select id::text from outbox.installation where exists (select from outbox.source)"
NOTE = "select outbox.note_source_waiting(%s, %s)"
STOP = "select outbox.stop_source(%s, %s)"


def active(connection: Connection, source_id: int | None = None) -> list[Source]:
    """Those that are not paused, or this one if it is not. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(Source)) as cursor:
        return cursor.execute(ACTIVE, {"id": source_id}).fetchall()


def demand_unchanged(connection: Connection, source: Source) -> None:
    """Raises Changed where the row is no longer this source, and psycopg.Error."""
    if active(connection, source.id) != [source]:
        raise Changed


def installation(connection: Connection) -> str:
    """The id of this installation. Raises psycopg.Error."""
    row = connection.execute(INSTALLATION).fetchone()
    assert row is not None
    return str(row[0])


def installation_with_sources(connection: Connection) -> str | None:
    """The same; None where nothing comes in. Raises psycopg.Error."""
    row = connection.execute(WITH_SOURCES).fetchone()
    return None if row is None else str(row[0])


def note_waiting(connection: Connection, source_id: int, reason: str | None) -> None:
    """What it waits for; None: it goes on. Raises psycopg.Error."""
    connection.execute(NOTE, (source_id, reason))


def stop(connection: Connection, source_id: int, reason: str) -> None:
    """Pauses it with this reason. Raises psycopg.Error."""
    connection.execute(STOP, (source_id, reason))
