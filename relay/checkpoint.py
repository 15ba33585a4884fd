"""The end of a run: one checkpoint, with its dead letters and its fork, and the commit."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from relay.cursor import Cursor
from relay.database import Connection, transaction
from relay.reading import Reading
from relay.sink import Blocked, Dead, Outcome

Written = psycopg.Cursor[Any]


class Place(msgspec.Struct, frozen=True):
    """Where a checkpoint says that its cursor stands; between deltas all but `seen` is None."""

    seen: str
    target: str | None = None
    after_id: int | None = None
    fresh_id: int | None = None
    upto_id: int | None = None


class Next(msgspec.Struct, frozen=True):
    """The checkpoint that a run ends with: its place, and the token that only it has.

    `messages` arrived, `failures` attempts did not.
    """

    n: int
    token: int
    place: Place
    messages: int = 0
    bytes: int = 0
    failures: int = 0


def new_token() -> int:
    """What tells a checkpoint from another one with the same n, after a restore."""
    return secrets.randbits(63)


def following(reading: Reading, outcome: Outcome) -> Next | None:
    """The checkpoint that a run has come to; None where it has not moved."""
    position, stopped = reading.position, outcome.stopped
    done_id = reading.after_id if stopped is None else stopped.message_id - 1
    if stopped is not None and done_id <= position.after_id:
        return None
    place = Place(position.seen, position.target, done_id, position.fresh_id, position.upto_id)
    if stopped is None and reading.exhausted:
        place = Place(position.target)
    n = reading.claimed.n + 1
    return Next(n, new_token(), place, outcome.messages, outcome.bytes)


PLACE = """
select seen::text, target::text, after_id, fresh_id, upto_id
from outbox.checkpoint where cursor_id = %(cursor)s and n = %(n)s
"""


def place(connection: Connection, cursor: Cursor, n: int) -> Place:
    """Where checkpoint `n` stands."""
    row = connection.execute(PLACE, {"cursor": cursor.id, "n": n}).fetchone()
    assert row is not None
    return Place(*row)


# Returns the database's clock, as Row counts: by then everything of the run was acknowledged.
CHECKPOINT = """
insert into outbox.checkpoint
    (cursor_id, n, token, seen, target, after_id, fresh_id, upto_id, relay, messages, bytes,
     failures)
values (%(cursor)s, %(n)s, %(token)s, %(seen)s::pg_snapshot, %(target)s::pg_snapshot, %(after_id)s,
        %(fresh_id)s, %(upto_id)s, %(relay)s, %(messages)s, %(bytes)s, %(failures)s)
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


def finish(
    reading: Reading,
    cursor: Cursor,
    relay: str,
    *,
    dead: Sequence[Dead],
    checkpoint: Next | None,
    fork: Blocked | None = None,
) -> int | None:
    """Writes the run's one checkpoint, with its dead letters and its fork, and commits.

    Returns the database's clock when everything was acknowledged, as Row counts; None where the run
    did not move. Raises psycopg.errors.UniqueViolation where another holder wrote this checkpoint:
    the run is void. A connection that is lost during the commit leaves open whether it happened;
    the next claim reads it.
    """
    connection, written = reading.connection, None
    with connection.pipeline():
        reading.end()
        for letter in dead:
            connection.execute(BURY, _buried(cursor, letter))
        if checkpoint is not None:
            written = write(connection, cursor, relay, checkpoint)
        if fork is not None:
            place = checkpoint.place if checkpoint else _unmoved(reading)
            values = {"channel": fork.channel, "reason": fork.reason}
            connection.execute(FORK, _where(cursor, relay, place) | values)
        connection.execute("commit")
    row = written.fetchone() if written else None
    return row[0] if row else None


def write(connection: Connection, cursor: Cursor, relay: str, checkpoint: Next) -> Written:
    """Writes one checkpoint in the transaction that is under way."""
    values = {
        "n": checkpoint.n,
        "token": checkpoint.token,
        "messages": checkpoint.messages,
        "bytes": checkpoint.bytes,
        "failures": checkpoint.failures,
    }
    return connection.execute(CHECKPOINT, _where(cursor, relay, checkpoint.place) | values)


def _where(cursor: Cursor, relay: str, place: Place) -> dict[str, object]:
    return {"cursor": cursor.id, "relay": relay, **msgspec.structs.asdict(place)}


def _unmoved(reading: Reading) -> Place:
    at = reading.position
    return Place(at.seen, at.target, at.after_id, at.fresh_id, at.upto_id)


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
    with transaction(connection):
        connection.execute(TELL_WAITING, {"cursor": cursor.id, "reason": reason})
