"""Redriven dead letters: sent to their own cursor's sink, outside the log."""

from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader

from relay.cursor import Cursor
from relay.database import Connection
from relay.sink import Dead, Outcome, Sink

# Few and rare, so one transaction takes a thousand; their bytes are bounded by the window's sum.
LETTERS = """
select message_id, channel, type, group_key, idempotency_key, headers, content_type, payload,
       created_at
from (
    select l.*, octet_length(l.payload) + coalesce(octet_length(l.headers), 0) as size,
           sum(octet_length(l.payload) + coalesce(octet_length(l.headers), 0))
               over (order by l.message_id) as bytes
    from outbox.delivery d
    join outbox.dead_letter l on l.id = d.dead_letter_id
    where d.cursor_id = %(cursor)s
) letter
where bytes - size < 16000000
order by message_id
limit 1000
"""

DELIVERED = """
with gone as (
    delete from outbox.delivery
    where cursor_id = %(cursor)s and message_id = any (%(messages)s::bigint[])
    returning dead_letter_id
)
update outbox.dead_letter set delivered_at = clock_timestamp(), attempts = attempts + 1
where id in (select dead_letter_id from gone)
"""

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

# Its topic is missing: it keeps its place and is tried again later.
POSTPONE = """
update outbox.delivery set due_at = clock_timestamp() + interval '5 seconds'
where cursor_id = %(cursor)s and message_id >= %(message)s
"""


def send(connection: Connection, cursor: Cursor, sink: Sink) -> Outcome:
    """Sends the due letters of a claimed cursor in the order of the log, and commits.

    Raises SinkAway; the caller then gives the run up.
    """
    with connection.cursor(binary=True) as reader:
        reader.adapters.register_loader("text", ByteaBinaryLoader)
        reader.adapters.register_loader("timestamptz", Int8BinaryLoader)
        rows = reader.execute(LETTERS, {"cursor": cursor.id}).fetchall()
    outcome = sink.deliver(rows)
    dead = {letter.message_id for letter in outcome.dead}
    end = outcome.stopped.message_id if outcome.stopped else None
    arrived = [row[0] for row in rows if row[0] not in dead and (end is None or row[0] < end)]
    with connection.pipeline():
        connection.execute(DELIVERED, {"cursor": cursor.id, "messages": arrived})
        for letter in outcome.dead:
            connection.execute(DIED_AGAIN, _died_again(cursor, letter))
        if end is not None:
            connection.execute(POSTPONE, {"cursor": cursor.id, "message": end})
        connection.execute("commit")
    return outcome


def _died_again(cursor: Cursor, letter: Dead) -> dict[str, object]:
    return {
        "cursor": cursor.id,
        "message": letter.message_id,
        "reason": letter.reason,
        "detail": letter.detail,
    }
