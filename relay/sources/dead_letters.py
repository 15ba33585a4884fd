"""Records that could not enter: kept whole, so many at most."""

from collections.abc import Sequence
from typing import NamedTuple

from relay.database import Connection
from relay.sources.record import Record
from relay.sources.source import Stopped

MAX_DEAD_LETTERS = 10_000
MAX_BYTES = 268_435_456


class DeadLetter(NamedTuple):
    """A record, and why it could not enter."""

    record: Record
    reason: str
    detail: str


# Of a row what can be large, as it is stored: none is read for it.
COUNT = """
    select count(*), coalesce(sum(coalesce(pg_column_size(value), 0)
                                  + coalesce(pg_column_size(key), 0)
                                  + pg_column_size(header_names)
                                  + pg_column_size(header_values)), 0)
    from (select key, value, header_names, header_values
          from outbox.source_dead_letter where source_id = %s limit %s) as kept
"""
INSERT = """
    insert into outbox.source_dead_letter
        (source_id, topic, partition, record_offset, message_id, key, value,
         header_names, header_values, reason, detail)
    values (%s, %s, %s, %s, %s, %s, %s, %s::text[], %s::bytea[], %s, %s)
"""


def keep(connection: Connection, source_id: int, dead_letters: Sequence[DeadLetter]) -> None:
    """Keeps them, in the transaction under way. Raises Stopped where there is no more room."""
    row = connection.execute(COUNT, (source_id, MAX_DEAD_LETTERS)).fetchone()
    assert row is not None
    number, size = row
    size += sum(one.record.size for one in dead_letters)
    # Where none is kept there is room for those of any batch: it could else never enter.
    if number and (number + len(dead_letters) > MAX_DEAD_LETTERS or size > MAX_BYTES):
        raise Stopped(
            f"{number} dead letters are kept, and there is no room for more: are they still "
            "wanted? outbox-relay connectors dead-letters lists them, redrive tries them again, "
            "discard forgets them; then resume it"
        )
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, [_row(source_id, one) for one in dead_letters])


def _storable(name: str) -> str:
    """Postgres takes no NUL in a text, and no half of a surrogate pair."""
    return name.encode(errors="replace").decode().replace("\0", "")


def _row(source_id: int, letter: DeadLetter) -> tuple[object, ...]:
    record = letter.record
    of_topic = record.message_id is None
    return (
        source_id,
        record.topic,
        record.partition if of_topic else None,
        record.offset if of_topic else None,
        record.message_id,
        record.key,
        record.value,
        [_storable(name) for name, _ in record.headers],
        [value for _, value in record.headers],
        letter.reason,
        letter.detail.replace("\0", ""),
    )
