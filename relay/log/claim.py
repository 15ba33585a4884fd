"""The begin of a run: one relay takes cursors and reads where they stand.

reading.py reads on from there, and checkpoint.py ends the run.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, LiteralString

import msgspec
import psycopg

from relay.database import Connection, demand_writable
from relay.log.cursor import Cursor, SinkSettings
from relay.log.filters import Filter
from relay.log.known_filters import KnownFilters
from relay.log.position import Delta, Position, begin_delta, empty_delta, position_of
from relay.log.session import set_local


class Origin(msgspec.Struct, frozen=True):
    """Which database a cursor belongs to, and how far its log had to be on disk at the claim.

    `note_key` seals what is noted of it elsewhere, in hexadecimal digits.
    """

    installation: str
    note_key: str
    timeline: str
    insert_lsn: str


class Claimed(msgspec.Struct, frozen=True):
    """What the claiming transaction read of a cursor. `position` has no delta where nothing is new.

    `n`, `token` and `relay` are of its latest checkpoint. `due`: a delivery row is.
    `replaying`: some of the delta was delivered before. `divided`: channel cursors read some of its
    channels. `merging`: some have come to where it stands, between deltas. `noted`: its
    subscription says what it waits for. `origin` is there for exactly once. `besides` is the
    cursor's row of the statement that was given to the claim.
    """

    cursor: Cursor
    n: int
    token: int
    relay: str
    position: Position
    filter: Filter
    shards: int
    due: bool
    replaying: bool
    divided: bool
    merging: bool
    noted: bool
    origin: Origin | None
    besides: tuple[Any, ...] | None = None


# The row lock is the lease: Postgres gives it back the moment its holder's session ends. NO KEY, so
# that rows may refer to the cursor meanwhile. Who comes second leaves the cursor out and does not
# wait, so that the order in which they are locked makes no deadlock.
CLAIM = """
select c.id from outbox.cursor c
join outbox.subscription s on s.id = c.subscription_id
where c.id = any (%(cursors)s::bigint[]) and not s.paused
for no key update of c skip locked
"""

# A statement of its own, after the lock is held: joined into the claim it would read the checkpoint
# by a snapshot taken before the lock, one run old, and that run would go out twice. A delta begins
# at the snapshot of the statement that also reads the subscription, so that a filter that changes
# meanwhile loses nothing; a channel cursor's goes no further than the cursor that it will be merged
# into. What is new is asked once for each place where cursors stand, however many stand there.
# The run's own transaction is in progress in that snapshot: its end may write events.
# A filter that the session knows by the version of its subscription's row is not read again.
# What `insert_lsn` says was read after that snapshot was taken: every commit that the snapshot
# shows lies below it.
POSITION = """
with k as materialized (
    select c.id, c.subscription_id, c.shard, c.priority, c.channel,
           k.n, k.token, k.relay, k.seen, k.target, k.after_id, k.fresh_id, k.upto_id
    from outbox.cursor c
    cross join lateral (
        select n, token, relay, seen, target, after_id, fresh_id, upto_id
        from outbox.checkpoint where cursor_id = c.id order by n desc limit 1
    ) k
    where c.id = any (%(cursors)s::bigint[])
), place as materialized (
    select distinct k.priority, k.seen::text as seen from k where k.target is null
), news as materialized (
    select place.priority, place.seen, fresh.least_id as fresh_id, late.least_id as late_id,
           greatest(fresh.greatest_id, late.greatest_id) as upto_id
    from place
    left join lateral (
        select min(m.least_id) as least_id, max(m.greatest_id) as greatest_id
        from outbox.finished_ranges(pg_snapshot_xmax(place.seen::pg_snapshot)) as finished
        cross join lateral (
            select min(m.id) as least_id, max(m.id) as greatest_id from outbox.message m
            where m.priority = place.priority
              and m.xid >= finished.from_xid and m.xid < finished.before_xid
        ) m
    ) fresh on true
    left join lateral (
        select min(m.id) as least_id, max(m.id) as greatest_id from outbox.message m
        where m.priority = place.priority
          and m.xid = any (array(
              select x from pg_snapshot_xip(place.seen::pg_snapshot) as x
              where pg_visible_in_snapshot(x, (select pg_current_snapshot()))))
    ) late on true
)
select k.id, s.delivery, coalesce(s.settings ->> 'topic_prefix', ''),
       outbox.connector_topic(s.settings, s.channels), outbox.other_cluster(s.settings),
       k.n, k.token, k.relay, k.seen::text,
       coalesce(k.target, case when k.channel is null then (select outbox.current_snapshot())
                          else outbox.channel_cursor_target(k.id, k.seen) end)::text,
       k.after_id,
       coalesce(k.fresh_id, news.fresh_id), news.late_id, coalesce(k.upto_id, news.upto_id),
       s.xmin::text,
       case when known.version is null then s.channels end,
       case when known.version is null then s.types end, s.shards,
       exists (select from outbox.delivery d
               where d.cursor_id = k.id and d.due_at <= (select clock_timestamp())),
       k.target is not null
       and exists (select from outbox.replay r
                   where r.cursor_id = k.id and r.delta::text = k.target::text),
       k.channel is null
       and exists (select from outbox.cursor f
                   where f.subscription_id = k.subscription_id and f.shard = k.shard
                     and f.priority = k.priority and f.channel is not null),
       k.channel is null and k.target is null
       and exists (select from outbox.cursor f
                   cross join lateral (
                       select fk.seen, fk.target from outbox.checkpoint fk
                       where fk.cursor_id = f.id order by fk.n desc limit 1
                   ) fk
                   where f.subscription_id = k.subscription_id and f.shard = k.shard
                     and f.priority = k.priority and f.channel is not null
                     and f.waiting_since is null
                     and fk.target is null and fk.seen::text = k.seen::text
                     and not exists (select from outbox.delivery d where d.cursor_id = f.id)),
       s.waiting_since is not null,
       case when s.delivery = 'exactly_once' then array[
           (select i.id::text from outbox.installation i),
           (select encode(i.note_key, 'hex') from outbox.installation i),
           substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
           pg_current_wal_insert_lsn()::text] end
from k
join outbox.subscription s on s.id = k.subscription_id
left join unnest(%(known)s::text[]) as known (version) on known.version = s.id || ' ' || s.xmin
left join news on news.priority = k.priority and news.seen = k.seen::text and k.target is null
"""


class Asked:
    """A claim whose statements are on their way: in a pipeline, which may hold more."""

    def __init__(
        self,
        connection: Connection,
        cursors: Sequence[Cursor],
        relay: str,
        timeout_seconds: float,
        known: KnownFilters,
        besides: LiteralString | None = None,
    ) -> None:
        """See `claim`. Filters that are `known` over this connection are not read again."""
        self._connection = connection
        self._known = known
        self._cursors = {cursor.id: cursor for cursor in cursors}
        first = cursors[0]
        name = f"outbox-relay {relay} cursor {first.id}"
        if len(cursors) > 1:
            name += f" +{len(cursors) - 1}"
        durable = first.sink_settings.exactly_once
        parameters = {
            "cursors": list(self._cursors),
            "known": known.versions(cursor.subscription_id for cursor in cursors),
        }
        connection.execute("begin isolation level read committed read write")
        self._server = set_local(connection, name, timeout_seconds, durable=durable)
        self._held = connection.execute(CLAIM, parameters, prepare=True)
        self._found = connection.execute(POSITION, parameters, prepare=True)
        self._besides = None
        if besides is not None:
            self._besides = connection.execute(besides, parameters, prepare=True)

    def claimed(self) -> list[Claimed]:
        """The answer, once the pipeline is over. Without a cursor the transaction is over, too."""
        demand_writable(self._server.fetchone())
        held = {cursor_id for (cursor_id,) in self._held.fetchall()}
        besides = {}
        if self._besides is not None:
            besides = {cursor_id: tuple(rest) for cursor_id, *rest in self._besides.fetchall()}
        claimed = []
        for cursor_id, *columns in self._found.fetchall():
            cursor = self._cursors[cursor_id]
            if (
                cursor_id in held
                and SinkSettings(*columns[:4]) == cursor.sink_settings
                # Its subscription was deleted between the statements.
                and (self._besides is None or cursor_id in besides)
            ):
                claimed.append(_claimed(self._known, cursor, besides.get(cursor_id), *columns[4:]))
        if not claimed:
            leave(self._connection)
        return claimed


def claim(
    connection: Connection,
    cursors: Sequence[Cursor],
    relay: str,
    timeout_seconds: float,
    besides: LiteralString | None = None,
) -> list[Claimed]:
    """Begins the run's transaction and takes those of the cursors that no other relay has.

    None as well whose sink settings are no longer those of the probe. The transaction is left open
    where there is any. A holder that does nothing for `timeout_seconds` loses its session and with
    it the locks. `besides` is read in the same round trip, of %(cursors)s: a row for each with its
    id in the first column.
    """
    with connection.pipeline():
        asked = Asked(connection, cursors, relay, timeout_seconds, KnownFilters(), besides)
    return asked.claimed()


def _claimed(
    known: KnownFilters,
    cursor: Cursor,
    besides: tuple[Any, ...] | None,
    n: int,
    token: int,
    written_by: str,
    seen: str,
    target: str | None,
    after_id: int | None,
    fresh_id: int | None,
    late_id: int | None,
    upto_id: int | None,
    version: str,
    channels: list[str] | None,
    types: list[str] | None,
    shards: int,
    due: bool,
    replaying: bool,
    divided: bool,
    merging: bool,
    noted: bool,
    origin: list[str] | None,
) -> Claimed:
    """Of the columns of POSITION behind those of the sink, in their order."""
    return Claimed(
        cursor=cursor,
        n=n,
        token=token,
        relay=written_by,
        position=_position(cursor, seen, target, after_id, fresh_id, late_id, upto_id),
        filter=known.filter(cursor.subscription_id, version, channels, types),
        shards=shards,
        due=due,
        replaying=replaying,
        divided=divided,
        merging=merging,
        noted=noted,
        origin=Origin(*origin) if origin else None,
        besides=besides,
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


def delta_of(claimed: Claimed) -> Delta:
    """That of one that has some."""
    assert claimed.position.delta is not None
    return claimed.position.delta


def has_work(claimed: Claimed) -> bool:
    """Whether a run of it would do anything."""
    return claimed.position.delta is not None or claimed.due or claimed.merging


def leave(connection: Connection) -> None:
    """Ends a transaction that wrote nothing. Not by ROLLBACK: psycopg forgets what it prepared."""
    connection.execute("commit")


def give_up(connection: Connection) -> None:
    """Ends the run's transaction without a trace, and lets the lock go.

    What was sent and not acknowledged must have been purged before.
    """
    with suppress(psycopg.OperationalError):
        connection.execute("rollback")
