"""Up to where each partition of a source was taken in."""

from collections.abc import Collection, Mapping
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from relay.database import Connection
from relay.sources.source import Source, Stopped, demand_unchanged


class Position(msgspec.Struct, frozen=True):
    """Of one partition. `relay` reads it, or did."""

    partition: int
    topic_id: str
    next_offset: int
    relay: str | None


class Move(msgspec.Struct):
    """How far one partition has come in a run."""

    next_offset: int
    end_offset: int
    entered: int = 0
    passed: int = 0


READ = """
    select partition, topic_id, next_offset, relay from outbox.source_position
    where source_id = %s and topic = %s order by partition
"""
# Of two relays that begin at the same moment the second finds what the first has written; and
# outbox.seek_source comes before or after both.
HOLD = "select outbox.hold_source(%s)"
BEGIN = """
    insert into outbox.source_position
        (source_id, topic, partition, topic_id, next_offset, end_offset)
    values (%s, %s, %s, %s, %s, %s)
"""
LOCK = """
    select partition, topic_id, next_offset, relay from outbox.source_position
    where source_id = %s and topic = %s and partition = any (%s)
    order by partition for update skip locked
"""
MOVE = """
    update outbox.source_position as position
    set next_offset = move.next_offset, end_offset = move.end_offset,
        entered = entered + move.came_in, passed = passed + move.went_by,
        relay = %s, moved_at = clock_timestamp(), readers = '{}'
    from unnest(%s::integer[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
         as move (partition, next_offset, end_offset, came_in, went_by)
    where source_id = %s and topic = %s and position.partition = move.partition
"""
# Those that another relay holds at this moment it moves. Of each the number of all its readers.
NOTE_READER = """
    update outbox.source_position as position
    set readers = array_append(array_remove(position.readers, %(process)s), %(process)s)
    from (select partition from outbox.source_position
          where source_id = %(source)s and topic = %(topic)s and partition = any (%(partitions)s)
          order by partition for update skip locked) as free
    where position.source_id = %(source)s and position.topic = %(topic)s
      and position.partition = free.partition
    returning position.partition, cardinality(position.readers)
"""
FORGET_READER = """
    update outbox.source_position set readers = array_remove(readers, %s)
    where source_id = %s and %s = any (readers)
"""
FORGET_READERS = "update outbox.source_position set readers = '{}' where source_id = %s"
LET_GO = """
    update outbox.source_position set relay = null
    where source_id = %s and topic = %s and partition = any (%s) and relay = %s
"""


def read(connection: Connection, source: Source) -> dict[int, Position]:
    """All of the source's topic, by partition. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(Position)) as cursor:
        rows = cursor.execute(READ, (source.id, source.topic)).fetchall()
    return {row.partition: row for row in rows}


def begin(
    connection: Connection, source: Source, topic_id: str, offsets: Mapping[int, int]
) -> None:
    """Partitions begin at these offsets, in the transaction under way; what has begun stays.

    Raises Changed where they are no longer where this source is to begin, and
    psycopg.errors.LockNotAvailable where another session keeps its row locked.
    """
    connection.execute(HOLD, (source.id,))
    demand_unchanged(connection, source)
    known = read(connection, source)
    with connection.cursor() as cursor:
        cursor.executemany(
            BEGIN,
            [
                (source.id, source.topic, partition, topic_id, offset, offset)
                for partition, offset in offsets.items()
                if partition not in known
            ],
        )


def lock(
    connection: Connection, source: Source, partitions: Collection[int]
) -> dict[int, Position]:
    """Those that no other relay holds, until the transaction ends."""
    with connection.cursor(row_factory=class_row(Position)) as cursor:
        rows = cursor.execute(LOCK, (source.id, source.topic, list(partitions))).fetchall()
    return {row.partition: row for row in rows}


def move(connection: Connection, source: Source, moves: Mapping[int, Move], relay: str) -> None:
    """Moves what is locked, in the transaction under way."""
    columns = (
        [one.next_offset for one in moves.values()],
        [one.end_offset for one in moves.values()],
        [one.entered for one in moves.values()],
        [one.passed for one in moves.values()],
    )
    connection.execute(MOVE, (relay, list(moves), *columns, source.id, source.topic))


def let_go(connection: Connection, source: Source, partitions: Collection[int], relay: str) -> None:
    """Another relay may take these at once."""
    connection.execute(LET_GO, (source.id, source.topic, list(partitions), relay))


def note_reader(
    connection: Connection, source: Source, partitions: Collection[int], process: UUID
) -> dict[int, int]:
    """This process begins to read these: by how many processes that was begun, with this one."""
    values = {
        "source": source.id,
        "topic": source.topic,
        "partitions": list(partitions),
        "process": process,
    }
    return dict(connection.execute(NOTE_READER, values).fetchall())


def forget_reader(connection: Connection, source: Source, process: UUID) -> None:
    """What this process began to read did not end it."""
    connection.execute(FORGET_READER, (process, source.id, process))


def forget_readers(connection: Connection, source: Source) -> None:
    """Whoever reads next is the first."""
    connection.execute(FORGET_READERS, (source.id,))


def demand_same_topic(source: Source, known: Mapping[int, Position], topic_id: str) -> None:
    """Raises Stopped where the topic was made again since the source began with it."""
    if any(one.topic_id != topic_id for one in known.values()):
        raise Stopped(
            f"topic {source.topic} was deleted and made again, or is another cluster's: from where "
            f"on are its records wanted? outbox-relay connectors seek {source.name} --from "
            "earliest, latest or a time begins with it anew"
        )
