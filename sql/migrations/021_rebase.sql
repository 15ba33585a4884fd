-- Transaction ids mean nothing in another cluster: after a dump and restore, a logical copy or pg_upgrade a message may
-- look as if a cursor had seen it, and would be skipped without a word.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Why the transaction ids of this database can't be trusted in this cluster, in one sentence; NULL where they can.
-- Asks by index ranges that are empty in a sound database, so a relay can call it at every connect.
create function outbox.foreign_cluster() returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
declare
    -- No session can have seen a transaction of this cluster at or beyond it.
    here     xid8 := pg_snapshot_xmax(pg_current_snapshot());
    recorded bigint;
    actual   bigint;
    found_id bigint;
begin
    select system_identifier into recorded from outbox.installation;
    select system_identifier into actual from pg_control_system();
    if recorded is distinct from actual then
        return format('The database was moved to another cluster: it was made in %s, this is %s.',
                      coalesce(recorded::text, 'an unknown one'), actual);
    end if;

    select cursor.id into found_id
    from outbox.cursor
    cross join lateral (
        select coalesce(target, seen) as position
        from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
    ) as latest
    where pg_snapshot_xmax(latest.position) > here
    limit 1;
    if found then
        return format('Cursor %s has seen transactions that this cluster has not reached (%s).', found_id, here);
    end if;

    select ahead.id into found_id
    from generate_series(1, 5) as class
    cross join lateral (
        select id from outbox.message where priority = class and xid >= here limit 1
    ) as ahead
    limit 1;
    if found then
        return format('Message %s was written by a transaction that this cluster has not reached (%s).',
                      found_id, here);
    end if;
    return null;
end
$$;
revoke execute on function outbox.foreign_cluster() from public;

-- Makes a moved database this cluster's own. Nothing that was pending is lost; what a cursor had done beyond its lowest
-- pending message is sent again, with its first idempotency key. Run it before the writers start. Where they ran first,
-- give a time before their start as `repeat_from`: everything since then is sent (again), because the transaction ids
-- of two clusters can't be told apart.
-- Returns where each cursor goes on; `pending_from_id` is NULL where nothing is pending. Running it again is safe.
-- Raises lock_not_available while writers or relays are busy.
create function outbox.rebase(repeat_from timestamptz default null)
returns table (subscription text, priority smallint, cursor_id bigint, pending_from_id bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    parent text;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.rebase runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
    end if;
    begin
        -- At first, as those lock it that make partitions: else make_partitions would give up below.
        perform from outbox.installation for update;
        -- In the order in which a relay's run takes them.
        lock table outbox.subscription, outbox.cursor, outbox.checkpoint, outbox.message in access exclusive mode;
    exception when lock_not_available then
        raise exception 'writers or relays are still busy with the log: stop them, then rebase'
            using errcode = 'lock_not_available';
    end;

    -- From the old transaction ids alone, while they are still there.
    insert into outbox.checkpoint (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
    select cursor.id, latest.n + 1,
           case when start.id is null then outbox.current_snapshot() else '3:3:' end,
           case when start.id is not null then outbox.current_snapshot() end,
           start.id - 1, start.id, last.id, ''
    from outbox.cursor
    cross join lateral (
        select * from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
    ) as latest
    cross join lateral (
        select min(id + 0) as id
        from outbox.message
        where priority = cursor.priority
          and (xid >= pg_snapshot_xmax(latest.seen) or xid = any (array(select pg_snapshot_xip(latest.seen))))
          and (latest.target is null or id > latest.after_id or not pg_visible_in_snapshot(xid, latest.target))
    ) as pending
    left join (
        select priority, min(id) as id from outbox.message
        where id >= outbox.first_id_since(repeat_from) and created_at >= repeat_from group by priority
    ) as repeated on repeated.priority = cursor.priority
    cross join lateral (select least(pending.id, repeated.id) as id) as start
    cross join lateral (
        select max(id + 0) as id from outbox.message
        where start.id is not null and priority::integer = cursor.priority::integer
    ) as last;

    -- Any id of a transaction that is over everywhere: '3:3:' has not seen it, every other snapshot has.
    update outbox.message set xid = '3' where xid <> '3';
    update outbox.known_partition set xid = '3';

    -- A logical copy brings no sequences. A message's id must also be new among those that dead letters remember.
    perform outbox.advance_sequence('outbox.message', greatest(
        (select max(id) from outbox.message),
        (select max(message_id) from outbox.dead_letter),
        (select max(upto_id) from outbox.checkpoint)));
    perform outbox.make_partitions();
    for parent in select distinct known.parent from outbox.known_partition as known where known.parent <> 'outbox.message'
    loop
        execute format('select outbox.advance_sequence(%L, (select max(id) from %s))', parent, parent);
        -- Nothing is dropped here: for how long its rows are kept is the business of those that turn it regularly.
        perform outbox.turn_by_age(parent, 36500);
    end loop;
    perform outbox.advance_sequence('outbox.subscription', (select max(id) from (select id from outbox.subscription
                                                                          union all select id from outbox.source) as taken));
    perform outbox.advance_sequence('outbox.source_dead_letter', (select max(id) from outbox.source_dead_letter));
    perform outbox.advance_sequence('outbox.cursor', (select max(id) from outbox.cursor));
    perform outbox.advance_sequence('outbox.dead_letter', (select max(id) from outbox.dead_letter));
    perform outbox.advance_sequence('outbox.rescheduling', (select max(id) from outbox.rescheduling));
    perform outbox.advance_sequence('outbox.api_key', (select max(id) from outbox.api_key));
    perform outbox.advance_sequence('outbox.event_type', (select max(id) from outbox.event_type));
    perform outbox.advance_sequence('outbox.event_type_fault', (select max(id) from outbox.event_type_fault));
    perform outbox.advance_sequence('outbox.published_event_type', (select max(id) from outbox.published_event_type));
    perform outbox.advance_sequence('outbox.audit', (select max(id) from outbox.audit));

    -- Under the new id Kafka holds no note of any cursor.
    update outbox.cursor set noted_in = null where noted_in is not null;
    -- A dump of some tables may have come without its row.
    insert into outbox.installation (system_identifier)
    select system_identifier from pg_control_system()
    on conflict (single) do update
        set id = excluded.id, system_identifier = excluded.system_identifier, note_key = excluded.note_key;

    return query
    select subscription.name, cursor.priority, cursor.id, latest.fresh_id
    from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    cross join lateral (
        select fresh_id from outbox.checkpoint where checkpoint.cursor_id = cursor.id order by n desc limit 1
    ) as latest
    order by subscription.name, cursor.priority, cursor.id;
end
$$;
revoke execute on function outbox.rebase(timestamptz) from public;

insert into outbox.migration (version, name) values (21, 'rebase');
