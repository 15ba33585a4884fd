-- What operators and readers look at. No payload, no header, no settings: outbox_reader sees these views only.
-- The functions behind them run with their owner's rights: a view lends its owner's rights to tables, not to functions.
set search_path = pg_catalog, pg_temp;

-- The log beyond a cursor, in the order in which the relay will read it: first the rest of the delta under way, then
-- what its target does not see. `wanted` is false for what the cursor will pass over (another shard, a channel that its
-- subscription or it leaves out). Looks at no more than `look_at_most` messages, by the index ranges that the relay
-- uses; of a longer backlog without a delta, the first transactions stand for the lowest ids.
-- Raises no_data_found where there is no such cursor.
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
    c record;
begin
    select cursor.shard, cursor.priority, cursor.channel as only_channel, subscription.shards, subscription.channels,
           latest.*, coalesce(latest.target, latest.seen) as horizon,
           array(
               select fork.channel from outbox.cursor as fork
               where cursor.channel is null and fork.channel is not null
                 and fork.subscription_id = cursor.subscription_id
                 and fork.shard = cursor.shard and fork.priority = cursor.priority
           ) as forked_channels
    into c
    from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    cross join lateral (
        select seen, target, after_id, fresh_id, upto_id
        from outbox.checkpoint where checkpoint.cursor_id = cursor.id order by n desc limit 1
    ) as latest
    where cursor.id = unread.cursor_id;
    if not found then
        raise exception 'there is no cursor % in outbox.cursor', unread.cursor_id using errcode = 'no_data_found';
    end if;

    return query
    select log.id, log.created_at, log.channel, log.type, log.group_key,
           (c.only_channel is null or log.channel = c.only_channel)
           and not log.channel = any (c.forked_channels)
           and (case when c.channels is null then not starts_with(log.channel, 'outbox.')
                     else log.channel = any (c.channels) end)
           and outbox.shard_of(log.group_key, log.id, c.shards) = c.shard
    from (
        -- The delta under way; without one these two find nothing. How priority and id are spelled chooses the index.
        (select 1 as phase, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.message as m
         where priority = c.priority and xid = any (array(select pg_snapshot_xip(c.seen)))
           and id > c.after_id and id < c.fresh_id and pg_visible_in_snapshot(xid, c.target)
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
         where priority = c.priority and xid = any (array(select pg_snapshot_xip(c.horizon)))
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

-- Each cursor, where it stands, and what its subscription is called.
create view outbox.cursor_position as
select cursor.id as cursor_id, subscription.name as subscription, cursor.priority, cursor.shard, cursor.channel,
       subscription.paused, subscription.paused_reason, cursor.waiting_since, cursor.waiting_reason,
       latest.n as checkpoint, latest.target is not null as in_delta, latest.after_id, latest.upto_id,
       nullif(latest.relay, '') as last_relay, latest.created_at as last_checkpoint_at
from outbox.cursor
join outbox.subscription on subscription.id = cursor.subscription_id
cross join lateral (
    select * from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
) as latest;

-- What waits for each cursor. It looks at 100,001 messages of the log and no further, of a channel that waits for its
-- topic at 1,001, since there may be many, and of everything together at about a million, in equal shares: beyond that
-- `more` is true, and `messages` and `oldest_at` speak of the messages looked at.
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

-- The channels that wait for their topics, and how many messages wait with them, in one walk for all channels of a
-- subscription's shard and priority. It looks at `look_at_most` messages each; `more`: there were more.
create function outbox.waiting_channels(look_at_most integer default 100000)
returns table (
    subscription   text,
    channel        text,
    waiting_since  timestamptz,
    waiting_reason text,
    messages       bigint,
    more           boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
    with fork as materialized (
        select cursor.*, latest.seen, latest.target, latest.after_id,
               coalesce(latest.after_id + 1, (
                   select min(fresh.id)
                   from outbox.finished_ranges(pg_snapshot_xmax(latest.seen)) as finished
                   cross join lateral (
                       select min(id) as id from outbox.message
                       where priority = cursor.priority and xid >= finished.from_xid and xid < finished.before_xid
                   ) as fresh)) as first_id
        from outbox.cursor
        cross join lateral (
            select seen, target, after_id from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
        ) as latest
        where cursor.waiting_since is not null
    ),
    looked as materialized (
        select walk.subscription_id, walk.shard, walk.priority, m.id, m.xid, m.channel, m.group_key
        from (
            select subscription_id, shard, priority, min(first_id) as first_id
            from fork group by subscription_id, shard, priority
        ) as walk
        cross join lateral (
            select id, xid, message.channel, group_key from outbox.message
            where priority::integer = walk.priority::integer and id + 0 >= walk.first_id
            order by id + 0 limit look_at_most
        ) as m
    ),
    cut as (
        select subscription_id, shard, priority from looked
        group by subscription_id, shard, priority having count(*) >= look_at_most
    ),
    counted as (
        select fork.id, count(*) as messages
        from fork
        join outbox.subscription on subscription.id = fork.subscription_id
        join looked using (subscription_id, shard, priority, channel)
        where not pg_visible_in_snapshot(looked.xid, fork.seen)
          and (fork.target is null or looked.id > fork.after_id
               or not pg_visible_in_snapshot(looked.xid, fork.target))
          and outbox.shard_of(looked.group_key, looked.id, subscription.shards) = fork.shard
        group by fork.id
    )
    select subscription.name, fork.channel, min(fork.waiting_since), min(fork.waiting_reason),
           coalesce(sum(counted.messages), 0)::bigint, bool_or(cut.subscription_id is not null)
    from fork
    join outbox.subscription on subscription.id = fork.subscription_id
    left join counted on counted.id = fork.id
    left join cut using (subscription_id, shard, priority)
    group by subscription.name, fork.channel
    order by min(fork.waiting_since), subscription.name, fork.channel
$$;

-- Gives up what a channel that waits for its topic has by now, in one subscription or in all: those messages are passed
-- over, and no dead letter is left of them. What is published later waits again while the topic is missing. Returns how
-- many messages that is, counted up to 100,001 of the log each; with `dry_run` it does nothing else.
-- Raises no_data_found where no such channel waits.
create function outbox.drop_channel(
    channel      text,
    subscription text    default null,
    dry_run      boolean default false
) returns table (subscription_name text, messages bigint, more boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    fork record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.drop_channel runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
    end if;
    if not dry_run then
        perform from outbox.cursor
        where cursor.channel = drop_channel.channel and waiting_since is not null order by id for no key update;
    end if;
    for fork in
        select cursor.id, cursor.subscription_id, s.name, latest.n
        from outbox.cursor
        join outbox.subscription as s on s.id = cursor.subscription_id
        cross join lateral (
            select n from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
        ) as latest
        where cursor.channel = drop_channel.channel and cursor.waiting_since is not null
          and (drop_channel.subscription is null or s.name = drop_channel.subscription)
        order by cursor.id
    loop
        subscription_name := fork.name;
        select count(*) filter (where wanted), count(*) > 100000 into messages, more
        from outbox.unread(fork.id, 100001);
        if not dry_run then
            -- The cursor that it was forked from may still be behind this, and merges the fork when it has come here.
            insert into outbox.checkpoint (cursor_id, n, seen, relay)
            values (fork.id, fork.n + 1, pg_current_snapshot(), '');
            update outbox.cursor set waiting_since = null, waiting_reason = null where id = fork.id;
            perform outbox.tell(fork.subscription_id, 'subscription.channel_dropped',
                                json_build_object('channel', channel, 'messages', messages, 'more', more));
        end if;
        return next;
    end loop;
    if not found then
        raise exception 'no channel % waits for its topic', channel using errcode = 'no_data_found';
    end if;
end
$$;

-- The same by subscription and priority, over shards and forks.
create view outbox.subscription_backlog as
select subscription, priority, sum(messages)::bigint as messages, bool_or(more) as more, min(oldest_at) as oldest_at
from outbox.cursor_backlog
group by subscription, priority;

-- Letters by subscription, channel and reason: `waiting` for somebody to redrive them, `redriven` and on their way,
-- or `delivered` since.
create view outbox.dead_letter_summary as
select subscription.name as subscription, letter.channel, letter.reason,
       count(*) filter (where letter.redriven_at is null) as waiting,
       count(*) filter (where letter.redriven_at is not null and letter.delivered_at is null) as redriven,
       count(*) filter (where letter.delivered_at is not null) as delivered,
       min(letter.died_at) as first_died_at, max(letter.died_at) as last_died_at
from outbox.dead_letter as letter
join outbox.subscription on subscription.id = letter.subscription_id
group by subscription.name, letter.channel, letter.reason;

-- Work of the relays per subscription and minute, as long as checkpoints are kept.
create view outbox.throughput as
select subscription.name as subscription, date_trunc('minute', checkpoint.created_at) as minute,
       sum(checkpoint.messages)::bigint as messages, sum(checkpoint.bytes)::bigint as bytes, count(*) as runs
from outbox.checkpoint
join outbox.cursor on cursor.id = checkpoint.cursor_id
join outbox.subscription on subscription.id = cursor.subscription_id
where checkpoint.relay <> ''
group by subscription.name, minute;

-- The sessions of this cluster with their transactions, without the text of their statements (it may hold payloads).
-- How long a transaction has run is shown to members of pg_read_all_stats only; where the owner of this function is
-- none, `started_at` and `state` are NULL and `remark` says why.
create function outbox.open_transactions()
returns table (
    pid              integer,
    database         name,
    user_name        name,
    application_name text,
    state            text,
    started_at       timestamptz,
    xid              xid,
    xmin             xid,
    remark           text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select pid, datname, usename, application_name, state, xact_start, backend_xid, backend_xmin,
           case when not pg_has_role('pg_read_all_stats', 'usage') and xact_start is null
                then format('insufficient privilege: grant pg_read_all_stats to %I', current_user) end
    from pg_stat_activity
    where pid <> pg_backend_pid()
      and (backend_xid is not null or backend_xmin is not null or xact_start is not null
           or application_name like 'outbox-relay %')
$$;

-- Which relay is in a run on which cursor now. A relay names its cursor in application_name for as long as the run
-- lasts: 'outbox-relay <relay> cursor <id>'. Every login can call itself that, so only those count that may be a relay:
-- members of outbox_relay, of the schema's owner, and superusers.
create view outbox.cursor_holder as
select substring(session.application_name from ' cursor ([0-9]+)$')::bigint as cursor_id,
       substring(session.application_name from '^outbox-relay (.*) cursor [0-9]+$') as relay,
       session.pid, session.started_at as since, session.state, session.remark
from outbox.open_transactions() as session
join pg_roles as login on login.rolname = session.user_name
where session.database = current_database()
  and session.application_name ~ '^outbox-relay .* cursor [0-9]{1,18}$'
  and (pg_has_role(login.oid, to_regrole('outbox_relay'), 'member')
       or pg_has_role(login.oid, (select relowner from pg_class where oid = 'outbox.cursor'::regclass), 'member'));

-- What holds back the horizon: sessions, prepared transactions and replication slots, the culprit first. Until it ends,
-- vacuum keeps what was deleted since, and every snapshot carries its transaction id.
create view outbox.horizon as
select kind, name, database, user_name, application_name, state, held_since, transactions_ago, remark
from (
    select 'session' as kind, 'pid ' || pid as name, database::text, user_name::text, application_name, state,
           started_at as held_since, greatest(age(xid), age(xmin)) as transactions_ago, remark
    from outbox.open_transactions()
    where xid is not null or xmin is not null
    union all
    select 'prepared transaction', gid, database::text, owner::text, null, null, prepared, age(transaction), null
    from pg_prepared_xacts
    union all
    select 'replication slot', slot_name::text, database::text, null, null,
           case when active then 'active' else 'inactive' end, null,
           greatest(age(xmin), age(catalog_xmin)), null
    from pg_replication_slots
    where xmin is not null or catalog_xmin is not null
) as holder
order by transactions_ago desc, held_since;

-- What is open and older than the log's next partition, which is not turned to before it is over, see
-- outbox.make_partitions: sessions and prepared transactions of every database of the cluster.
create view outbox.turn_holder as
select kind, name, database, application_name, held_since
from (
    select 'session' as kind, pid::text as name, database::text, application_name, started_at as held_since, xid
    from outbox.open_transactions()
    union all
    select 'prepared transaction', gid, database::text, null, prepared, transaction
    from pg_prepared_xacts
) as holder
where exists (select from outbox.known_partition as ahead
              where ahead.parent = 'outbox.message' and ahead.from_time is null and age(holder.xid) >= age(ahead.xid::xid))
order by held_since;

revoke execute on function
    outbox.unread(bigint, integer),
    outbox.pending(bigint, integer),
    outbox.open_transactions(),
    outbox.waiting_channels(integer),
    outbox.drop_channel(text, text, boolean)
from public;

insert into outbox.migration (version, name) values (4, 'views');
