"""The end of a run: one checkpoint, with its dead letters and its fork, and the commit."""

import msgspec

from relay.cursor import Cursor, give_up
from relay.database import Connection
from relay.reading import Reading
from relay.sink import Dead, Outcome

# Returns the database's clock, as Row counts: by then everything of the run was acknowledged.
CHECKPOINT = """
insert into outbox.checkpoint
    (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay, messages, bytes)
values (%(cursor)s, %(n)s, %(seen)s::pg_snapshot, %(target)s::pg_snapshot, %(after_id)s,
        %(fresh_id)s, %(upto_id)s, %(relay)s, %(messages)s, %(bytes)s)
returning (extract(epoch from clock_timestamp() - timestamptz '2000-01-01 00:00:00+00') * 1000000)
          ::bigint
"""

BURY = """
insert into outbox.dead_letter
    (subscription_id, cursor_id, message_id, priority, channel, type, group_key, idempotency_key,
     headers, content_type, payload, created_at, reason, detail, attempts)
select %(subscription)s, %(cursor)s, m.id, m.priority, m.channel, m.type, m.group_key,
       m.idempotency_key, m.headers, m.content_type, m.payload, m.created_at,
       %(reason)s, %(detail)s, 1
from outbox.message m
where m.priority::integer = %(priority)s::integer and m.id + 0 = %(message)s::bigint
on conflict (cursor_id, message_id) do update
    set reason = excluded.reason, detail = excluded.detail, attempts = dead_letter.attempts + 1,
        died_at = clock_timestamp(), redriven_at = null, delivered_at = null
"""

# The fork stands where its origin stands, so neither loses nor repeats a message of the channel.
FORK = """
with forked as (
    insert into outbox.cursor
        (subscription_id, shard, priority, channel, waiting_since, waiting_reason)
    select c.subscription_id, c.shard, c.priority, %(channel)s, clock_timestamp(), %(reason)s
    from outbox.cursor c where c.id = %(cursor)s
    returning id
)
insert into outbox.checkpoint (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
select forked.id, 0, %(seen)s::pg_snapshot, %(target)s::pg_snapshot, %(after_id)s,
       %(fresh_id)s, %(upto_id)s, %(relay)s
from forked
"""


class Finished(msgspec.Struct, frozen=True):
    """A committed run. `acknowledged_at` is by the database's clock, as Row counts."""

    acknowledged_at: int
    exhausted: bool


def finish(reading: Reading, cursor: Cursor, relay: str, outcome: Outcome) -> Finished | None:
    """Writes the run's one checkpoint, with its dead letters and its fork, and commits.

    None where nothing went and nothing is to be written. Raises psycopg.errors.UniqueViolation
    where another holder wrote this checkpoint: the run is void. A connection that is lost during
    the commit leaves open whether it happened; the next claim reads it.
    """
    position, stopped = reading.position, outcome.stopped
    done_id = reading.after_id if stopped is None else stopped.message_id - 1
    exhausted = stopped is None and reading.exhausted
    forks = stopped is not None and stopped.blocked.lasting and cursor.channel is None
    if stopped is not None and done_id <= position.after_id and not forks:
        give_up(reading.connection)
        return None
    where = {
        "cursor": cursor.id,
        "relay": relay,
        "seen": position.target if exhausted else position.seen,
        "target": None if exhausted else position.target,
        "after_id": None if exhausted else done_id,
        "fresh_id": None if exhausted else position.fresh_id,
        "upto_id": None if exhausted else position.upto_id,
    }
    run = {"n": position.n + 1, "messages": outcome.messages, "bytes": outcome.bytes}
    connection = reading.connection
    with connection.pipeline():
        # The lock and the settings are older than the savepoint, and stay. After a stream the first
        # statement must be one without rows: libpq still has its result arrive in chunks.
        if reading.cancelled:
            connection.execute("rollback to savepoint reading")
        elif reading.streamed:
            connection.execute("release savepoint reading")
        for letter in outcome.dead:
            connection.execute(BURY, _buried(cursor, letter))
        written = connection.execute(CHECKPOINT, where | run)
        if stopped is not None and forks:
            fork = {"channel": stopped.blocked.channel, "reason": stopped.blocked.reason}
            connection.execute(FORK, where | fork)
        connection.execute("commit")
    row = written.fetchone()
    assert row is not None
    return Finished(acknowledged_at=row[0], exhausted=exhausted)


def _buried(cursor: Cursor, letter: Dead) -> dict[str, object]:
    return {
        "subscription": cursor.subscription_id,
        "cursor": cursor.id,
        "priority": cursor.priority,
        "message": letter.message_id,
        "reason": letter.reason,
        "detail": letter.detail,
    }


# Written when a fork begins to wait and when it flows again, and not in between.
TELL_WAITING = """
update outbox.cursor
set waiting_since = case when %(reason)s::text is not null then clock_timestamp() end,
    waiting_reason = %(reason)s::text
where id = %(cursor)s and (waiting_reason is null) <> (%(reason)s::text is null)
"""


def tell_waiting(connection: Connection, cursor: Cursor, reason: str | None) -> None:
    """Notes at the cursor what it waits for, or with None that it flows."""
    connection.execute(TELL_WAITING, {"cursor": cursor.id, "reason": reason})
