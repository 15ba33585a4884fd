"""The end of a run: one checkpoint, with its dead letters and channel cursors, and the commit."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from relay.database import Connection
from relay.log import channel_cursors
from relay.log.cursor import Cursor
from relay.log.dead_letters import write_dead_letters
from relay.log.position import Position, columns, position_of
from relay.log.reading import Reading
from relay.log.sink import Blocked, Dead, Outcome

Written = psycopg.Cursor[Any]


class Next(msgspec.Struct, frozen=True):
    """The checkpoint that a run ends with: its position, and the token that only it has.

    `messages` arrived, `failures` attempts did not.
    """

    n: int
    token: int
    position: Position
    messages: int = 0
    bytes: int = 0
    failures: int = 0


def new_token() -> int:
    """What tells a checkpoint from another one with the same n, after a restore."""
    return secrets.randbits(63)


def following(reading: Reading, outcome: Outcome) -> Next | None:
    """The checkpoint that a run has come to; None where it has not moved."""
    delta, stopped = reading.delta, outcome.stopped
    done_id = reading.after_id if stopped is None else stopped.message_id - 1
    if stopped is not None and done_id <= delta.after_id:
        return None
    # With its last message a delta is over, though the run was stopped before it looked for more.
    if done_id >= delta.upto_id:
        position = Position(delta.target)
    else:
        left = msgspec.structs.replace(delta, after_id=done_id)
        position = Position(reading.claimed.position.seen, left)
    n = reading.claimed.n + 1
    return Next(n, new_token(), position, outcome.messages, outcome.bytes)


POSITION = """
select seen::text, target::text, after_id, fresh_id, upto_id
from outbox.checkpoint where cursor_id = %(cursor)s and n = %(n)s
"""


def position_at(connection: Connection, cursor: Cursor, n: int) -> Position:
    """Where checkpoint `n` stands."""
    row = connection.execute(POSITION, {"cursor": cursor.id, "n": n}).fetchone()
    assert row is not None
    return position_of(*row)


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


class Finished(msgspec.Struct, frozen=True):
    """What a run's end has written.

    `acknowledged_at` is the database's clock when everything was acknowledged, as Row counts; None
    where the run did not move. `set_aside` are channels that have cursors of their own from now on.
    """

    acknowledged_at: int | None
    set_aside: frozenset[str]


def finish(
    reading: Reading,
    cursor: Cursor,
    relay: str,
    *,
    dead: Sequence[Dead],
    checkpoint: Next | None,
    blocked: Sequence[Blocked] = (),
) -> Finished:
    """Writes the run's one checkpoint, with its dead letters and its channel cursors, and commits.

    A channel cursor has no other made: that its own channel is `blocked` is noted at it. Raises
    psycopg.errors.UniqueViolation where another relay wrote this checkpoint: the run is void. Where
    the connection is lost during the commit, the next claim reads whether it happened.
    """
    connection, written, added = reading.connection, None, None
    with connection.pipeline():
        reading.end()
        write_dead_letters(connection, cursor, dead)
        if checkpoint is not None:
            written = write(connection, cursor, relay, checkpoint)
        if cursor.channel is not None:
            delivered = checkpoint is not None and checkpoint.messages > 0
            if blocked or checkpoint is not None:
                channel_cursors.note(connection, cursor, blocked, delivered=delivered)
        elif blocked:
            at = checkpoint.position if checkpoint else reading.claimed.position
            added = channel_cursors.add(connection, cursor, relay, at, blocked)
        connection.execute("commit")
    row = written.fetchone() if written else None
    channels = added.fetchall() if added else []
    return Finished(row[0] if row else None, frozenset(channel for (channel,) in channels))


def write(connection: Connection, cursor: Cursor, relay: str, checkpoint: Next) -> Written:
    """Writes one checkpoint in the transaction that is under way."""
    values = {
        "n": checkpoint.n,
        "token": checkpoint.token,
        "messages": checkpoint.messages,
        "bytes": checkpoint.bytes,
        "failures": checkpoint.failures,
    }
    where = {"cursor": cursor.id, "relay": relay, **columns(checkpoint.position)}
    return connection.execute(CHECKPOINT, where | values)


def merge(connection: Connection, cursor: Cursor, relay: str, checkpoint: Next) -> list[int]:
    """Merges the channel cursors that stand where this one stands, and commits; returns their ids.

    `checkpoint` stands where the latest one does: by it another relay sees that it came too late.
    """
    with connection.pipeline():
        merged = channel_cursors.merge(connection, cursor)
        write(connection, cursor, relay, checkpoint)
        connection.execute("commit")
    row = merged.fetchone()
    return list(row[0]) if row else []
