"""The end of a run: one checkpoint, with its dead letters and channel cursors, and the commit."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg

from relay.database import Connection
from relay.log import channel_cursors
from relay.log.claim import Claimed, delta_of
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


def following(reading: Reading, claimed: Claimed, outcome: Outcome) -> Next | None:
    """The checkpoint that a run has come to for one of its cursors; None where it has not moved."""
    delta, stopped = delta_of(claimed), outcome.stopped
    done_id = reading.after_id if stopped is None else stopped.message_id - 1
    if done_id <= delta.after_id and (stopped is not None or not reading.exhausted):
        return None
    # With its last message a delta is over, though the run was stopped before it looked for more.
    if done_id >= delta.upto_id:
        position = Position(delta.target)
    else:
        left = msgspec.structs.replace(delta, after_id=done_id)
        position = Position(claimed.position.seen, left)
    return Next(claimed.n + 1, new_token(), position, outcome.messages, outcome.bytes)


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
select cursor_id, n, token, seen::pg_snapshot, target::pg_snapshot, after_id, fresh_id, upto_id,
       %(relay)s, messages, bytes, failures
from unnest(%(cursor)s::bigint[], %(n)s::bigint[], %(token)s::bigint[], %(seen)s::text[],
            %(target)s::text[], %(after_id)s::bigint[], %(fresh_id)s::bigint[],
            %(upto_id)s::bigint[], %(messages)s::integer[], %(bytes)s::bigint[],
            %(failures)s::integer[])
     as next (cursor_id, n, token, seen, target, after_id, fresh_id, upto_id, messages, bytes,
              failures)
returning (extract(epoch from clock_timestamp() - timestamptz '2000-01-01 00:00:00+00') * 1000000)
          ::bigint
"""


class End(msgspec.Struct, frozen=True):
    """How a run ends for one of its cursors: `checkpoint` is None where it has not moved.

    `refused`: see Stopped.
    """

    claimed: Claimed
    checkpoint: Next | None
    dead: Sequence[Dead] = ()
    blocked: Sequence[Blocked] = ()
    refused: str | None = None

    @property
    def cursor(self) -> Cursor:
        return self.claimed.cursor


class Finished(msgspec.Struct, frozen=True):
    """What a run's end has written.

    `acknowledged_at` is the database's clock when everything was acknowledged, as Row counts; None
    where no cursor has moved. `set_aside` are channels that have cursors of their own from now on.
    """

    acknowledged_at: int | None
    set_aside: frozenset[str]


def finish(
    connection: Connection,
    readings: Sequence[Reading],
    relay: str,
    ends: Sequence[End],
    and_then: Callable[[], None] | None = None,
) -> Finished:
    """Writes the run's checkpoints, with their dead letters and channel cursors, and commits.

    A channel cursor has no other made: that its own channel is blocked is noted at it. `and_then`
    sends more in the same round trip, after the commit. Raises psycopg.errors.UniqueViolation where
    another relay wrote one of these checkpoints: the run is void. Where the connection is lost
    during the commit, the next claim reads whether it happened.
    """
    for reading in readings:
        reading.end()
    written = None
    with connection.pipeline():
        for end in ends:
            write_dead_letters(connection, end.cursor, end.dead)
        moved = [(end.cursor, end.checkpoint) for end in ends if end.checkpoint is not None]
        if moved:
            written = write(connection, relay, moved)
        added = [_write_channels(connection, relay, end) for end in ends]
        connection.execute("commit")
        if and_then is not None:
            and_then()
    row = written.fetchone() if written else None
    channels = [channel for made in added if made for (channel,) in made.fetchall()]
    return Finished(row[0] if row else None, frozenset(channels))


def _write_channels(connection: Connection, relay: str, end: End) -> Written | None:
    """What comes back are the channels that have cursors of their own from now on."""
    cursor, checkpoint = end.cursor, end.checkpoint
    if cursor.channel is None:
        refused = [Blocked(end.refused, None, temporary=True)] if end.refused else []
        if not (end.blocked or refused):
            return None
        at = checkpoint.position if checkpoint else end.claimed.position
        return channel_cursors.add(connection, cursor, relay, at, [*end.blocked, *refused])
    if end.blocked or checkpoint is not None:
        delivered = checkpoint is not None and checkpoint.messages > 0
        channel_cursors.note(connection, cursor, end.blocked, delivered=delivered)
    return None


def write(
    connection: Connection, relay: str, checkpoints: Sequence[tuple[Cursor, Next]]
) -> Written:
    """Writes a checkpoint for each of the cursors, in the transaction that is under way."""
    places = [columns(checkpoint.position) for _, checkpoint in checkpoints]
    values: dict[str, object] = {name: [place[name] for place in places] for name in places[0]}
    values |= {
        "relay": relay,
        "cursor": [cursor.id for cursor, _ in checkpoints],
        "n": [checkpoint.n for _, checkpoint in checkpoints],
        "token": [checkpoint.token for _, checkpoint in checkpoints],
        "messages": [checkpoint.messages for _, checkpoint in checkpoints],
        "bytes": [checkpoint.bytes for _, checkpoint in checkpoints],
        "failures": [checkpoint.failures for _, checkpoint in checkpoints],
    }
    return connection.execute(CHECKPOINT, values)


def merge(connection: Connection, cursor: Cursor, relay: str, checkpoint: Next) -> list[int]:
    """Merges the channel cursors that stand where this one stands, and commits; returns their ids.

    `checkpoint` stands where the latest one does: by it another relay sees that it came too late.
    """
    with connection.pipeline():
        merged = channel_cursors.merge(connection, cursor)
        write(connection, relay, [(cursor, checkpoint)])
        connection.execute("commit")
    row = merged.fetchone()
    return list(row[0]) if row else []
