-- Channel cursors. A channel whose topic takes nothing waits alone, by a cursor of its own, which is merged into its
-- origin when it has caught up. The origin is the cursor without a channel of the same subscription, shard and
-- priority.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- How far a channel cursor that is between deltas may go now: as far as its origin has come or is about to come, so
-- that both come to stand at one snapshot. NULL: it stands there, or ahead, where a drop or a replay has set it.
create function outbox.channel_cursor_target(channel_cursor_id bigint, seen pg_snapshot) returns pg_snapshot
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select origin.position
    from (
        select coalesce(latest.target, latest.seen) as position
        from outbox.cursor as channel_cursor
        join outbox.cursor as origin
            on origin.subscription_id = channel_cursor.subscription_id and origin.shard = channel_cursor.shard
            and origin.priority = channel_cursor.priority and origin.channel is null
        cross join lateral (
            select target, checkpoint.seen from outbox.checkpoint
            where cursor_id = origin.id order by n desc limit 1
        ) as latest
        where channel_cursor.id = channel_cursor_target.channel_cursor_id
    ) as origin
    where origin.position::text <> channel_cursor_target.seen::text
      and pg_snapshot_xmax(channel_cursor_target.seen) <= pg_snapshot_xmax(origin.position)
      and not exists (
          select from pg_snapshot_xip(origin.position) as xid
          where pg_visible_in_snapshot(xid, channel_cursor_target.seen))
$$;
revoke execute on function outbox.channel_cursor_target(bigint, pg_snapshot) from public;

-- Merges channel cursors that have caught up into their origin: both stand at one snapshot, between deltas, so the
-- origin goes on with the channel where the channel cursor ends. Its dead letters go along. A channel cursor that
-- another session holds, or that has redriven dead letters on their way, stays for the next call. For the holder of the
-- origin. Returns the channel cursors that are gone.
create function outbox.merge_channel_cursors(cursor_id bigint) returns bigint[]
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    origin            outbox.cursor;
    position          text;
    channel_cursor_id bigint;
    merged            bigint[] := '{}';
begin
    select * into origin from outbox.cursor
    where id = merge_channel_cursors.cursor_id and channel is null for no key update;
    select seen::text into position
    from (select seen, target from outbox.checkpoint where cursor_id = origin.id order by n desc limit 1) as latest
    where target is null;
    -- A redrive refers to the channel cursor until its commit: FOR UPDATE skips the cursor then, and makes a later
    -- redrive wait. Of hundreds that stand elsewhere none is locked. Where the others stand is asked again, since the
    -- statement that locks them may not see it.
    for channel_cursor_id in
        select id from outbox.cursor
        where subscription_id = origin.subscription_id and shard = origin.shard and priority = origin.priority
          and channel is not null and waiting_since is null
          and exists (
              select from (
                  select seen, target from outbox.checkpoint
                  where checkpoint.cursor_id = cursor.id order by n desc limit 1
              ) as latest
              where latest.target is null and latest.seen::text = position)
        order by id
        for update skip locked
    loop
        continue when not exists (
            select from (
                select seen, target from outbox.checkpoint
                where checkpoint.cursor_id = channel_cursor_id order by n desc limit 1
            ) as latest
            where latest.target is null and latest.seen::text = position);
        continue when exists (select from outbox.delivery where delivery.cursor_id = channel_cursor_id);
        -- A session that is about to redrive a dead letter holds it, and would wait for the channel cursor.
        continue when (select count(*) from outbox.dead_letter where dead_letter.cursor_id = channel_cursor_id) <>
                      (select count(*) from (
                          select from outbox.dead_letter where dead_letter.cursor_id = channel_cursor_id
                          for update skip locked) as free);
        -- After a replay both may have given up one message. The channel cursor's dead letter is the later one.
        begin
            delete from outbox.dead_letter as former
            using outbox.dead_letter as latter
            where latter.cursor_id = channel_cursor_id and former.cursor_id = origin.id
              and former.message_id = latter.message_id
              and not exists (select from outbox.delivery where dead_letter_id = former.id);
            update outbox.dead_letter set cursor_id = origin.id where dead_letter.cursor_id = channel_cursor_id;
            delete from outbox.cursor where id = channel_cursor_id;
            merged := merged || channel_cursor_id;
        exception when unique_violation then
            -- The origin's dead letter is on its way again.
            null;
        end;
    end loop;
    return merged;
end
$$;
revoke execute on function outbox.merge_channel_cursors(bigint) from public;

-- The channels that wait for their topics, and how many messages wait with them, in one walk for all channels of a
-- subscription's shard and priority. It looks at `look_at_most` messages in each walk; `more`: there were more.
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
    with channel_cursor as materialized (
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
            from channel_cursor group by subscription_id, shard, priority
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
        select channel_cursor.id, count(*) as messages
        from channel_cursor
        join outbox.subscription on subscription.id = channel_cursor.subscription_id
        join looked using (subscription_id, shard, priority, channel)
        where not pg_visible_in_snapshot(looked.xid, channel_cursor.seen)
          and (channel_cursor.target is null or looked.id > channel_cursor.after_id
               or not pg_visible_in_snapshot(looked.xid, channel_cursor.target))
          and outbox.shard_of(looked.group_key, looked.id, subscription.shards) = channel_cursor.shard
        group by channel_cursor.id
    )
    select subscription.name, channel_cursor.channel,
           min(channel_cursor.waiting_since), min(channel_cursor.waiting_reason),
           coalesce(sum(counted.messages), 0)::bigint, bool_or(cut.subscription_id is not null)
    from channel_cursor
    join outbox.subscription on subscription.id = channel_cursor.subscription_id
    left join counted on counted.id = channel_cursor.id
    left join cut using (subscription_id, shard, priority)
    group by subscription.name, channel_cursor.channel
    order by min(channel_cursor.waiting_since), subscription.name, channel_cursor.channel
$$;
revoke execute on function outbox.waiting_channels(integer) from public;

-- Gives up what a channel that waits for its topic has by now, in one subscription or in all: its cursor passes over
-- those messages, and no dead letter is left of them. What is published later waits again while the topic is missing.
-- Returns how many messages that is, counted up to 100,001 of the log each; with `dry_run` it does nothing else. Raises
-- no_data_found where no such channel waits.
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
    channel_cursor record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.drop_channel runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
    end if;
    if not dry_run then
        perform from outbox.cursor
        where cursor.channel = drop_channel.channel and waiting_since is not null order by id for no key update;
    end if;
    for channel_cursor in
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
        subscription_name := channel_cursor.name;
        select count(*) filter (where wanted), count(*) > 100000 into messages, more
        from outbox.unread(channel_cursor.id, 100001);
        if not dry_run then
            -- The origin may still be behind this point, and merges the channel cursor when it has come here.
            insert into outbox.checkpoint (cursor_id, n, seen, relay)
            values (channel_cursor.id, channel_cursor.n + 1, outbox.current_snapshot(), '');
            update outbox.cursor set waiting_since = null, waiting_reason = null where id = channel_cursor.id;
            perform outbox.tell(channel_cursor.subscription_id, 'subscription.channel_dropped',
                                json_build_object('channel', channel, 'messages', messages, 'more', more));
        end if;
        return next;
    end loop;
    if not found then
        raise exception 'no channel % waits for its topic', channel using errcode = 'no_data_found';
    end if;
end
$$;
revoke execute on function outbox.drop_channel(text, text, boolean) from public;

insert into outbox.migration (version, name) values (18, 'channel_cursor');
