"""The protocol of a cursor over the log: probe and claim; reading.py and checkpoint.py go on.

The log commits out of order, so a position in it is no id: it is a snapshot. Every message visible
in `seen` is done; a delta is what a later snapshot `target` shows besides. Inside one delta id
order is right for a group, because a writer of the same group saw the earlier message commit before
it drew its own id.
"""

from contextlib import suppress
from typing import Any, LiteralString

import msgspec
import psycopg

from relay.database import SETTINGS, Connection, demand_writable


class SinkSettings(msgspec.Struct, frozen=True):
    """How a subscription wants its messages: what a sink is made for."""

    delivery: str = "at_least_once"
    topic_prefix: str = ""

    @property
    def exactly_once(self) -> bool:
        return self.delivery == "exactly_once"


class Cursor(msgspec.Struct, frozen=True):
    """One cursor of one subscription; a channel cursor, of one channel alone, has a `channel`.

    `n` and `relay` are of its latest checkpoint when it was probed. `waiting_reason` and
    `waiting_seconds` are there while its topic is missing.
    """

    id: int
    subscription_id: int
    subscription: str
    kind: str
    shard: int
    priority: int
    channel: str | None
    n: int
    relay: str
    waiting_reason: str | None
    waiting_seconds: float | None
    sink_settings: SinkSettings

    @property
    def waits(self) -> bool:
        """Whether its topic was missing when it was last tried."""
        return self.waiting_reason is not None


class Position(msgspec.Struct, frozen=True):
    """A delta under way, as the latest checkpoint left it or as it was just begun.

    Done are the messages up to `after_id`: first the late ones below `fresh_id`, then the range
    from `fresh_id` to `upto_id`.
    """

    seen: str
    target: str
    after_id: int
    fresh_id: int
    upto_id: int


class Origin(msgspec.Struct, frozen=True):
    """Which database a cursor belongs to, and how far its log had to be on disk at the claim."""

    installation: str
    timeline: str
    insert_lsn: str


class Claimed(msgspec.Struct, frozen=True):
    """What the claiming transaction read of a cursor. `position` is None where nothing is new.

    `n`, `token`, `relay` and `seen` are of its latest checkpoint. `due`: a delivery row is.
    `replaying`: some of the delta was delivered before. `merging`: channel cursors have come to
    where it stands, between deltas. `noted`: its subscription says what it waits for. `origin` is
    there for exactly once. `besides` is the row of the statement that was given to the claim.
    """

    n: int
    token: int
    relay: str
    seen: str
    position: Position | None
    channels: list[str] | None
    types: list[str] | None
    shards: int
    due: bool
    replaying: bool
    merging: bool
    noted: bool
    origin: Origin | None
    besides: tuple[Any, ...] | None = None


# For this transaction only, since a pooler hands the session on. The planner knows nothing of xid8
# and would read the whole table: these keep every statement on its one index. A relay that freezes
# loses its lock by the two timeouts: idle in transaction, or in the middle of a stream. And nobody
# waits for the disk where a checkpoint that a crash of Postgres takes back is a run that is
# repeated; exactly once waits: of two runs that were taken back Kafka's cursor could mend only one.
SET_LOCAL: LiteralString = (
    SETTINGS
    + """,
       pg_catalog.set_config('enable_seqscan', 'off', true),
       pg_catalog.set_config('enable_bitmapscan', 'off', true),
       pg_catalog.set_config('jit', 'off', true),
       pg_catalog.set_config('max_parallel_workers_per_gather', '0', true),
       pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),
       pg_catalog.set_config('statement_timeout', '10min', true),
       pg_catalog.set_config('lock_timeout', '2s', true),
       pg_catalog.set_config('synchronous_commit', %(synchronous_commit)s, true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', %(timeout)s, true),
       pg_catalog.set_config('tcp_user_timeout', %(timeout)s, true),
       pg_catalog.set_config('application_name', %(name)s, true)
"""
)


def set_local(
    connection: Connection, name: str, timeout_seconds: float, *, durable: bool = False
) -> psycopg.Cursor[Any]:
    """The settings, and `name` as the application's, until the transaction ends.

    `durable`: its commit is on this server's disk when it returns. What comes back says whether the
    server takes writes: see `demand_writable`.
    """
    settings = {
        "name": name,
        "timeout": f"{round(timeout_seconds * 1000)}ms",
        "synchronous_commit": "local" if durable else "off",
    }
    return connection.execute(SET_LOCAL, settings)


# `priority` and `id` name the index by xid, `priority::integer` and `id + 0` the one by id: see
# their definition. Nobody walks the rows of a transaction that goes on, however many they are: what
# is fresh is asked for between the transactions in progress (see outbox.finished_ranges), once for
# each priority, and of what was open in `seen` only what is over by now is looked for. Each arm of
# "not visible in `seen`" is an EXISTS of its own: in one WHERE with OR they would read the whole
# table. The snapshot of now is a subquery: for a thousand open transactions it would else be made a
# thousand times.
# A channel cursor that waits for its topic is left out before Postgres looks anything up for it:
# there may be many.
# One that does not wait has work until it is merged, and its origin has when that can be done.
PROBE = """
with standing as materialized (
    select c.id, c.subscription_id, s.name, s.kind, c.shard, c.priority, c.channel, k.n, k.relay,
           c.waiting_reason, c.waiting_since, s.delivery, s.settings, k.seen, k.target
    from outbox.subscription s
    join outbox.cursor c on c.subscription_id = s.id
    left join outbox.breaker b on b.subscription_id = s.id
    cross join lateral (
        select k.n, k.relay, k.seen, k.target
        from outbox.checkpoint k where k.cursor_id = c.id order by k.n desc limit 1
    ) k
    where not s.paused
      and (b.retry_at is null or b.retry_at <= (select clock_timestamp()))
      and (%(waiting)s::boolean or c.waiting_since is null)
      and (%(subscription)s::bigint is null or s.id = %(subscription)s::bigint)
), newest as materialized (
    select class.priority, fresh.xid
    from generate_series(1, 5) as class (priority)
    cross join lateral (
        select m.xid
        from outbox.finished_ranges((
            select pg_snapshot_xmax(seen) as xmax from standing order by xmax limit 1)) as finished
        cross join lateral (
            select m.xid from outbox.message m
            where m.priority = class.priority::smallint
              and m.xid >= finished.from_xid and m.xid < finished.before_xid
            order by m.xid desc
            limit 1
        ) m
        order by m.xid desc
        limit 1
    ) fresh
)
select c.id, c.subscription_id, c.name, c.kind, c.shard, c.priority, c.channel,
       c.n, c.relay, c.waiting_reason,
       extract(epoch from clock_timestamp() - c.waiting_since)::float8,
       c.delivery, coalesce(c.settings ->> 'topic_prefix', '')
from standing c
where c.target is not null
   or c.waiting_since is not null
   or case when c.channel is not null then outbox.fork_target(c.id, c.seen) is not null
      else exists (select from newest
                   where newest.priority = c.priority
                     and newest.xid >= pg_snapshot_xmax(c.seen))
        or exists (select from outbox.message m
                   where m.priority = c.priority
                     and m.xid = any (array(
                         select x from pg_snapshot_xip(c.seen) as x
                         where pg_visible_in_snapshot(x, (select pg_current_snapshot())))))
        or exists (select from outbox.cursor f
                   cross join lateral (
                       select fk.seen, fk.target from outbox.checkpoint fk
                       where fk.cursor_id = f.id order by fk.n desc limit 1
                   ) fk
                   where f.subscription_id = c.subscription_id and f.shard = c.shard
                     and f.priority = c.priority and f.channel is not null
                     and f.waiting_since is null
                     and fk.target is null and fk.seen::text = c.seen::text
                     and not exists (select from outbox.delivery d
                                     where d.cursor_id = f.id))
      end
   or exists (select from outbox.delivery d
              where d.cursor_id = c.id and d.due_at <= (select clock_timestamp()))
   or c.id in (select r.cursor_id from outbox.rescheduling r)
order by c.priority, c.shard, c.id
"""


def probe(
    connection: Connection,
    relay: str,
    subscription_id: int | None = None,
    *,
    waiting: bool = False,
) -> list[Cursor]:
    """The cursors that have work, the most urgent first; of one subscription where given.

    With `waiting` also those that wait for their topic. Writes nothing: no transaction id, no WAL.
    """
    # A pipeline is one transaction, and needs no BEGIN to be one.
    with connection.pipeline():
        server = set_local(connection, f"outbox-relay {relay}", timeout_seconds=60)
        found = _look(connection, subscription_id, waiting=waiting)
    # Nothing is ever new on a server that takes no writes.
    demand_writable(server.fetchone())
    return [_cursor(row) for row in found.fetchall()]


def pending(connection: Connection, subscription_id: int) -> list[Cursor]:
    """The same of one subscription, in a transaction that holds one of them."""
    found = _look(connection, subscription_id, waiting=False)
    return [_cursor(row) for row in found.fetchall()]


def _look(
    connection: Connection, subscription_id: int | None, *, waiting: bool
) -> psycopg.Cursor[Any]:
    parameters = {"subscription": subscription_id, "waiting": waiting}
    return connection.execute(PROBE, parameters, prepare=True)


def _cursor(row: tuple[Any, ...]) -> Cursor:
    columns: list[Any] = [*row[:-2], SinkSettings(delivery=row[-2], topic_prefix=row[-1])]
    return Cursor(*columns)


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
# meanwhile loses nothing; a channel cursor's goes no further than the cursor that it will be merged
# into.
# What `insert_lsn` says was read after that snapshot was taken: every commit that the snapshot
# shows lies below it.
POSITION = """
with k as materialized (
    select n, token, relay, seen, target, after_id, fresh_id, upto_id
    from outbox.checkpoint
    where cursor_id = %(cursor)s::bigint
    order by n desc
    limit 1
)
select s.delivery, coalesce(s.settings ->> 'topic_prefix', ''), k.n, k.token, k.relay,
       k.seen::text,
       coalesce(k.target, case when c.channel is null then pg_current_snapshot()
                          else outbox.fork_target(c.id, k.seen) end)::text,
       k.after_id,
       case when k.target is null then fresh.least_id else k.fresh_id end,
       late.least_id,
       case when k.target is null then greatest(fresh.greatest_id, late.greatest_id)
       else k.upto_id end,
       s.channels, s.types, s.shards,
       exists (select from outbox.delivery d
               where d.cursor_id = c.id and d.due_at <= (select clock_timestamp())),
       k.target is not null
       and exists (select from outbox.replay r
                   where r.cursor_id = c.id and r.delta::text = k.target::text),
       c.channel is null and k.target is null
       and exists (select from outbox.cursor f
                   cross join lateral (
                       select fk.seen, fk.target from outbox.checkpoint fk
                       where fk.cursor_id = f.id order by fk.n desc limit 1
                   ) fk
                   where f.subscription_id = c.subscription_id and f.shard = c.shard
                     and f.priority = c.priority and f.channel is not null
                     and f.waiting_since is null
                     and fk.target is null and fk.seen::text = k.seen::text
                     and not exists (select from outbox.delivery d where d.cursor_id = f.id)),
       s.waiting_since is not null,
       case when s.delivery = 'exactly_once' then array[
           (select i.id::text from outbox.installation i),
           substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
           pg_current_wal_insert_lsn()::text] end
from k
join outbox.cursor c on c.id = %(cursor)s::bigint
join outbox.subscription s on s.id = c.subscription_id
left join lateral (
    select min(m.least_id) as least_id, max(m.greatest_id) as greatest_id
    from outbox.finished_ranges(pg_snapshot_xmax(k.seen)) as finished
    cross join lateral (
        select min(m.id) as least_id, max(m.id) as greatest_id from outbox.message m
        where m.priority = c.priority
          and m.xid >= finished.from_xid and m.xid < finished.before_xid
    ) m
) fresh on k.target is null
left join lateral (
    select min(m.id) as least_id, max(m.id) as greatest_id from outbox.message m
    where m.priority = c.priority
      and m.xid = any (array(
          select x from pg_snapshot_xip(k.seen) as x
          where pg_visible_in_snapshot(x, (select pg_current_snapshot()))))
) late on k.target is null
"""


def claim(
    connection: Connection,
    cursor: Cursor,
    relay: str,
    timeout_seconds: float,
    besides: LiteralString | None = None,
) -> Claimed | None:
    """Begins the run's transaction and takes the cursor; None where another relay has it.

    None as well where the sink settings are no longer those of the probe. The transaction is
    left open. A holder that does nothing for `timeout_seconds` loses its session and with it the
    lock. `besides` is read in the same round trip, of %(cursor)s and %(subscription)s.
    """
    name = f"outbox-relay {relay} cursor {cursor.id}"
    parameters = {"cursor": cursor.id, "subscription": cursor.subscription_id}
    read = None
    with connection.pipeline():
        connection.execute("begin isolation level read committed read write")
        server = set_local(
            connection, name, timeout_seconds, durable=cursor.sink_settings.exactly_once
        )
        held = connection.execute(CLAIM, parameters, prepare=True)
        found = connection.execute(POSITION, parameters, prepare=True)
        if besides is not None:
            read = connection.execute(besides, parameters, prepare=True)
    demand_writable(server.fetchone())
    if not held.rowcount:
        leave(connection)
        return None
    row = found.fetchone()
    assert row is not None, f"cursor {cursor.id} has no checkpoint"
    delivery, topic_prefix, n, token, written_by, *where = row
    *where, channels, types, shards, due, replaying, merging, noted, origin = where
    if SinkSettings(delivery, topic_prefix) != cursor.sink_settings:
        leave(connection)
        return None
    return Claimed(
        n=n,
        token=token,
        relay=written_by,
        seen=where[0],
        position=_position(cursor, *where),
        channels=channels,
        types=types,
        shards=shards,
        due=due,
        replaying=replaying,
        merging=merging,
        noted=noted,
        origin=Origin(*origin) if origin else None,
        besides=read.fetchone() if read is not None else None,
    )


def _position(
    cursor: Cursor,
    seen: str,
    target: str | None,
    after_id: int | None,
    fresh_id: int | None,
    late_id: int | None,
    upto_id: int | None,
) -> Position | None:
    """Of a delta under way, or of one that begins at the lowest of the late and the fresh ids.

    None where nothing is new, and for a channel cursor that has come as far as it may.
    """
    if target is None:
        return None
    if after_id is not None:
        assert fresh_id is not None
        assert upto_id is not None
        return Position(seen, target, after_id, fresh_id, upto_id)
    upto_id = upto_id or 0
    if fresh_id is None and late_id is None:
        # A channel cursor goes there all the same, to be merged.
        nothing = Position(seen, target, upto_id, upto_id + 1, upto_id)
        return nothing if cursor.channel is not None else None
    fresh_id = upto_id + 1 if fresh_id is None else fresh_id
    first_id = fresh_id if late_id is None else min(fresh_id, late_id)
    return Position(seen, target, first_id - 1, fresh_id, upto_id)


def leave(connection: Connection) -> None:
    """Ends a transaction that wrote nothing. Not by ROLLBACK: psycopg forgets what it prepared."""
    connection.execute("commit")


def give_up(connection: Connection) -> None:
    """Ends the run's transaction without a trace, and lets the lock go.

    Whatever was sent and not acknowledged must have been purged before.
    """
    with suppress(psycopg.OperationalError):
        connection.execute("rollback")
