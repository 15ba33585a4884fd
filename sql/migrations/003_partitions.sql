-- The log by days: partitions made ahead of time, and taken away when every cursor has passed them.
set search_path = pg_catalog, pg_temp;

-- Makes the partitions of today and the next days (UTC), and of any other day whose rows sit in the default partition;
-- those rows move with their id and xid, in the same transaction. Returns how many were made. A day that is locked by
-- others for longer than the lock timeout is left for the next call: until then its rows go to the default partition.
create function outbox.make_partitions(days_ahead integer default 7) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD'
set timezone = 'UTC'
set lock_timeout = '200ms'
as $$
declare
    today     date    := (clock_timestamp() at time zone 'UTC')::date;
    made      integer := 0;
    day       date;
    occupied  boolean;
    partition text;
    from_time timestamptz;
    upto_time timestamptz;
begin
    -- One at a time, and before anything else is locked: two that both read the default partition and then want it for
    -- themselves would deadlock.
    begin
        lock table only outbox.message in share update exclusive mode;
    exception when lock_not_available then
        return 0;
    end;
    for day, occupied in
        select days.day, bool_or(days.occupied)
        from (
            select today + ahead, false from generate_series(0, days_ahead) as ahead
            union
            select (created_at at time zone 'UTC')::date, true from outbox.message_default
            -- What has no date of eight digits, such as infinity, stays there.
            where created_at >= '0001-01-02 00:00+00' and created_at < '9999-12-31 00:00+00'
        ) as days (day, occupied)
        group by days.day
        order by days.day
    loop
        partition := 'message_' || to_char(day, 'YYYYMMDD');
        from_time := day::timestamp at time zone 'UTC';
        upto_time := (day + 1)::timestamp at time zone 'UTC';
        continue when to_regclass('outbox.' || partition) is not null;
        begin
            -- Whoever waits for the default partition's lock has chosen his partitions already. A writer of today
            -- would then be refused by the default partition, and a reader would miss the rows that moved, for ever.
            -- So these wait at the parent. Other days have neither.
            if day = today or occupied then
                lock table only outbox.message in access exclusive mode;
            end if;
            lock table outbox.message_default in access exclusive mode;
            execute format('create table outbox.%I (like outbox.message including defaults including constraints)',
                           partition);
            execute format(
                'with moved as (
                     delete from outbox.message_default where created_at >= $1 and created_at < $2 returning *
                 )
                 insert into outbox.%I select * from moved', partition)
            using from_time, upto_time;
            execute format('alter table outbox.message attach partition outbox.%I for values from (%L) to (%L)',
                           partition, from_time, upto_time);
            made := made + 1;
        exception when lock_not_available then
            null;
        end;
    end loop;
    return made;
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

-- The partitions that are a day each; the default one is not among them.
create view outbox.daily_partition as
select class.oid,
       class.relname::text as partition,
       day::timestamp at time zone 'UTC' as from_time,
       (day + 1)::timestamp at time zone 'UTC' as upto_time,
       class.reltuples
from pg_inherits
join pg_class as class on class.oid = pg_inherits.inhrelid
cross join lateral to_date(right(class.relname, 8), 'YYYYMMDD') as day
where pg_inherits.inhparent = 'outbox.message'::regclass
  and class.relname ~ '^message_[0-9]{8}$';

-- The daily partitions, oldest first: what they hold and what keeps them.
create function outbox.partition_state(retention_days integer default 7)
returns table (
    partition      text,
    from_time      timestamptz,
    upto_time      timestamptz,
    estimated_rows bigint,      -- NULL until it was analysed
    bytes          bigint,
    past_retention boolean,
    needed_by      text         -- NULL: every cursor has passed it
)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select daily.partition, daily.from_time, daily.upto_time,
           nullif(daily.reltuples, -1)::bigint,
           pg_total_relation_size(daily.oid),
           daily.upto_time <= clock_timestamp() - make_interval(days => retention_days),
           outbox.partition_needed_by(daily.partition)
    from outbox.daily_partition as daily
    order by daily.partition
$$;

-- Takes one step to free a partition that is past retention, and says which:
-- 'kept' (too young), 'needed' (some cursor has not passed it), 'truncated', 'dropped' (it was empty), or 'locked'
-- (others held it for longer than the lock timeout: call again later).
-- Full partitions are truncated, because that works beside a long writer elsewhere in the log; dropping the empty shell
-- needs the parent, which any open writer holds. Call it in a transaction of its own: its locks last until the commit.
create function outbox.retire_partition(partition text, retention_days integer) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
    upto_time timestamptz;
    occupied  boolean;
begin
    -- A snapshot from before the lock would miss what was committed while we waited for it.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.retire_partition runs in READ COMMITTED only'
            using errcode = 'invalid_transaction_state';
    end if;
    select daily.upto_time into upto_time
    from outbox.daily_partition as daily where daily.partition = retire_partition.partition;
    if not found then
        raise exception 'outbox.% is not a daily partition of outbox.message', partition
            using errcode = 'undefined_table';
    end if;
    if upto_time > clock_timestamp() - make_interval(days => retention_days) then
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
-- redrives them. Returns how many went.
create function outbox.trim_dead_letters(retention_days integer) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    trimmed bigint;
begin
    delete from outbox.dead_letter as letter
    where letter.delivered_at < clock_timestamp() - make_interval(days => retention_days)
      and not exists (select from outbox.delivery where dead_letter_id = letter.id);
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
    outbox.partition_needed_by(text),
    outbox.partition_state(integer),
    outbox.retire_partition(text, integer),
    outbox.trim_checkpoints(interval, integer),
    outbox.trim_dead_letters(integer)
from public;

select outbox.make_partitions();

insert into outbox.migration (version, name) values (3, 'partitions');
