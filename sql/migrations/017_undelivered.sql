-- What a subscription has not delivered stands in the way of its deletion.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Whether a cursor has yet to read a message that its subscription wants; NULL: that was not found out by `give_up_at`,
-- since so much of the log is for others. For the holder of the cursor.
create function outbox.has_unread(cursor_id bigint, give_up_at timestamptz) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    c      outbox.cursor_reading;
    wanted boolean;
begin
    select * into strict c from outbox.cursor_reading as reading where reading.cursor_id = has_unread.cursor_id;

    -- The first message that is wanted, or the one that it has come to when the time is over. The four ways into the
    -- log are those of outbox.unread.
    select is_wanted into wanted
    from (
        select (c.only_channel is null or log.channel = c.only_channel)
               and not log.channel = any (c.set_aside)
               and outbox.wants(c.channels, c.types, log.channel, log.type)
               and outbox.shard_of(log.group_key, log.id, c.shards) = c.shard as is_wanted
        from (
            select m.id, m.channel, m.type, m.group_key
            from outbox.message as m
            where m.priority = c.priority and m.xid = any (c.late_xids) and m.id > c.after_id and m.id < c.fresh_id
            union all
            select m.id, m.channel, m.type, m.group_key
            from outbox.message as m
            where m.priority::integer = c.priority::integer
              and m.id + 0 >= greatest(c.fresh_id, c.after_id + 1) and m.id + 0 <= c.upto_id
              and not pg_visible_in_snapshot(m.xid, c.seen) and pg_visible_in_snapshot(m.xid, c.target)
            union all
            select m.id, m.channel, m.type, m.group_key
            from outbox.message as m
            where m.priority = c.priority and m.xid = any (c.next_late_xids)
            union all
            select m.id, m.channel, m.type, m.group_key
            from outbox.finished_ranges(pg_snapshot_xmax(c.horizon)) as finished
            cross join lateral (
                select message.* from outbox.message
                where priority = c.priority and xid >= finished.from_xid and xid < finished.before_xid
                offset 0
            ) as m
        ) as log
    ) as looked_at
    where is_wanted or clock_timestamp() >= give_up_at
    limit 1;
    return case when wanted is null then false when wanted then true end;
end
$$;
revoke execute on function outbox.has_unread(bigint, timestamptz) from public;

-- What a subscription has yet to deliver, each kind with its number; NULL: nothing. For the holder of its cursors, who
-- has called clear_acked for each.
create function outbox.undelivered(subscription_id bigint) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    give_up_at constant timestamptz := clock_timestamp() + interval '20 seconds';
    cursors    constant bigint[] := array(select id from outbox.cursor as c
                                          where c.subscription_id = undelivered.subscription_id);
    reasons    text[];
begin
    with kind (place, sentence) as (
        select 1, format('unread messages (%s%s)',
                         case when bool_or(unread.more) or sum(unread.messages) = 0 then 'at least ' end,
                         greatest(sum(unread.messages), 1))
        from unnest(cursors) as c
        cross join lateral (
            select count(*) filter (where wanted) as messages, count(*) > 100000 as more
            from outbox.unread(c, 100001)
        ) as unread
        where exists (select from unnest(cursors) as c where outbox.has_unread(c, give_up_at))
        having count(*) > 0
        union all
        select 2, format('messages on their way (%s)', count(*))
        from outbox.delivery where cursor_id = any (cursors) and dead_letter_id is null
        having count(*) > 0
        union all
        select 3, format('undelivered dead letters (%s)', count(*))
        from outbox.dead_letter
        where dead_letter.subscription_id = undelivered.subscription_id and delivered_at is null
        having count(*) > 0
        union all
        select 4, 'more to read than could be looked through in 20 s' where clock_timestamp() >= give_up_at
    )
    select array_agg(sentence order by place) into reasons from kind;
    return array_to_string(reasons, ', ');
end
$$;
revoke execute on function outbox.undelivered(bigint) from public;

-- Deleting a subscription loses what it has not delivered, so the caller has to say so: see outbox.delete_subscription.
-- Its rows and dead letters go with it. Waits for no run: the run could wait for this, to pause it.
create function outbox.guard_undelivered() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    obstacle text;
begin
    perform from outbox.cursor where subscription_id = old.id order by id for update nowait;
    if current_setting('outbox.discards', true) is distinct from 'on' then
        -- What was acknowledged after its run is delivered, and no obstacle.
        perform outbox.clear_acked(id) from outbox.cursor where subscription_id = old.id;
        obstacle := outbox.undelivered(old.id);
    end if;
    if obstacle is not null then
        raise exception 'subscription % still has %', old.name, obstacle using
            errcode = 'dependent_objects_still_exist',
            hint = format('Let them arrive, dead letters by a redrive, or lose them: '
                          'select outbox.delete_subscription(%L, discard_undelivered => true)', old.name);
    end if;
    -- The dead letters without rows first, which are most: meanwhile an outcome can still be written to its row.
    delete from outbox.dead_letter where subscription_id = old.id
        and not exists (select from outbox.delivery where dead_letter_id = dead_letter.id);
    delete from outbox.delivery where cursor_id in (select id from outbox.cursor where subscription_id = old.id);
    delete from outbox.dead_letter where subscription_id = old.id;
    return old;
exception when lock_not_available then
    raise exception 'a relay is at work for subscription % at this moment', old.name using
        errcode = 'lock_not_available',
        hint = format('This waits for it: select outbox.delete_subscription(%L)', old.name);
end
$$;
create trigger guard_undelivered before delete on outbox.subscription
    for each row execute function outbox.guard_undelivered();

-- Deletes a subscription of any kind, with its cursors, rows, dead letters and secrets. What is not delivered stands in
-- the way, unless it is to be discarded. Waits for runs that are under way. Raises no_data_found where there is no such
-- subscription, dependent_objects_still_exist where something stands in the way. For the owner.
create function outbox.delete_subscription(name text, discard_undelivered boolean default false) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    -- First, since only the holder of a cursor takes messages from the log and writes dead letters.
    perform from outbox.cursor as c join outbox.subscription as s on s.id = c.subscription_id
    where s.name = delete_subscription.name order by c.id for update of c;
    -- For the trigger guard_undelivered.
    perform set_config('outbox.discards', case when discard_undelivered then 'on' else 'off' end, true);
    delete from outbox.subscription as s where s.name = delete_subscription.name;
    if not found then
        raise exception 'there is no subscription %', delete_subscription.name using errcode = 'no_data_found';
    end if;
    perform set_config('outbox.discards', 'off', true);
end
$$;
revoke execute on function outbox.delete_subscription(text, boolean) from public;

-- The same for a subscription of an endpoint or a connector, by its id: what the HTTP API may do.
create function outbox.unsubscribe(subscription_id bigint, discard_undelivered boolean default false) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    s outbox.subscription;
begin
    select * into s from outbox.subscription as one
    where one.id = subscription_id and (one.kind = 'http' or outbox.other_cluster(one.settings) <> '');
    if not found then
        raise exception 'there is no endpoint or connector % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    perform outbox.delete_subscription(s.name, discard_undelivered);
end
$$;
revoke execute on function outbox.unsubscribe(bigint, boolean) from public;

insert into outbox.migration (version, name) values (17, 'undelivered');
