"""Trying dead letters again: each enters behind what has entered since, and is kept no more."""

from collections.abc import Sequence
from typing import Any

from relay.database import Connection, transaction
from relay.sources.entering import enter
from relay.sources.entry import Entry, Refused
from relay.sources.record import Record, entry
from relay.sources.source import Source, installation
from relay.sources.sqs import message

TAKE = """
    select id, topic, partition, record_offset, message_id, key, value, header_names, header_values
    from outbox.source_dead_letter
    where source_id = %(source)s and id > %(after)s
      and (%(ids)s::bigint[] is null or id = any (%(ids)s))
    order by id limit %(limit)s for update skip locked
"""
# By its index, since it is asked all the time.
TAKE_DUE = """
    select id, topic, partition, record_offset, message_id, key, value, header_names, header_values
    from outbox.source_dead_letter
    where source_id = %(source)s and due
    order by id limit %(limit)s for update skip locked
"""
AGAIN = """
    update outbox.source_dead_letter
    set reason = %s, detail = %s, due = false, died_at = clock_timestamp() where id = %s
"""
FORGET = "delete from outbox.source_dead_letter where id = %s"
# Each may be a megabyte.
AT_ONCE = 20


def redrive(
    connection: Connection, source: Source, ids: Sequence[int] | None = None
) -> tuple[int, int]:
    """Tries these again, or all: how many entered, and how many are still none."""
    entered = refused = after = 0
    while True:
        with transaction(connection):
            values = {"source": source.id, "ids": ids, "after": after, "limit": AT_ONCE}
            rows = connection.execute(TAKE, values).fetchall()
            if not rows:
                return entered, refused
            own = installation(connection)
            for row in rows:
                if _entered(connection, source, row, own):
                    entered += 1
                else:
                    refused += 1
            after = rows[-1][0]


def redrive_due(connection: Connection, source: Source, own: str) -> int:
    """Tries some that are due, in the transaction under way: how many entered."""
    rows = connection.execute(TAKE_DUE, {"source": source.id, "limit": AT_ONCE}).fetchall()
    return sum(_entered(connection, source, row, own) for row in rows)


def _entered(connection: Connection, source: Source, row: tuple[Any, ...], own: str) -> bool:
    letter_id, record = row[0], _record(*row[1:])
    try:
        made = made_of(source, record, own)
        faults = enter(connection, [made], source.priority) if made else {}
        if faults:
            raise Refused("refused", faults[0])
    except Refused as wrong:
        connection.execute(AGAIN, (wrong.reason, wrong.detail, letter_id))
        return False
    connection.execute(FORGET, (letter_id,))
    return True


def _record(
    topic: str,
    partition: int | None,
    offset: int | None,
    message_id: str | None,
    key: bytes | None,
    value: bytes | None,
    names: list[str],
    values: list[bytes | None],
) -> Record:
    headers = list(zip(names, values, strict=True))
    # A message of a queue has no place.
    return Record(topic, partition or 0, offset or 0, key, value, headers, message_id)


def made_of(source: Source, record: Record, own: str) -> Entry | None:
    """As entry(), of whatever kind the source is. Raises Refused."""
    if source.kind == "sqs":
        record = message.opened(record, message.unwraps(source.settings))
    return entry(record, source.channel, own)
