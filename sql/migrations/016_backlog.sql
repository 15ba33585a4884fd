-- What the log holds that the cursors have not read. Nothing here shows a payload, a header or a setting.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Where each cursor reads on, and which messages are its own. `horizon`: what is done, or will be with the delta under
-- way. `late_xids`: the transactions that `seen` shows in progress and `target` shows over; `next_late_xids`: those that
-- `horizon` shows in progress and that are over by now. The rows of a transaction that goes on are visible to no
-- snapshot, and a query for them would walk them all. `set_aside`: the channels that have cursors of their own. For the functions that read the log as
-- a cursor does.
create view outbox.cursor_reading as
select cursor.id as cursor_id, cursor.shard, cursor.priority, cursor.channel as only_channel,
       subscription.shards, subscription.channels, subscription.types,
       latest.seen, latest.target, latest.after_id, latest.fresh_id, latest.upto_id,
       coalesce(latest.target, latest.seen) as horizon,
       array(
           select xid from pg_snapshot_xip(latest.seen) as xid where pg_visible_in_snapshot(xid, latest.target)
       ) as late_xids,
       array(
           select xid from pg_snapshot_xip(coalesce(latest.target, latest.seen)) as xid
           where pg_visible_in_snapshot(xid, (select pg_current_snapshot()))
       ) as next_late_xids,
       array(
           select channel_cursor.channel from outbox.cursor as channel_cursor
           where cursor.channel is null and channel_cursor.channel is not null
             and channel_cursor.subscription_id = cursor.subscription_id
             and channel_cursor.shard = cursor.shard and channel_cursor.priority = cursor.priority
       ) as set_aside
from outbox.cursor
join outbox.subscription on subscription.id = cursor.subscription_id
cross join lateral (
    select seen, target, after_id, fresh_id, upto_id
    from outbox.checkpoint where checkpoint.cursor_id = cursor.id order by n desc limit 1
) as latest;

-- The log beyond a cursor, in the order in which the relay will read it: first the rest of the delta under way, then
-- what its target does not see. `wanted` is false for what the cursor will pass over: another shard's, or a channel or
-- type that it or its subscription leaves out. Looks at no more than `look_at_most` messages, by the index ranges that
-- the relay uses; of a longer backlog without a delta, the first transactions stand for the lowest ids. Raises
-- no_data_found where there is no such cursor.
create function outbox.unread(cursor_id bigint, look_at_most integer)
returns table (
    message_id bigint,
    created_at timestamptz,
    channel    text,
    type       text,
    group_key  text,
    wanted     boolean
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    c outbox.cursor_reading;
begin
    select * into c from outbox.cursor_reading as reading where reading.cursor_id = unread.cursor_id;
    if not found then
        raise exception 'there is no cursor % in outbox.cursor', unread.cursor_id using errcode = 'no_data_found';
    end if;

    return query
    select log.id, log.created_at, log.channel, log.type, log.group_key,
           (c.only_channel is null or log.channel = c.only_channel)
           and not log.channel = any (c.set_aside)
           and outbox.wants(c.channels, c.types, log.channel, log.type)
           and outbox.shard_of(log.group_key, log.id, c.shards) = c.shard
    from (
        -- The delta under way; without one these two find nothing. How priority and id are spelled chooses the index.
        (select 1 as phase, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.message as m
         where priority = c.priority and xid = any (c.late_xids) and id > c.after_id and id < c.fresh_id
         order by id limit look_at_most)
        union all
        (select 1, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.message as m
         where priority::integer = c.priority::integer
           and id + 0 >= greatest(c.fresh_id, c.after_id + 1) and id + 0 <= c.upto_id
           and not pg_visible_in_snapshot(xid, c.seen) and pg_visible_in_snapshot(xid, c.target)
         order by id + 0 limit look_at_most)
        union all
        -- The next delta: late transactions, then fresh ones.
        (select 2, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.message as m
         where priority = c.priority and xid = any (c.next_late_xids)
         order by id limit look_at_most)
        union all
        (select 2, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.finished_ranges(pg_snapshot_xmax(c.horizon)) as finished
         cross join lateral (
             select message.* from outbox.message
             where priority = c.priority and xid >= finished.from_xid and xid < finished.before_xid
             order by xid, id limit look_at_most
         ) as m
         limit look_at_most)
    ) as log
    order by log.phase, log.id limit look_at_most;
end
$$;
revoke execute on function outbox.unread(bigint, integer) from public;

-- The next messages of one cursor, `place` 1 first, among the first 100,000 that it has not read.
create function outbox.pending(cursor_id bigint, at_most integer default 100)
returns table (place bigint, message_id bigint, created_at timestamptz, channel text, type text, group_key text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select row_number() over (order by unread.line), unread.message_id, unread.created_at, unread.channel,
           unread.type, unread.group_key
    from outbox.unread(pending.cursor_id, 100000) with ordinality
         as unread (message_id, created_at, channel, type, group_key, wanted, line)
    where unread.wanted
    order by unread.line
    limit at_most
$$;
revoke execute on function outbox.pending(bigint, integer) from public;

-- How many messages wait for each cursor. It looks at 100,001 messages of the log and no further; at 1,001 for a
-- channel that waits for its topic, since there may be many such channels; and at about a million for all cursors
-- together, in equal shares. Beyond that `more` is true, and `messages` and `oldest_at` are those of the messages
-- looked at.
create view outbox.cursor_backlog as
select behind.cursor_id, behind.subscription, behind.priority, behind.shard, behind.channel,
       waiting.messages, waiting.more, waiting.oldest_at
from (
    select position.*, count(*) filter (where first.is_there) over () as cursors_behind
    from outbox.cursor_position as position
    cross join lateral (
        select exists (select from outbox.unread(position.cursor_id, 1)) as is_there
    ) as first
) as behind
cross join lateral (
    select least(case when behind.waiting_since is null then 100001 else 1001 end,
                 greatest(1000000 / greatest(behind.cursors_behind, 1), 1001))::integer as messages
) as look_at
cross join lateral (
    select count(*) filter (where wanted) as messages, count(*) >= look_at.messages as more,
           min(created_at) filter (where wanted) as oldest_at
    from outbox.unread(behind.cursor_id, look_at.messages)
) as waiting;

-- The same by subscription and priority, over shards and channel cursors.
create view outbox.subscription_backlog as
select subscription, priority, sum(messages)::bigint as messages, bool_or(more) as more, min(oldest_at) as oldest_at
from outbox.cursor_backlog
group by subscription, priority;

insert into outbox.migration (version, name) values (16, 'backlog');
