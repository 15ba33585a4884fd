-- Tables by partitions: made ahead of the ids, turned to as time goes, taken away when they are old. So are the log, the
-- attempts, and the memory of payment webhooks. None of them has a default partition: its rows would have to be moved
-- one day, and each new partition would be scanned for, while writers wait.
set search_path = pg_catalog, pg_temp;

-- A partition has room for so many ids: the first for those below 100,000,000,000, the second for the next, and so on. It
-- is turned to by setting the sequence of the ids to its first. So a row's place is known with its id: no clock and no
-- time zone decides it, no row ever moves, making a partition locks out neither readers nor writers, and where nobody
-- turns, as while no relay runs, the table goes on in the partition that it has.
create function outbox.partition_room() returns bigint
language sql immutable parallel safe
return 100000000000;

create table outbox.known_partition (
    -- The table that is partitioned, with its schema: 'outbox.message'. No regclass, which a dump of one schema could not
    -- bring back.
    parent    text        not null,
    number    integer     not null check (number >= 0),
    -- The transaction that made it, and when.
    xid       xid8        not null default pg_current_xact_id(),
    made_at   timestamptz not null default clock_timestamp(),
    -- NULL: none of its ids has been drawn.
    from_time timestamptz,
    -- NULL: its ids may still be drawn.
    upto_time timestamptz,

    primary key (parent, number),
    constraint it_is_begun_before_it_ends check (upto_time is null or from_time <= upto_time)
);

-- How far the ids of the log had come at a time, noted once an hour: the way from a time into the log.
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

-- Those that are attached to a table, whoever made them: an operator may detach one to keep it elsewhere.
create view outbox.attached_partition as
select namespace.nspname || '.' || whole.relname as parent,
       substring(class.relname::text, '_([0-9]{1,8})$')::integer as number,
       class.oid, class.relname::text as partition, class.reltuples
from pg_inherits
join pg_class as class on class.oid = pg_inherits.inhrelid
join pg_class as whole on whole.oid = pg_inherits.inhparent
join pg_namespace as namespace on namespace.oid = whole.relnamespace
where class.relname ~ ('^' || whole.relname || '_[0-9]{1,8}$');

-- The partition that ids are drawn for now. Not by the sequence alone: a copy brings none, and TRUNCATE may restart it.
create function outbox.present_partition(parent text) returns integer
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select greatest(
        coalesce(pg_sequence_last_value(pg_get_serial_sequence(parent, 'id')::regclass), 0) / outbox.partition_room(),
        (select max(number) from outbox.known_partition as known
         where known.parent = present_partition.parent and from_time is not null))::integer
$$;

-- The next id of the table will be higher than `highest_id`, and no lower than it would have been.
create function outbox.advance_sequence(owner regclass, highest_id bigint) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select setval(identity.sequence, highest_id)
    from (select pg_get_serial_sequence(owner::text, 'id')::regclass as sequence) as identity
    where highest_id > coalesce(pg_sequence_last_value(identity.sequence), 0)
$$;

-- `truncate … restart identity` leads back to a partition that may be gone, and nothing could be written. For tables other
-- than the log, which has a stricter one.
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

-- How long a partition is written to: a quarter of the time for which its rows are kept, a day at least. So a table is
-- seven partitions however long it is kept: a statement over it locks each of them with its indexes, and the plans that
-- the relay keeps look at each.
create function outbox.partition_width(keep_days integer) returns interval
language sql immutable
return greatest(keep_days / 4.0, 1) * interval '1 day';

-- Turns to the next partition where the present one has been written to for long enough. Returns the present one from
-- then on. Its transaction is the only one that turns or makes partitions: readers and writers don't meet it.
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
    lock table outbox.known_partition in exclusive mode;
    present := outbox.present_partition(turn_partition.parent);
    -- The clock may have been ahead when it was begun.
    update outbox.known_partition as known set from_time = now
    where known.parent = turn_partition.parent and number = present and from_time > now;
    -- A transaction that has written to the table takes no notice of a partition that is made meanwhile, and its next
    -- row would be refused. So those that were open when the next one was made are over before it is turned to; the
    -- hour is for those that hold the table and have written nothing, which nobody can tell from others.
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
        -- It is not undone where this transaction is rolled back: the next call then finds it done.
        perform setval(ids, present * room);
    end if;
    return present;
end
$$;

-- Makes the present partition and the next one where they are missing, and notes that those before ended at `upto_time`.
-- Returns how many were made.
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
    -- What lies before is over, whoever has moved the sequence on.
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
            -- LIKE leaves this out.
            execute format('alter table %s replica identity full', name);
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

-- The partitions that ended more than `keep_days` ago.
create function outbox.past_partitions(parent text, keep_days integer) returns setof text
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select attached.partition
    from outbox.known_partition as known
    join outbox.attached_partition as attached using (parent, number)
    where attached.parent = past_partitions.parent and known.upto_time <= clock_timestamp() - make_interval(days => keep_days)
    order by number
$$;

-- Turns, makes and drops partitions of a table whose rows nobody needs after `keep_days`; see make_partitions for the log,
-- which is never dropped by age alone. Returns how many partitions were made or dropped. What others lock for longer
-- than the lock timeout is left for the next call.
create function outbox.turn_by_age(parent text, keep_days integer) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Writers queue behind this: a tenth of a second is what they may wait at once.
set lock_timeout = '80ms'
as $$
#variable_conflict use_variable
declare
    schema constant text    := split_part(parent, '.', 1);
    turned          integer := 0;
    old             text;
begin
    begin
        lock table outbox.known_partition in exclusive mode;
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
            -- Parent first, as everybody does, and this is all that is waited for: from here on others wait.
            execute format('lock table only %s in access exclusive mode', parent);
            execute format('lock table %I.%I in access exclusive mode nowait', schema, old);
            execute format('drop table %I.%I', schema, old);
            turned := turned + 1;
        exception when lock_not_available then
            null;
        end;
    end loop;
    delete from outbox.known_partition as known
    where known.parent = turn_by_age.parent and known.upto_time is not null
      and not exists (select from outbox.attached_partition as attached
                      where attached.parent = known.parent and attached.number = known.number);
    return turned;
end
$$;

-- Turns the log to its next partition in time, and makes one ahead; notes how far the ids have come. Returns how many
-- were made. What others lock for longer than the lock timeout is left for the next call.
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
    -- The clock may have been ahead of this one when the last messages were written; a day at most, since what they say of
    -- their time is their owner's.
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

-- The subscriptions that have not passed some message of a partition, as a sentence; NULL where there are none.
-- Asked as the relay's probe asks, two index ranges for each cursor: the planner knows nothing of xid8 and would read
-- the partition. Redriven letters need no partition: they carry a copy of their message.
create function outbox.partition_needed_by(partition text) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    sentence text;
begin
    execute format(
        'select ''not yet passed by '' || string_agg(waiting.name || '' (priority '' || priorities || '')'', '', ''
                                                     order by waiting.name)
         from (
             select subscription.name, string_agg(distinct position.priority::text, '', '') as priorities
             from outbox.subscription
             join (
                 select cursor.subscription_id, cursor.priority, latest.seen
                 from outbox.cursor
                 cross join lateral (
                     select seen from outbox.checkpoint
                     where cursor_id = cursor.id order by n desc limit 1
                 ) as latest
             ) as position on position.subscription_id = subscription.id
             where exists (
                     select from outbox.%1$I
                     where priority = position.priority and xid >= pg_snapshot_xmax(position.seen))
                or exists (
                     select from outbox.%1$I
                     where priority = position.priority
                       and xid = any (array(select pg_snapshot_xip(position.seen))))
             group by subscription.name
         ) as waiting', partition)
    into sentence;
    return sentence;
end
$$;

-- The partitions of the log, oldest first: what they hold and what keeps them.
create function outbox.partition_state(retention_days integer default 7)
returns table (
    partition      text,
    from_time      timestamptz, -- NULL: made ahead
    upto_time      timestamptz, -- NULL: messages are still written to it
    estimated_rows bigint,      -- NULL until it was analysed
    bytes          bigint,
    past_retention boolean,
    needed_by      text         -- NULL: every cursor has passed it
)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select attached.partition, known.from_time, known.upto_time,
           nullif(attached.reltuples, -1)::bigint,
           pg_total_relation_size(attached.oid),
           coalesce(known.upto_time <= clock_timestamp() - make_interval(days => retention_days), false),
           outbox.partition_needed_by(attached.partition)
    from outbox.known_partition as known
    join outbox.attached_partition as attached using (parent, number)
    where attached.parent = 'outbox.message'
    order by known.number
$$;

-- Takes one step to free a partition that is past retention, and says which:
-- 'kept' (too young), 'needed' (some cursor has not passed it), 'truncated', 'dropped' (it was empty), or 'locked'
-- (others held it for longer than the lock timeout: call again later).
-- Full partitions are truncated, because that works beside a long writer elsewhere in the log; dropping the empty shell
-- needs the parent, which any open writer holds. Call it in a transaction of its own: its locks last until the commit.
create function outbox.retire_partition(partition text, retention_days integer) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- Writers queue behind this: a tenth of a second is what they may wait at once.
set lock_timeout = '80ms'
as $$
declare
    known    outbox.known_partition;
    occupied boolean;
begin
    -- A snapshot from before the lock would miss what was committed while we waited for it.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.retire_partition runs in READ COMMITTED only'
            using errcode = 'invalid_transaction_state';
    end if;
    select found.* into known from outbox.known_partition as found
    join outbox.attached_partition as attached using (parent, number)
    where attached.parent = 'outbox.message' and attached.partition = retire_partition.partition;
    if not found then
        raise exception 'outbox.% is no partition of outbox.message', partition using errcode = 'undefined_table';
    end if;
    if known.number >= outbox.present_partition(known.parent) or known.upto_time is null
        or known.upto_time > clock_timestamp() - make_interval(days => retention_days) then
        return 'kept';
    end if;
    if outbox.partition_needed_by(partition) is not null then
        return 'needed';
    end if;
    execute format('select exists (select from outbox.%I)', partition) into occupied;
    begin
        if not occupied then
            -- Parent first, as everybody does: a reader that holds it and waits for the partition would deadlock.
            lock table only outbox.message in access exclusive mode;
        end if;
        execute format('lock table outbox.%I in access exclusive mode', partition);
        -- From here on nobody writes into it; whoever did, while we waited, is seen.
        if outbox.partition_needed_by(partition) is not null then
            return 'needed';
        end if;
        if occupied then
            execute format('truncate outbox.%I', partition);
            return 'truncated';
        end if;
        execute format('drop table outbox.%I', partition);
        delete from outbox.known_partition where parent = known.parent and number = known.number;
        return 'dropped';
    exception when lock_not_available or deadlock_detected then  -- the latter from a second call at the same moment
        return 'locked';
    end;
end
$$;

-- Forgets old checkpoints; the last `keep_at_least` of each cursor stay, whatever their age, and the latest always.
-- Walks from the old end, so it costs what it deletes. Returns how many went.
create function outbox.trim_checkpoints(keep interval default '1 hour', keep_at_least integer default 100)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    trimmed bigint;
begin
    delete from outbox.checkpoint as old
    using outbox.cursor
    cross join lateral (
        select n from outbox.checkpoint
        where cursor_id = cursor.id
        order by n desc offset greatest(keep_at_least, 1) - 1 limit 1
    ) as last_kept
    cross join lateral (
        select n from outbox.checkpoint
        where cursor_id = cursor.id and (created_at >= clock_timestamp() - keep or n >= last_kept.n)
        order by n limit 1
    ) as first_kept
    where old.cursor_id = cursor.id and old.n < first_kept.n;
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;

-- Forgets dead letters that were delivered after all, longer than `retention_days` ago. The others stay until somebody
-- redrives them; what others hold, and what is more than 100,000, until the next call. Returns how many went.
create function outbox.trim_dead_letters(retention_days integer) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    trimmed bigint;
begin
    delete from outbox.dead_letter as letter
    using (
        select id from outbox.dead_letter as old
        where old.delivered_at < clock_timestamp() - make_interval(days => retention_days)
          and not exists (select from outbox.delivery where dead_letter_id = old.id)
        limit 100000
        for update skip locked
    ) as free
    where letter.id = free.id;
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;

-- When the log was last looked after: one row. Its table is also the lock of whoever does it. Any login may take an
-- advisory lock, and would stop all of this without a word; this one takes rights that only the owner has.
create table outbox.maintenance (
    single  boolean     primary key default true check (single),
    -- The last round that left nothing out, and which relay's it was.
    done_at timestamptz not null default clock_timestamp(),
    relay   text        not null default '',
    -- Which part failed in the latest round, and why; NULL: none did.
    fault   text,

    constraint fault_is_at_most_1000_characters check (length(fault) <= 1000)
) with (fillfactor = 50);
insert into outbox.maintenance default values;

-- Whether this transaction is the one that looks after the log now; false: another is at it. Readers of the table are
-- in nobody's way.
create function outbox.hold_maintenance() returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    lock table outbox.maintenance in exclusive mode nowait;
    return true;
exception when lock_not_available then
    return false;
end
$$;

-- Notes a round that is over; `fault`: what went wrong in it, NULL: nothing, and nothing was left out. A note that
-- would say the same as one of the last two minutes is not written. For whoever holds the maintenance.
create function outbox.note_maintenance(relay text, fault text) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    update outbox.maintenance as m
    set done_at = case when note_maintenance.fault is null then clock_timestamp() else m.done_at end,
        relay = case when note_maintenance.fault is null then note_maintenance.relay else m.relay end,
        fault = left(note_maintenance.fault, 1000)
    where m.fault is distinct from left(note_maintenance.fault, 1000)
       or (note_maintenance.fault is null and m.done_at < clock_timestamp() - interval '2 minutes')
$$;

revoke execute on function
    outbox.hold_maintenance(),
    outbox.note_maintenance(text, text),
    outbox.make_partitions(integer),
    outbox.first_id_since(timestamptz),
    outbox.present_partition(text),
    outbox.partition_room(),
    outbox.advance_sequence(regclass, bigint),
    outbox.stay_in_partition(),
    outbox.partition_width(integer),
    outbox.turn_partition(text, integer),
    outbox.make_ahead(text, integer, timestamptz),
    outbox.past_partitions(text, integer),
    outbox.turn_by_age(text, integer),
    outbox.partition_needed_by(text),
    outbox.partition_state(integer),
    outbox.retire_partition(text, integer),
    outbox.trim_checkpoints(interval, integer),
    outbox.trim_dead_letters(integer)
from public;

select outbox.make_partitions();

insert into outbox.migration (version, name) values (3, 'partitions');
