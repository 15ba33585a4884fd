"""Whether the run that Kafka's note speaks of is adopted: written down here as a checkpoint."""

from relay.database import Connection
from relay.kafka import redriven
from relay.kafka.exactly_once.record import Record, restored
from relay.log.checkpoint import Next, position_at, write
from relay.log.claim import Claimed
from relay.log.cursor import Cursor
from relay.log.dead_letters import write_dead_letters
from relay.log.message import exists


def follows(record: Record, claimed: Claimed) -> bool:
    """Whether it is the run behind our latest checkpoint, in this history of this database."""
    assert claimed.origin is not None
    return (
        record.parent_n == claimed.n
        and record.parent_token == claimed.token
        and record.timeline == claimed.origin.timeline
    )


def contradicts(record: Record, claimed: Claimed) -> bool:
    """Whether it is neither our latest checkpoint nor an older one: one without messages is ours
    alone, so that we may be ahead.
    """
    if record.n == claimed.n:
        return record.token != claimed.token
    return record.n > claimed.n


DEAD_LETTER_EXISTS = """
select exists (
    select from outbox.dead_letter
    where cursor_id = %(cursor)s and message_id = %(id)s
      and created_at = timestamptz '2000-01-01 00:00:00+00'
                       + %(written_at)s::bigint * interval '1 microsecond')
"""


def remembers(connection: Connection, cursor: Cursor, record: Record) -> bool:
    """Whether the last message of that run is in this database, in the log or as a dead letter.

    A copy of the database, or one that was restored without a new timeline, may stand just where
    the run began: then the message is missing here, or another one has its id. A run without a
    message left the cursor where it stood, and only this database can have written it.
    """
    if not record.messages or exists(connection, record.last_id, record.last_at):
        return True
    values = {"cursor": cursor.id, "id": record.last_id, "written_at": record.last_at}
    row = connection.execute(DEAD_LETTER_EXISTS, values).fetchone()
    return bool(row and row[0])


def write_run(connection: Connection, claimed: Claimed, relay: str, record: Record) -> None:
    """Writes the checkpoint of the run that was in doubt, with its dead letters, and commits."""
    cursor = claimed.cursor
    where = record.position or position_at(connection, cursor, claimed.n)
    checkpoint = Next(record.n, record.token, where, record.messages, record.bytes)
    with connection.pipeline():
        write_dead_letters(connection, cursor, restored(record.dead))
        write(connection, relay, [(cursor, checkpoint)])
        redriven.note_delivered(connection, cursor, record.redriven)
        connection.execute("commit")
