"""Which messages of a queue were taken in, and how many."""

from collections.abc import Sequence

from relay.database import Connection

# In their order, so that two relays that received the same wait for each other one way only. One
# that waits here sees, when the other has committed, what that one has taken in.
NOTE = """
    insert into outbox.source_receipt (source_id, message_id)
    select %s, id from unnest(%s::text[]) as id order by id
    on conflict (source_id, message_id) do nothing
    returning message_id
"""
COUNT = """
    insert into outbox.source_queue as queue (source_id, entered, passed) values (%s, %s, %s)
    on conflict (source_id) do update
    set entered = queue.entered + excluded.entered, passed = queue.passed + excluded.passed,
        moved_at = clock_timestamp()
"""
WAITING = """
    insert into outbox.source_queue as queue (source_id, waiting) values (%s, %s)
    on conflict (source_id) do update set waiting = excluded.waiting
    where queue.waiting <> excluded.waiting
"""


def note(connection: Connection, source_id: int, message_ids: Sequence[str]) -> set[str]:
    """Those that were not taken in before, in the transaction under way. Raises psycopg.Error."""
    rows = connection.execute(NOTE, (source_id, sorted(set(message_ids)))).fetchall()
    return {message_id for (message_id,) in rows}


def count(connection: Connection, source_id: int, entered: int, passed: int) -> None:
    """In the transaction under way. Raises psycopg.Error."""
    connection.execute(COUNT, (source_id, entered, passed))


def note_waiting_messages(connection: Connection, source_id: int, number: int) -> None:
    """How many the queue says that it has. Writes only a change. Raises psycopg.Error."""
    connection.execute(WAITING, (source_id, number))
