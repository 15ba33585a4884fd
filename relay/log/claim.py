"""The begin of a run: one relay takes a cursor and reads where it stands.

reading.py reads on from there, and checkpoint.py ends the run.
"""

from contextlib import suppress
from typing import Any, LiteralString

import msgspec
import psycopg

from relay.database import Connection, demand_writable
from relay.log.cursor import Cursor, SinkSettings
from relay.log.position import Position, begin_delta, empty_delta, position_of
from relay.log.session import set_local


class Origin(msgspec.Struct, frozen=True):
    """Which database a cursor belongs to, and how far its log had to be on disk at the claim."""

    installation: str
    timeline: str
    insert_lsn: str


class Claimed(msgspec.Struct, frozen=True):
    """What the claiming transaction read of a cursor. `position` has no delta where nothing is new.

    `n`, `token` and `relay` are of its latest checkpoint. `due`: a delivery row is.
    `replaying`: some of the delta was delivered before. `merging`: channel cursors have come to
    where it stands, between deltas. `noted`: its subscription says what it waits for. `origin` is
    there for exactly once. `besides` is the row of the statement that was given to the claim.
    """

    n: int
    token: int
    relay: str
    position: Position
    channels: list[str] | None
    types: list[str] | None
    shards: int
    due: bool
    replaying: bool
    merging: bool
    noted: bool
    origin: Origin | None
    besides: tuple[Any, ...] | None = None


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
                          else outbox.channel_cursor_target(c.id, k.seen) end)::text,
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
) -> Position:
    """In the delta that is under way, or in a delta that begins now, where a message is new."""
    if target is None or after_id is not None:
        return position_of(seen, target, after_id, fresh_id, upto_id)
    delta = begin_delta(target, fresh_id, late_id, upto_id)
    if delta is None and cursor.channel is not None:
        # A channel cursor goes there all the same, to be merged.
        delta = empty_delta(target, upto_id)
    return Position(seen, delta)


def leave(connection: Connection) -> None:
    """Ends a transaction that wrote nothing. Not by ROLLBACK: psycopg forgets what it prepared."""
    connection.execute("commit")


def give_up(connection: Connection) -> None:
    """Ends the run's transaction without a trace, and lets the lock go.

    What was sent and not acknowledged must have been purged before.
    """
    with suppress(psycopg.OperationalError):
        connection.execute("rollback")
