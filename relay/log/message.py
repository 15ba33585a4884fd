"""A message of the log, as a relay reads it."""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

import psycopg
from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader

from relay.database import Connection

# One message as it stands in the log. Text comes as the bytes of its UTF-8, since that is what a
# sink sends. `headers` is a JSON object of strings or None. `created_at` is microseconds since
# 2000-01-01 UTC, as Postgres counts. `type_version` is the version of its type that it was checked
# against and fits, or None. `marks` is a sum of the three below, or 0.
Row = tuple[
    int, bytes, bytes, bytes | None, bytes, bytes | None, bytes, bytes, int, int | None, int
]  # fmt: skip

# Where each field stands in a Row. With a NamedTuple in its place, to read a message costs a third
# more.
ID: Final = 0
CHANNEL: Final = 1
TYPE: Final = 2
GROUP_KEY: Final = 3
IDEMPOTENCY_KEY: Final = 4
HEADERS: Final = 5
CONTENT_TYPE: Final = 6
PAYLOAD: Final = 7
CREATED_AT: Final = 8
TYPE_VERSION: Final = 9
MARKS: Final = 10

# The cursor was set back after it had delivered this message; a header says so.
REPLAYED = 1
REPLAYED_HEADER = "replayed"

# A message of its group waits in outbox.delivery, and it has to wait behind it.
BLOCKED = 2

# Times so many of the places of a reading had this message behind them already.
PASSED = 4

# Times the number of the shard that it is of, where those of several were read at no more than
# SHARD / PASSED places.
SHARD = 1024

POSTGRES_EPOCH_SECONDS = 946_684_800


_headers, _payload = itemgetter(HEADERS), itemgetter(PAYLOAD)


def size(row: Row) -> int:
    """The bytes of payload and headers."""
    return len(row[PAYLOAD]) + len(row[HEADERS] or b"")


def payload_bytes(rows: Iterable[Row]) -> int:
    """The bytes of all payloads."""
    return sum(map(len, map(_payload, rows)))


def sizes(rows: Sequence[Row]) -> int:
    """The bytes of payloads and headers, of all together."""
    return payload_bytes(rows) + sum(map(len, filter(None, map(_headers, rows))))


def as_sent(cursor: psycopg.Cursor[Any]) -> psycopg.Cursor[Any]:
    """A binary cursor that loads text and times as Row has them: as a sink sends them."""
    cursor.adapters.register_loader("text", ByteaBinaryLoader)
    cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
    return cursor


# By priority, with which the log's indexes begin. After a restore another message may have the id:
# then it was written at another time.
EXISTS = """
select exists (
    select from generate_series(1, 5) as class
    cross join lateral (
        select from outbox.message m
        where m.priority::integer = class and m.id + 0 = %(id)s::bigint
          and (%(written_at)s::bigint is null
               or m.created_at = timestamptz '2000-01-01 00:00:00+00'
                                 + %(written_at)s::bigint * interval '1 microsecond')
    ) as found)
"""


def exists(connection: Connection, message_id: int, written_at: int | None = None) -> bool:
    """Whether the log has this message; with `written_at`, as in Row, the very same one."""
    values = {"id": message_id, "written_at": written_at}
    row = connection.execute(EXISTS, values).fetchone()
    return bool(row and row[0])
