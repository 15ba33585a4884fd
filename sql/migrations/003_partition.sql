-- Tables by partitions: made before their ids are drawn, one after the other as time goes, dropped when they are old.
-- The log, the attempts and the received payment webhooks are such tables. None of them has a default partition: its
-- rows would have to be moved one day, and Postgres would scan it for each new partition while writers wait.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- How many ids a partition has room for: the first takes those below 100,000,000,000, the second the next, and so on.
-- Setting the sequence of the ids to a partition's first id turns the table to it. So a row's id alone says where the
-- row is. No clock and no time zone decides it, no row ever moves, and making a partition locks out neither readers nor
-- writers. While no relay runs, the table goes on in the partition that it has.
create function outbox.partition_room() returns bigint
language sql immutable parallel safe
return 100000000000;
revoke execute on function outbox.partition_room() from public;

create table outbox.known_partition (
    -- The table that is partitioned, with its schema: 'outbox.message'. Not a regclass: a dump of one schema could not
    -- bring that back.
    parent    text        not null,
    number    integer     not null check (number >= 0),
    -- Which transaction made it, and when.
    xid       xid8        not null default pg_current_xact_id(),
    made_at   timestamptz not null default clock_timestamp(),
    -- NULL: none of its ids has been drawn.
    from_time timestamptz,
    -- NULL: its ids may still be drawn.
    upto_time timestamptz,

    primary key (parent, number),
    constraint it_is_begun_before_it_ends check (upto_time is null or from_time <= upto_time)
);

-- All partitions that are attached, also those that an operator attached; an operator may detach one to keep it
-- elsewhere.
create view outbox.attached_partition as
select namespace.nspname || '.' || whole.relname as parent,
       given.number::integer, class.oid, class.relname::text as partition, class.reltuples
from pg_inherits
join pg_class as class on class.oid = pg_inherits.inhrelid
join pg_class as whole on whole.oid = pg_inherits.inhparent
join pg_namespace as namespace on namespace.oid = whole.relnamespace
-- Of any other table in the database the name is only compared: it may hold whatever its owner likes.
cross join lateral (
    select substring(substr(class.relname::text, length(whole.relname) + 2), '^[0-9]{1,8}$') as number
) as given
where whole.relkind = 'p' and starts_with(class.relname::text, whole.relname || '_') and given.number is not null;

-- The partition that ids are drawn for now. Not by the sequence alone: a copy may come without the sequence's value,
-- and TRUNCATE may restart it.
create function outbox.present_partition(parent text) returns integer
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select greatest(
        coalesce(pg_sequence_last_value(pg_get_serial_sequence(parent, 'id')::regclass), 0) / outbox.partition_room(),
        (select max(number) from outbox.known_partition as known
         where known.parent = present_partition.parent and from_time is not null))::integer
$$;
revoke execute on function outbox.present_partition(text) from public;

-- Moves the sequence on, so that the table's next id will be higher than `highest_id`. Never moves it back.
create function outbox.advance_sequence(owner regclass, highest_id bigint) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select setval(identity.sequence, highest_id)
    from (select pg_get_serial_sequence(owner::text, 'id')::regclass as sequence) as identity
    where highest_id > coalesce(pg_sequence_last_value(identity.sequence), 0)
$$;
revoke execute on function outbox.advance_sequence(regclass, bigint) from public;

-- `truncate … restart identity` would lead back to a partition that may be gone, so that every insert would fail. For
-- all tables but the log, whose trigger give_no_id_twice is stricter.
create function outbox.stay_in_partition() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    parent constant text := tg_table_schema || '.' || tg_table_name;
begin
    perform outbox.advance_sequence(parent::regclass, outbox.present_partition(parent) * outbox.partition_room());
    return null;
end
$$;

-- How long a partition is written to: a quarter of the time for which its rows are kept, a day at least. So a table has
-- about seven partitions, however long its rows are kept. A statement over the table locks each partition with its
-- indexes, and the relay's cached plans look at each.
create function outbox.partition_width(keep_days integer) returns interval
language sql immutable
return greatest(keep_days / 4.0, 1) * interval '1 day';
revoke execute on function outbox.partition_width(integer) from public;

-- Turns to the next partition where the present one has been written to for long enough. Returns the present one from
-- then on. It locks the row of outbox.installation, so one transaction at a time turns or makes partitions. A lock on a
-- table would be others' to take as well, since Postgres takes that before it asks for rights; a row takes the right to
-- UPDATE it. Readers and writers never wait for it.
create function outbox.turn_partition(parent text, keep_days integer) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    room  constant bigint      := outbox.partition_room();
    ids   constant regclass    := pg_get_serial_sequence(parent, 'id');
    now   constant timestamptz := clock_timestamp();
    present integer;
begin
    perform from outbox.installation for update;
    present := outbox.present_partition(turn_partition.parent);
    -- The clock may have been ahead when it was begun.
    update outbox.known_partition as known set from_time = now
    where known.parent = turn_partition.parent and number = present and from_time > now;
    -- A transaction that has written to the table takes no notice of a partition that is made meanwhile, and its next
    -- row would be refused. So the table is turned only after all transactions that were open when the next partition
    -- was made are over. The hour is for transactions that hold the table and have written nothing, which have no id to
    -- wait for.
    if exists (select from outbox.known_partition as known
               where known.parent = turn_partition.parent and number = present
                 and from_time <= now - outbox.partition_width(keep_days))
        and exists (select from outbox.known_partition as known join outbox.attached_partition using (parent, number)
                    where known.parent = turn_partition.parent and number = present + 1
                      and made_at < now - interval '1 hour' and xid < pg_snapshot_xmin(pg_current_snapshot()))
    then
        present := present + 1;
    end if;
    if present > coalesce(pg_sequence_last_value(ids), 0) / room then
        -- A rollback of this transaction does not undo it: the next call then finds it done.
        perform setval(ids, present * room);
    end if;
    return present;
end
$$;
revoke execute on function outbox.turn_partition(text, integer) from public;

-- Makes the present partition and the next one where they are missing, and notes that those before ended at
-- `upto_time`. Returns how many were made.
create function outbox.make_ahead(parent text, present integer, upto_time timestamptz) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    room constant bigint      := outbox.partition_room();
    now  constant timestamptz := clock_timestamp();
    made integer := 0;
    name text;
begin
    -- What lies before is over, also where an operator moved the sequence on.
    update outbox.known_partition as known
    set from_time = least(from_time, make_ahead.upto_time), upto_time = make_ahead.upto_time
    where known.parent = make_ahead.parent and number < present and known.upto_time is null;

    insert into outbox.known_partition (parent, number, from_time, upto_time)
    select attached.parent, number, now, now from outbox.attached_partition as attached
    where attached.parent = make_ahead.parent and number < present
    on conflict do nothing;
    for ahead in present .. present + 1 loop
        if not exists (select from outbox.attached_partition as attached
                       where attached.parent = make_ahead.parent and number = ahead) then
            name := parent || '_' || ahead;
            execute format('create table %s (like %s including defaults including constraints)', name, parent);
            -- LIKE does not copy this.
            if (select relreplident from pg_class where oid = parent::regclass) = 'f' then
                execute format('alter table %s replica identity full', name);
            end if;
            execute format('alter table %s attach partition %s for values from (%s) to (%s)',
                           parent, name, ahead * room, (ahead + 1) * room);
            delete from outbox.known_partition as known where known.parent = make_ahead.parent and number = ahead;
            made := made + 1;
        end if;
        insert into outbox.known_partition (parent, number) values (make_ahead.parent, ahead) on conflict do nothing;
    end loop;
    update outbox.known_partition as known set from_time = coalesce(from_time, now), upto_time = null
    where known.parent = make_ahead.parent and number = present;
    return made;
end
$$;
revoke execute on function outbox.make_ahead(text, integer, timestamptz) from public;

-- The partitions of a table that ended more than `keep_days` ago.
create function outbox.past_partitions(parent text, keep_days integer) returns setof text
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select attached.partition
    from outbox.known_partition as known
    join outbox.attached_partition as attached using (parent, number)
    where attached.parent = past_partitions.parent
      and known.upto_time <= clock_timestamp() - make_interval(days => keep_days)
    order by number
$$;
revoke execute on function outbox.past_partitions(text, integer) from public;

-- What keeps a table from being dropped: what depends on it and would not go with it, named for people; NULL: nothing.
-- Every login that may connect can make such an object without any right on the table: `'16485'::regclass` in a
-- temporary view suffices, and after a crash of the server that view stays. `may_go`: neither these objects nor what
-- depends on them is more than temporary, and they are no more than a hundred, types and rules of views among them.
-- Dropping takes a lock for each, so thousands would fill the server's table of locks; no more of them are looked at.
create function outbox.dependents_of(relation regclass, out dependents text, out may_go boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive own as (
        select 'pg_class'::regclass::oid as classid, relation::oid as objid
        union
        select depend.classid, depend.objid
        from own join pg_depend as depend on (depend.refclassid, depend.refobjid) = (own.classid, own.objid)
        where depend.deptype <> 'n'
    ), reached as (
        select depend.classid, depend.objid, depend.classid as through_classid, depend.objid as through_objid
        from own join pg_depend as depend on (depend.refclassid, depend.refobjid) = (own.classid, own.objid)
        where depend.deptype = 'n' and (depend.classid, depend.objid) not in (select classid, objid from own)
        union
        -- What depends on it, and the whole of which it is a part, as a view is of its rule.
        select following.classid, following.objid, reached.through_classid, reached.through_objid
        from reached
        cross join lateral (
            select classid, objid from pg_depend where (refclassid, refobjid) = (reached.classid, reached.objid)
            union all
            select refclassid, refobjid from pg_depend
            where (classid, objid) = (reached.classid, reached.objid) and deptype = 'i'
        ) as following
    ), bounded as materialized (
        select * from reached limit 101
    ), named as (
        select coalesce(pg_describe_object('pg_class'::regclass, rule.ev_class, 0),
                        pg_describe_object(bounded.through_classid, bounded.through_objid, 0), 'an object that went')
                   || coalesce(' of ' || owner.refobjid::regrole, '') as name,
               bool_and(coalesce(address.object_names[1] ~ '^pg_(toast_)?temp(_[0-9]+)?(\.|$)', true)) as is_temporary
        from bounded
        cross join lateral pg_identify_object_as_address(bounded.classid, bounded.objid, 0) as address
        left join pg_rewrite as rule
            on bounded.through_classid = 'pg_rewrite'::regclass and rule.oid = bounded.through_objid
        left join pg_shdepend as owner
            on owner.dbid = (select oid from pg_database where datname = current_database())
           and (owner.classid, owner.objid) = (
                   case when rule.oid is null then bounded.through_classid else 'pg_class'::regclass end,
                   coalesce(rule.ev_class, bounded.through_objid))
           and owner.deptype = 'o'
        group by 1
    )
    select case when (select count(*) from bounded) > 100 then 'more than 100 objects, such as ' else '' end
               || left(string_agg(name, ', ' order by name), 500),
           bool_and(is_temporary) and (select count(*) from bounded) <= 100
    from named
$$;
revoke execute on function outbox.dependents_of(regclass) from public;

-- Drops a table that its caller has locked, together with temporary objects that depend on it. False, and nothing is
-- dropped, where others do, which are their owners', or too many. Postgres locks all that depends on a table before it
-- refuses to drop it: so this looks first. What names the table by its oid takes no lock on it, so it may come between
-- the look and the drop; what reads the table can't.
create function outbox.drop_table(relation regclass) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- A session that uses its temporary view meanwhile holds that; others wait for the table.
set lock_timeout = '10ms'
as $$
declare
    -- NULL: nothing depends on it.
    with_them constant boolean := (select may_go from outbox.dependents_of(relation));
begin
    if not with_them then
        return false;
    end if;
    execute format('drop table %s %s', relation, case when with_them then 'cascade' end);
    return true;
exception when dependent_objects_still_exist then  -- it came since
    return false;
end
$$;
revoke execute on function outbox.drop_table(regclass) from public;

-- The partitions that nothing is written to any more, that are empty, and that can't be dropped: of each what depends on
-- it, as a sentence.
create function outbox.pinned_partitions() returns table (partition text, pinned_by text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select attached.partition, dependents || ' depends on it'
    from outbox.known_partition as known
    join outbox.attached_partition as attached using (parent, number)
    cross join lateral outbox.dependents_of(attached.oid::regclass)
    where known.upto_time is not null and pg_relation_size(attached.oid) = 0 and dependents is not null
    order by attached.partition
$$;
revoke execute on function outbox.pinned_partitions() from public;

-- Turns, makes and drops partitions of a table whose rows are of no use after `keep_days`. The log is never dropped by
-- age alone: see make_partitions and retire_partition. Returns how many partitions were made or dropped. A partition
-- that another session locks for longer than the lock timeout is left for the next call; one that something depends on
-- is emptied, see outbox.pinned_partitions.
create function outbox.turn_by_age(parent text, keep_days integer) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Writers queue behind this lock, and wait no longer than this.
set lock_timeout = '80ms'
as $$
#variable_conflict use_variable
declare
    schema constant text    := split_part(parent, '.', 1);
    turned          integer := 0;
    old             text;
    pinned          boolean;
    occupied        boolean;
begin
    begin
        perform from outbox.installation for update;
    exception when lock_not_available then
        return 0;
    end;
    begin
        turned := outbox.make_ahead(parent, outbox.turn_partition(parent, keep_days), clock_timestamp());
    exception when lock_not_available then
        null;
    end;
    for old in select outbox.past_partitions(parent, keep_days) loop
        begin
            select may_go is false into pinned from outbox.dependents_of(format('%I.%I', schema, old)::regclass);
            -- Parent first, as every session locks them. For a partition that stays nobody has to wait.
            if not pinned then
                perform set_config('lock_timeout', '80ms', true);
                execute format('lock table only %s in access exclusive mode', parent);
            end if;
            -- Whoever waits for the table has waited since then.
            perform set_config('lock_timeout', '10ms', true);
            execute format('lock table %I.%I in access exclusive mode', schema, old);
            if not pinned and outbox.drop_table(format('%I.%I', schema, old)::regclass) then
                turned := turned + 1;
                continue;
            end if;
            execute format('select exists (select from %I.%I)', schema, old) into occupied;
            if occupied then
                execute format('truncate %I.%I', schema, old);
            end if;
        exception when lock_not_available or out_of_memory then  -- the latter where no room for locks is left
            null;
        end;
    end loop;
    perform set_config('lock_timeout', '80ms', true);
    delete from outbox.known_partition as known
    where known.parent = turn_by_age.parent and known.upto_time is not null
      and not exists (select from outbox.attached_partition as attached
                      where attached.parent = known.parent and attached.number = known.number);
    return turned;
end
$$;
revoke execute on function outbox.turn_by_age(text, integer) from public;

-- How far the ids of the log had come at a time, noted once an hour, so that a time leads to an id.
create table outbox.log_mark (
    at timestamptz primary key,
    id bigint not null
);

-- The lowest id that a message of `since` or later may have.
create function outbox.first_id_since(since timestamptz) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    -- A message draws its id before its time: a minute is allowed between the two.
    select coalesce(max(id), 0) from outbox.log_mark where at <= since - interval '1 minute'
$$;
revoke execute on function outbox.first_id_since(timestamptz) from public;

-- Turns the log to its next partition in time, and makes one ahead; notes how far the ids have come. Returns how many
-- were made; 0 as well where another session held a lock for longer than the lock timeout, and the next call tries
-- again.
create function outbox.make_partitions(retention_days integer default 7) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
    log     constant text        := 'outbox.message';
    now     constant timestamptz := clock_timestamp();
    written timestamptz          := now;
    present integer;
begin
    present := outbox.turn_partition(log, retention_days);
    -- A clock may have been ahead when the last messages were written. A day at most is believed, since the owner of
    -- the log may write any time.
    if exists (select from outbox.known_partition where parent = log and number < present and upto_time is null)
        or not exists (select from outbox.log_mark where at > now - interval '1 hour')
    then
        select greatest(now, least(coalesce(max(last.created_at), now), now + interval '1 day')) into written
        from generate_series(1, 5) as class
        cross join lateral (
            select created_at from outbox.message where priority::integer = class order by id + 0 desc limit 1
        ) as last;
        insert into outbox.log_mark (at, id)
        values (written, coalesce(pg_sequence_last_value(pg_get_serial_sequence(log, 'id')::regclass), 0))
        on conflict do nothing;
        delete from outbox.log_mark
        where id < (select coalesce(min(number), 0) * outbox.partition_room()
                    from outbox.attached_partition where parent = log)
          and at < (select max(at) from outbox.log_mark);
    end if;
    return outbox.make_ahead(log, present, written);
exception when lock_not_available then
    return 0;
end
$$;
revoke execute on function outbox.make_partitions(integer) from public;

-- `truncate outbox.message restart identity` would give ids anew that dead letters and outbox.log_mark still hold. A
-- message that can't be delivered would then take the dead letter of another one, and a replay from a time would begin
-- too late.
create function outbox.give_no_id_twice() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform outbox.advance_sequence('outbox.message', greatest(
        (select max(message_id) from outbox.dead_letter),
        (select max(upto_id) from outbox.checkpoint),
        (select max(id) from outbox.log_mark)));
    return null;
end
$$;
create trigger give_no_id_twice after truncate on outbox.message
    for each statement execute function outbox.give_no_id_twice();

select outbox.make_partitions();

insert into outbox.migration (version, name) values (3, 'partition');
