-- Sending again what a subscription had before.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- That a cursor was set back. What it had done before is sent again, marked as replayed, for as long as the delta lasts
-- that was begun then.
create table outbox.replay (
    cursor_id  bigint      not null references outbox.cursor on delete cascade,
    -- The delta's target.
    delta      pg_snapshot not null,
    -- Where the cursor stood: what `seen` shows was done, and up to `after_id` what `target` shows.
    seen       pg_snapshot not null,
    target     pg_snapshot,
    after_id   bigint,
    created_at timestamptz not null default clock_timestamp()
);
create index replay_cursor on outbox.replay (cursor_id);
alter table outbox.replay replica identity full;

-- Sets a subscription back to what was written at `from_time`, or to the message `from_message_id`: everything from
-- there on is sent (again), in order, with its first idempotency key. What was pending stays pending. Returns how many
-- messages of the log that is; with `dry_run` it does nothing else. Waits for runs that are under way.
create function outbox.replay(
    subscription    text,
    from_time       timestamptz default null,
    from_message_id bigint      default null,
    dry_run         boolean     default false
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set enable_nestloop = off
set max_parallel_workers_per_gather = 0
as $$
#variable_conflict use_column
declare
    s        outbox.subscription;
    c        record;
    begun    pg_snapshot;
    first_id bigint;
    last_id  bigint;
    undone   xid8;
    start_id bigint;
    replayed bigint := 0;
begin
    if num_nonnulls(from_time, from_message_id) <> 1 then
        raise exception 'replay takes from_time or from_message_id, one of them'
            using errcode = 'invalid_parameter_value';
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.replay runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
    end if;
    select * into s from outbox.subscription where name = replay.subscription;
    if not found then
        raise exception 'there is no subscription %', subscription using errcode = 'no_data_found';
    end if;
    if not dry_run then
        perform from outbox.cursor where subscription_id = s.id order by id for no key update;
    end if;
    for class in 1..5 loop
        -- Before the ids are read: what commits in between has an id below them, and is not in the delta.
        begun := outbox.current_snapshot();
        select min(id + 0) into first_id
        from outbox.message
        where priority::integer = class and id + 0 >= coalesce(from_message_id, outbox.first_id_since(from_time))
          and created_at >= coalesce(from_time, '-infinity');
        continue when first_id is null;
        select max(id + 0) into last_id from outbox.message where priority::integer = class;
        -- What any cursor of the class has not done was written by transaction `undone` or a later one.
        select pg_snapshot_xmin(latest.seen) into undone
        from outbox.cursor
        cross join lateral (
            select seen from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
        ) as latest
        where cursor.subscription_id = s.id and cursor.priority = class
        order by 1 limit 1;
        select least(first_id, min(id)) into start_id
        from outbox.message where priority = class and xid >= undone and not dry_run;
        -- The log is walked once for all cursors. Each message belongs to one of them: to the channel cursor of its
        -- channel, or else to the origin of its shard. Without enable_nestloop = off, a log without statistics, which
        -- the planner takes for an empty one, would be walked for each cursor.
        for c in
            with place as materialized (
                select cursor.id, cursor.shard, cursor.channel, latest.*
                from outbox.cursor
                cross join lateral (
                    select n, seen, target, after_id, fresh_id from outbox.checkpoint
                    where cursor_id = cursor.id order by n desc limit 1
                ) as latest
                where cursor.subscription_id = s.id and cursor.priority = class
            ), read as (
                select own.id as cursor_id,
                       count(*) filter (
                           where m.id >= first_id
                             and outbox.wants(s.channels, s.types, m.channel, m.type)) as wanted,
                       min(m.id) filter (
                           where not pg_visible_in_snapshot(m.xid, own.seen)
                             and (own.target is null or m.id > own.after_id
                                  or not pg_visible_in_snapshot(m.xid, own.target))) as pending
                from outbox.message as m
                join place as origin
                    on origin.channel is null and origin.shard = outbox.shard_of(m.group_key, m.id, s.shards)
                left join place as channel_cursor
                    on channel_cursor.shard = origin.shard and channel_cursor.channel = m.channel
                join place as own on own.id = coalesce(channel_cursor.id, origin.id)
                where m.priority::integer = class and m.id + 0 >= start_id
                group by own.id
            )
            select place.*, read.wanted, least(first_id, read.pending) as first_id
            from read join place on place.id = read.cursor_id
            where read.wanted > 0
            order by place.id
        loop
            replayed := replayed + c.wanted;
            continue when dry_run;
            -- The marks of an earlier replay that is still under way go on. Where nothing of it has gone yet, they say
            -- it all. Those that this replay contains are deleted, so that repeated replays leave few.
            delete from outbox.replay as r
            where r.cursor_id = c.id
              and (r.delta::text is distinct from c.target::text
                   or r.seen::text = c.seen::text and r.after_id <= c.after_id and c.after_id >= c.fresh_id);
            update outbox.replay as r set delta = begun where r.cursor_id = c.id;
            if not found or c.after_id >= c.fresh_id then
                insert into outbox.replay (cursor_id, delta, seen, target, after_id)
                values (c.id, begun, c.seen, c.target, c.after_id);
            end if;
            update outbox.cursor set replays = replays + 1 where id = c.id;
            insert into outbox.checkpoint (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
            values (c.id, c.n + 1, '3:3:', begun, c.first_id - 1, c.first_id, last_id, '');
        end loop;
    end loop;
    return replayed;
end
$$;
revoke execute on function outbox.replay(text, timestamptz, bigint, boolean) from public;

-- Deletes the marks of replays that are over. What other sessions hold is left for the next call. Returns how many it
-- deleted.
create function outbox.trim_replays() returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    trimmed bigint;
begin
    delete from outbox.replay as r
    where r.ctid = any (array(
        select ended.ctid from outbox.replay as ended
        where ended.delta::text is distinct from (
            select latest.target::text from outbox.checkpoint as latest
            where latest.cursor_id = ended.cursor_id order by latest.n desc limit 1)
        for update skip locked));
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;
revoke execute on function outbox.trim_replays() from public;

insert into outbox.migration (version, name) values (14, 'replay');
