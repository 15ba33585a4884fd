"""Which cursors have work. A probe writes nothing."""

from typing import Any

import psycopg

from relay.database import Connection, demand_writable
from relay.log.cursor import Cursor, SinkSettings
from relay.log.session import set_local

# `priority` and `id` name the index by xid, `priority::integer` and `id + 0` the one by id: see
# their definition. The rows of a transaction that goes on are not walked, however many they are:
# what is fresh is asked for between the transactions in progress (see outbox.finished_ranges), once
# for each priority, and of what was open in `seen` only what is over by now is looked for. Each arm
# of "not visible in `seen`" is an EXISTS of its own: in one WHERE with OR they would read the whole
# table. The snapshot of now is a subquery: for a thousand open transactions it would else be made a
# thousand times. A channel cursor that waits for its topic is left out before Postgres looks
# anything up for it: there may be many. One that does not wait has work until it is merged, and its
# origin has when that can be done.
PROBE = """
with standing as materialized (
    select c.id, c.subscription_id, s.name, s.kind, c.shard, c.priority, c.channel, k.n, k.relay,
           c.waiting_reason, c.waiting_since, s.delivery, s.settings, s.channels, s.made_by,
           k.seen, k.target
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
       c.delivery, coalesce(c.settings ->> 'topic_prefix', ''),
       outbox.connector_topic(c.settings, c.channels), outbox.other_cluster(c.settings), c.made_by
from standing c
where c.target is not null
   or c.waiting_since is not null
   or case when c.channel is not null then outbox.channel_cursor_target(c.id, c.seen) is not null
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
    columns: list[Any] = [*row[:-5], SinkSettings(*row[-5:-1]), row[-1]]
    return Cursor(*columns)
