"""Redriven dead letters: sent to their own cursor's sink, outside the log."""

from collections.abc import Sequence

from relay.database import Connection
from relay.log.cursor import Cursor
from relay.log.message import ID, Row, as_sent
from relay.log.sink import Dead, Outcome

# Few and rare. Their bytes are bounded by the window's sum, and their number by what a transaction
# can note of them. One that is due takes those of its channel along that had to wait before it.
DUE = """
select message_id, channel, type, group_key, idempotency_key, headers, content_type, payload,
       created_at, type_version, 0
from (
    select l.*, octet_length(l.payload) + coalesce(octet_length(l.headers), 0) as size,
           sum(octet_length(l.payload) + coalesce(octet_length(l.headers), 0))
               over (order by l.message_id) as bytes
    from outbox.delivery d
    join outbox.dead_letter l on l.id = d.dead_letter_id
    where d.cursor_id = %(cursor)s
      and l.channel in (
          select goes.channel
          from outbox.delivery due
          join outbox.dead_letter goes on goes.id = due.dead_letter_id
          where due.cursor_id = %(cursor)s and due.due_at <= clock_timestamp())
) due
where bytes - size < 16000000
order by message_id
limit 200
"""


def read(connection: Connection, cursor: Cursor) -> list[Row]:
    """The dead letters that are due, in the order of the log; at most 200 and about 16 MB."""
    with as_sent(connection.cursor(binary=True)) as reader:
        return reader.execute(DUE, {"cursor": cursor.id}).fetchall()


def arrived_ids(rows: Sequence[Row], outcome: Outcome) -> tuple[int, ...]:
    """The message ids of those that went."""
    dead = {one.message_id for one in outcome.dead}
    ids = [row[ID] for row in rows]
    end = outcome.stopped.message_id if outcome.stopped else None
    return tuple(one for one in ids if one not in dead and (end is None or one < end))


DELIVERED = """
with gone as (
    delete from outbox.delivery
    where cursor_id = %(cursor)s and message_id = any (%(messages)s::bigint[])
    returning dead_letter_id
)
update outbox.dead_letter set delivered_at = clock_timestamp(), attempts = attempts + 1
where id in (select dead_letter_id from gone)
"""


def note_delivered(connection: Connection, cursor: Cursor, messages: Sequence[int]) -> None:
    """Notes that these dead letters have arrived."""
    if messages:
        connection.execute(DELIVERED, {"cursor": cursor.id, "messages": list(messages)})


DIED_AGAIN = """
with gone as (
    delete from outbox.delivery where cursor_id = %(cursor)s and message_id = %(message)s
    returning dead_letter_id
)
update outbox.dead_letter
set redriven_at = null, died_at = clock_timestamp(), attempts = attempts + 1,
    reason = %(reason)s, detail = %(detail)s
where id in (select dead_letter_id from gone)
"""


def note_died_again(connection: Connection, cursor: Cursor, dead: Dead) -> None:
    """Puts a redriven message back among the dead letters."""
    values = {"message": dead.message_id, "reason": dead.reason, "detail": dead.detail}
    connection.execute(DIED_AGAIN, {"cursor": cursor.id, **values})


POSTPONE = """
update outbox.delivery d set due_at = clock_timestamp() + interval '5 seconds'
from outbox.dead_letter l
where d.cursor_id = %(cursor)s and l.id = d.dead_letter_id and l.channel = any (%(channels)s)
"""


def postpone(connection: Connection, cursor: Cursor, channels: Sequence[str]) -> None:
    """The dead letters of these channels keep their places, and are tried again in five seconds."""
    connection.execute(POSTPONE, {"cursor": cursor.id, "channels": list(channels)})
