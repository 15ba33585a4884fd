"""The protocol of a cursor over the log: probe, claim, read, checkpoint.

The log commits out of order, so a position in it is no id: it is a snapshot. Every message visible
in `seen` is done; a delta is what a later snapshot `target` shows besides. Inside one delta id
order is right for a group, because a writer of the same group saw the earlier message commit before
it drew its own id.
"""

import time
from collections.abc import Generator
from contextlib import closing, suppress
from typing import LiteralString

import msgspec
import psycopg
from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader

from relay.database import Connection
from relay.sink import Dead, Outcome, Row

# What bounds a run.
RUN_MESSAGES = 20_000
RUN_BYTES = 16_000_000
RUN_SECONDS = 1.0
# Rows that arrive together: 64 of the largest messages are 63 MB.
CHUNK_ROWS = 64
# How far one statement walks: a filter that leaves everything out must not read the whole log, and
# late messages are sorted.
SPAN_IDS = 100_000
LATE_SPAN_IDS = 20_000


class Cursor(msgspec.Struct, frozen=True):
    """One cursor of one subscription; with a `channel` where it was forked for that one alone."""

    id: int
    subscription_id: int
    subscription: str
    kind: str
    shard: int
    priority: int
    channel: str | None


class Position(msgspec.Struct, frozen=True):
    """A delta under way, as checkpoint `n` left it or as it was just begun.

    Done are the messages up to `after_id`: first the late ones below `fresh_id`, then the range
    from `fresh_id` to `upto_id`.
    """

    n: int
    seen: str
    target: str
    after_id: int
    fresh_id: int
    upto_id: int


class Claimed(msgspec.Struct, frozen=True):
    """What the claiming transaction read of a cursor. `position` is None where nothing is new."""

    position: Position | None
    channels: list[str] | None
    shards: int
    forked_channels: list[str]
    redriven: bool


# For this transaction only, since a pooler hands the session on. The planner knows nothing of xid8
# and would read the whole table: these keep every statement on its one index. A relay that freezes
# loses its lock by the two timeouts: idle in transaction, or in the middle of a stream. And nobody
# waits for the disk: a checkpoint that a crash of Postgres takes back is a run that is repeated.
SET_LOCAL = """
select set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true),
       set_config('jit', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true),
       set_config('plan_cache_mode', 'force_generic_plan', true),
       set_config('statement_timeout', '10min', true),
       set_config('lock_timeout', '10s', true),
       set_config('synchronous_commit', 'off', true),
       set_config('idle_in_transaction_session_timeout', %(timeout)s, true),
       set_config('tcp_user_timeout', %(timeout)s, true),
       set_config('application_name', %(name)s, true)
"""


def _set_local(connection: Connection, name: str, timeout_seconds: float) -> None:
    timeout = f"{round(timeout_seconds * 1000)}ms"
    connection.execute(SET_LOCAL, {"name": name, "timeout": timeout})


# `priority` and `id` name the index by xid, `priority::integer` and `id + 0` the one by id: see
# their definition. Each arm of "not visible in `seen`" is an EXISTS of its own: in one WHERE with
# OR they would read the whole table. Of what was open in `seen`, only what is over by now is looked
# for: the rows of a long transaction that goes on would be walked at every poll.
PROBE = """
select c.id, c.subscription_id, s.name, s.kind, c.shard, c.priority, c.channel
from outbox.subscription s
join outbox.cursor c on c.subscription_id = s.id
cross join lateral (
    select k.seen, k.target
    from outbox.checkpoint k where k.cursor_id = c.id order by k.n desc limit 1
) k
where not s.paused
  and (k.target is not null
       or exists (select from outbox.message m
                  where m.priority = c.priority and m.xid >= pg_snapshot_xmax(k.seen))
       or exists (select from outbox.message m
                  where m.priority = c.priority
                    and m.xid = any (array(
                        select x from pg_snapshot_xip(k.seen) as x
                        where pg_visible_in_snapshot(x, pg_current_snapshot()))))
       or exists (select from outbox.delivery d
                  where d.cursor_id = c.id and d.due_at <= (select clock_timestamp())))
  and (%(subscription)s::bigint is null or s.id = %(subscription)s::bigint)
order by c.priority, c.shard, c.id
"""


def probe(connection: Connection, name: str, subscription_id: int | None = None) -> list[Cursor]:
    """The cursors that have work, the most urgent first; of one subscription where given.

    Writes nothing: no transaction id, no WAL.
    """
    # A pipeline is one transaction, and needs no BEGIN to be one.
    with connection.pipeline():
        _set_local(connection, name, timeout_seconds=60)
        found = connection.execute(PROBE, {"subscription": subscription_id}, prepare=True)
    return [Cursor(*row) for row in found.fetchall()]


# The row lock is the lease: Postgres gives it back the moment its holder's session ends. NO KEY, so
# that rows may refer to the cursor meanwhile.
CLAIM = """
select from outbox.cursor c
join outbox.subscription s on s.id = c.subscription_id
where c.id = %(cursor)s::bigint and not s.paused
for no key update of c skip locked
"""

# A statement of its own, after the lock is held: joined into the claim it would read the checkpoint
# by a snapshot taken before the lock, one run old, and that run would go out twice. A delta begins
# at the snapshot of the statement that also reads the subscription, so that a filter that changes
# meanwhile loses nothing.
POSITION = """
with k as materialized (
    select n, seen, target, after_id, fresh_id, upto_id
    from outbox.checkpoint
    where cursor_id = %(cursor)s::bigint
    order by n desc
    limit 1
)
select k.n, k.seen::text, coalesce(k.target, pg_current_snapshot())::text, k.after_id,
       case when k.target is null then (
           select min(m.id) from outbox.message m
           where m.priority = c.priority and m.xid >= pg_snapshot_xmax(k.seen))
       else k.fresh_id end,
       case when k.target is null then (
           select min(m.id) from outbox.message m
           where m.priority = c.priority
             and m.xid = any (array(
                 select x from pg_snapshot_xip(k.seen) as x
                 where pg_visible_in_snapshot(x, pg_current_snapshot()))))
       end,
       case when k.target is null then (
           select max(m.id + 0) from outbox.message m
           where m.priority::integer = c.priority::integer)
       else k.upto_id end,
       s.channels, s.shards,
       array(select f.channel from outbox.cursor f
             where f.subscription_id = c.subscription_id and f.shard = c.shard
               and f.priority = c.priority and f.channel is not null),
       exists (select from outbox.delivery d
               where d.cursor_id = c.id and d.due_at <= (select clock_timestamp()))
from k
join outbox.cursor c on c.id = %(cursor)s::bigint
join outbox.subscription s on s.id = c.subscription_id
"""


def claim(
    connection: Connection, cursor: Cursor, relay: str, timeout_seconds: float
) -> Claimed | None:
    """Begins the run's transaction and takes the cursor; None where another relay has it.

    The transaction is left open. A holder that does nothing for `timeout_seconds` loses its session
    and with it the lock.
    """
    name = f"outbox-relay {relay} cursor {cursor.id}"
    parameters = {"cursor": cursor.id}
    with connection.pipeline():
        connection.execute("begin isolation level read committed")
        _set_local(connection, name, timeout_seconds)
        held = connection.execute(CLAIM, parameters, prepare=True)
        found = connection.execute(POSITION, parameters, prepare=True)
    if not held.rowcount:
        leave(connection)
        return None
    row = found.fetchone()
    assert row is not None, f"cursor {cursor.id} has no checkpoint"
    n, seen, target, after_id, fresh_id, late_id, upto_id, channels, shards, forked, redriven = row
    position = None
    if after_id is not None:
        position = Position(n, seen, target, after_id, fresh_id, upto_id)
    elif fresh_id is not None or late_id is not None:
        fresh_id = upto_id + 1 if fresh_id is None else fresh_id
        first_id = fresh_id if late_id is None else min(fresh_id, late_id)
        position = Position(n, seen, target, first_id - 1, fresh_id, upto_id)
    return Claimed(position, channels, shards, forked, redriven)


# Late messages: their transactions were open in `seen`, and are over in `target`. Few, and each
# found by its xid.
READ_LATE = """
select m.id, m.channel, m.type, m.group_key, m.idempotency_key, m.headers, m.content_type,
       m.payload, m.created_at
from outbox.message m
where m.priority = %(priority)s::smallint
  and m.xid = any (array(select x from pg_snapshot_xip(%(seen)s::pg_snapshot) as x
                         where pg_visible_in_snapshot(x, %(target)s::pg_snapshot)))
  and m.id > %(after)s::bigint
  and m.id <= %(upto)s::bigint
  and case when %(channels)s::text[] is null then m.channel not like 'outbox.%%'
           else m.channel = any (%(channels)s::text[]) end
  and m.channel <> all (%(forked)s::text[])
  and (%(channel)s::text is null or m.channel = %(channel)s::text)
  and (%(shards)s::integer = 1
       or outbox.shard_of(m.group_key, m.id, %(shards)s::integer) = %(shard)s::integer)
order by m.id
limit %(limit)s::integer
"""

# The range: everything between two ids that `target` shows and `seen` does not, streamed in the
# order of the index by id.
READ_RANGE = """
select m.id, m.channel, m.type, m.group_key, m.idempotency_key, m.headers, m.content_type,
       m.payload, m.created_at
from outbox.message m
where m.priority::integer = %(priority)s::integer
  and m.id + 0 > %(after)s::bigint
  and m.id + 0 <= %(upto)s::bigint
  and not pg_visible_in_snapshot(m.xid, %(seen)s::pg_snapshot)
  and pg_visible_in_snapshot(m.xid, %(target)s::pg_snapshot)
  and case when %(channels)s::text[] is null then m.channel not like 'outbox.%%'
           else m.channel = any (%(channels)s::text[]) end
  and m.channel <> all (%(forked)s::text[])
  and (%(channel)s::text is null or m.channel = %(channel)s::text)
  and (%(shards)s::integer = 1
       or outbox.shard_of(m.group_key, m.id, %(shards)s::integer) = %(shard)s::integer)
order by m.id + 0
limit %(limit)s::integer
"""


class Reading:
    """One run's way through the log: iterate over `rows()`, then ask `after_id` and `exhausted`.

    Ends at `limit` messages, RUN_BYTES or RUN_SECONDS, or where the sink stops taking rows.
    """

    def __init__(
        self, connection: Connection, cursor: Cursor, claimed: Claimed, limit: int
    ) -> None:
        assert claimed.position is not None
        self.connection = connection
        self.position = claimed.position
        self.after_id = claimed.position.after_id
        self.bytes = 0
        # Whether there was a stream, and whether it was ended early: then the transaction has
        # failed down to its savepoint.
        self.streamed = False
        self.cancelled = False
        self._left = limit
        self._parameters: dict[str, object] = {
            "priority": cursor.priority,
            "seen": self.position.seen,
            "target": self.position.target,
            "channels": claimed.channels,
            "forked": [] if cursor.channel else claimed.forked_channels,
            "channel": cursor.channel,
            "shards": claimed.shards,
            "shard": cursor.shard,
        }

    @property
    def exhausted(self) -> bool:
        """Whether the delta has been read to its end."""
        return self.after_id >= self.position.upto_id

    def rows(self) -> Generator[Row]:
        """The messages of this run in the order in which they have to go."""
        ends_at = time.monotonic() + RUN_SECONDS
        few = True
        while not self.exhausted and self._left > 0 and time.monotonic() < ends_at:
            late = self.after_id < self.position.fresh_id - 1
            end = self.position.fresh_id - 1 if late else self.position.upto_id
            upto = min(self.after_id + (LATE_SPAN_IDS if late else SPAN_IDS), end)
            limit = min(CHUNK_ROWS, self._left) if few else self._left
            left = limit
            size, last_id = self.bytes, self.after_id
            with closing(self._read(READ_LATE if late else READ_RANGE, upto, limit, few)) as rows:
                try:
                    for row in rows:
                        yield row
                        last_id = row[0]
                        size += len(row[7])
                        left -= 1
                        if not left & 15 and (size >= RUN_BYTES or time.monotonic() >= ends_at):
                            return
                    if left > 0:
                        last_id = upto
                finally:
                    self.after_id, self.bytes = last_id, size
            self._left -= limit - left
            few = False

    def _read(self, statement: LiteralString, upto: int, limit: int, few: bool) -> Generator[Row]:
        """Mostly there are few, and a prepared statement saves more than a stream, which is planned
        each time."""
        with self.connection.cursor(binary=True) as cursor:
            # Nothing is parsed on the way: what was written is what is sent.
            cursor.adapters.register_loader("text", ByteaBinaryLoader)
            cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
            parameters = self._parameters | {"after": self.after_id, "upto": upto, "limit": limit}
            if few:
                yield from cursor.execute(statement, parameters, prepare=True).fetchall()
                return
            # Ended early it is cancelled, which fails the transaction: down to here.
            self.connection.execute("savepoint reading")
            self.streamed = True
            try:
                yield from cursor.stream(statement, parameters, binary=True, size=CHUNK_ROWS)
            except GeneratorExit:
                self.cancelled = True
                raise


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


def leave(connection: Connection) -> None:
    """Ends a transaction that wrote nothing. Not by ROLLBACK: psycopg forgets what it prepared."""
    connection.execute("commit")


def give_up(connection: Connection) -> None:
    """Ends the run's transaction without a trace, and lets the lock go.

    Whatever was sent and not acknowledged must have been purged before.
    """
    with suppress(psycopg.OperationalError):
        connection.execute("rollback")
