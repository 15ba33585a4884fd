"""Cursors of one channel alone: made where its topic takes nothing or has just refused a message,
merged when they caught up.
"""

from collections.abc import Sequence
from typing import Any

import psycopg

from relay.database import Connection
from relay.log.cursor import Cursor
from relay.log.position import Position, columns
from relay.log.sink import Blocked

Written = psycopg.Cursor[Any]

# So many cursors of one subscription may wait for topics: every run of the cursor that all other
# channels share leaves their channels out. Who gets how many: outbox.channels_with_room.
MAX_WAITING = 1000

# A channel cursor begins where its origin stands: it neither loses nor repeats a message. Without a
# reason it waits for nothing. Such ones are made while there are no more than may wait.
ADD = """
with added as (
    insert into outbox.cursor
        (subscription_id, shard, priority, channel, waiting_since, waiting_reason)
    select c.subscription_id, c.shard, c.priority, missing.channel,
           case when missing.reason is not null then clock_timestamp() end, missing.reason
    from outbox.cursor c
    cross join unnest(%(channels)s::text[], %(reasons)s::text[]) as missing (channel, reason)
    where c.id = %(cursor)s
      and missing.channel in (
          select outbox.channels_with_room(%(subscription)s::bigint, %(channels)s::text[],
                                           %(temporary)s::boolean[], %(most)s::bigint))
      and (missing.reason is not null
           or %(most)s::bigint > (select count(*) from outbox.cursor known
                                  where known.subscription_id = %(subscription)s::bigint
                                    and known.channel is not null))
    returning id, channel
),
placed as (
    insert into outbox.checkpoint (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
    select added.id, 0, %(seen)s::pg_snapshot, %(target)s::pg_snapshot, %(after_id)s,
           %(fresh_id)s, %(upto_id)s, %(relay)s
    from added
)
select channel from added
"""

# Written when a channel cursor begins to wait, when the reason changes, or when it flows again; not
# in between. Since when it waits is kept through attempts that deliver nothing.
WAIT = """
update outbox.cursor
set waiting_since = case when %(reason)s::text is null then null
                         when %(delivered)s::boolean then clock_timestamp()
                         else coalesce(waiting_since, clock_timestamp()) end,
    waiting_reason = %(reason)s::text
where id = %(cursor)s
  and (waiting_reason is distinct from %(reason)s::text or %(delivered)s::boolean)
"""

MERGE = "select outbox.merge_channel_cursors(%(cursor)s)"


def add(
    connection: Connection,
    cursor: Cursor,
    relay: str,
    position: Position,
    blocked: Sequence[Blocked],
) -> Written:
    """Makes a cursor for each blocked channel, as far as there is room; returns their channels."""
    values = {
        "cursor": cursor.id,
        "subscription": cursor.subscription_id,
        "relay": relay,
        "channels": [one.channel for one in blocked],
        "reasons": [one.reason for one in blocked],
        "temporary": [one.temporary for one in blocked],
        "most": MAX_WAITING,
        **columns(position),
    }
    return connection.execute(ADD, values)


def note(
    connection: Connection, cursor: Cursor, blocked: Sequence[Blocked], *, delivered: bool
) -> None:
    """Notes at a channel cursor what it waits for, or that it flows, where that has changed.

    After a run that came further, or whose channel is blocked; `delivered`: messages arrived.
    """
    reason = blocked[0].reason if blocked else None
    changed = delivered or reason != cursor.waiting_reason if blocked else cursor.waits
    if changed:
        values = {"cursor": cursor.id, "reason": reason, "delivered": delivered}
        connection.execute(WAIT, values)


def merge(connection: Connection, cursor: Cursor) -> Written:
    """Merges the channel cursors that stand where this one stands; returns a list of their ids."""
    return connection.execute(MERGE, {"cursor": cursor.id})
