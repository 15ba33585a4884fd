-- The log by partitions: made ahead of the ids, turned to as time goes, taken away when every cursor has passed them.
set search_path = pg_catalog, pg_temp;

-- A partition has room for 10^11 ids: the first for those below 100,000,000,000, the second for the next, and so on. It
-- is turned to by setting the sequence of the ids to its first. So a row's place is known with its id: no clock and no
-- time zone decides it, no row ever moves, making a partition locks out neither readers nor writers, and where nobody
-- turns, as while no relay runs, the log goes on in the partition that it has.
create table outbox.log_partition (
    number    integer     primary key check (number >= 0),
    -- The transaction that made it, and when.
    xid       xid8        not null default pg_current_xact_id(),
    made_at   timestamptz not null default clock_timestamp(),
    -- NULL: none of its ids has been drawn.
    from_time timestamptz,
    -- NULL: its ids may still be drawn.
    upto_time timestamptz,

    constraint it_is_begun_before_it_ends check (upto_time is null or from_time <= upto_time)
);

-- How far the ids had come at a time, noted once an hour: the way from a time into the log.
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

-- Those that are attached to the log, whoever made them: an operator may detach one to keep it elsewhere.
create view outbox.attached_partition as
select substr(class.relname, 9)::integer as number, class.oid, class.relname::text as partition, class.reltuples
from pg_inherits
join pg_class as class on class.oid = pg_inherits.inhrelid
where pg_inherits.inhparent = 'outbox.message'::regclass and class.relname ~ '^message_[0-9]{1,8}$';

-- The partition that ids are drawn for now. Not by the sequence alone: a copy brings none, and TRUNCATE may restart it.
create function outbox.present_partition() returns integer
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select greatest(
        coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox.message', 'id')::regclass), 0) / 100000000000,
        (select max(number) from outbox.log_partition where from_time is not null))::integer
$$;

-- How long a partition is written to: a quarter of the retention, a day at least.
create function outbox.partition_width(retention_days integer) returns interval
language sql immutable
return greatest(retention_days / 4.0, 1) * interval '1 day';

-- Turns to the next partition where the present one has been written to for long enough, and makes one ahead. So the log is seven partitions however long it is kept: a statement over it locks each of them with
-- its indexes, and the plans that the relay keeps look at each. Returns how many were made. What others lock for longer
-- than the lock timeout is left for the next call.
create function outbox.make_partitions(retention_days integer default 7) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
    room     constant bigint   := 100000000000;
    sequence constant regclass := pg_get_serial_sequence('outbox.message', 'id');
    width    constant interval := outbox.partition_width(retention_days);
    now      constant timestamptz := clock_timestamp();
    made     integer := 0;
    present  integer;
    written  timestamptz;
begin
    -- One at a time; readers and writers of the log don't meet it.
    lock table outbox.log_partition in exclusive mode;
    present := outbox.present_partition();
    -- The clock may have been ahead when it was begun.
    update outbox.log_partition set from_time = now where number = present and from_time > now;
    -- A transaction that has written to the log takes no notice of a partition that is made meanwhile, and its next
    -- message would be refused. So those that were open when the next one was made are over before it is turned to; the
    -- hour is for those that hold the log and have written nothing, which nobody can tell from others.
    if exists (select from outbox.log_partition where number = present and from_time <= now - width)
        and exists (select from outbox.log_partition join outbox.attached_partition using (number)
                    where number = present + 1 and made_at < now - interval '1 hour'
                      and xid < pg_snapshot_xmin(pg_current_snapshot()))
    then
        present := present + 1;
    end if;
    if present > coalesce(pg_sequence_last_value(sequence), 0) / room then
        -- It is not undone where this transaction is rolled back: the next call then finds it done.
        perform setval(sequence, present * room);
    end if;
    -- The clock may have been ahead of this one when the last messages were written; a day at most, since what they say of
    -- their time is their owner's.
    if exists (select from outbox.log_partition where number < present and upto_time is null)
        or not exists (select from outbox.log_mark where at > now - interval '1 hour')
    then
        select greatest(now, least(coalesce(max(last.created_at), now), now + interval '1 day')) into written
        from generate_series(1, 5) as class
        cross join lateral (
            select created_at from outbox.message where priority::integer = class order by id + 0 desc limit 1
        ) as last;
        insert into outbox.log_mark (at, id) values (written, coalesce(pg_sequence_last_value(sequence), 0))
        on conflict do nothing;
        delete from outbox.log_mark
        where id < (select coalesce(min(number), 0) * room from outbox.attached_partition)
          and at < (select max(at) from outbox.log_mark);
    end if;
    -- What lies before is over, whoever has moved the sequence on.
    update outbox.log_partition
    set from_time = least(from_time, now), upto_time = written
    where number < present and upto_time is null;

    insert into outbox.log_partition (number, from_time, upto_time)
    select number, now, now from outbox.attached_partition where number < present
    on conflict do nothing;
    for ahead in present .. present + 1 loop
        if not exists (select from outbox.attached_partition where number = ahead) then
            execute format('create table outbox.%I (like outbox.message including defaults including constraints)',
                           'message_' || ahead);
            -- LIKE leaves this out.
            execute format('alter table outbox.%I replica identity full', 'message_' || ahead);
            execute format('alter table outbox.message attach partition outbox.%I for values from (%s) to (%s)',
                           'message_' || ahead, ahead * room, (ahead + 1) * room);
            delete from outbox.log_partition where number = ahead;
            made := made + 1;
        end if;
        insert into outbox.log_partition (number) values (ahead) on conflict do nothing;
    end loop;
    update outbox.log_partition set from_time = coalesce(from_time, now), upto_time = null where number = present;
    return made;
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
    from outbox.log_partition as known
    join outbox.attached_partition as attached using (number)
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
    known    outbox.log_partition;
    occupied boolean;
begin
    -- A snapshot from before the lock would miss what was committed while we waited for it.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.retire_partition runs in READ COMMITTED only'
            using errcode = 'invalid_transaction_state';
    end if;
    select log_partition.* into known from outbox.log_partition
    join outbox.attached_partition as attached using (number) where attached.partition = retire_partition.partition;
    if not found then
        raise exception 'outbox.% is no partition of outbox.message', partition using errcode = 'undefined_table';
    end if;
    if known.number >= outbox.present_partition() or known.upto_time is null
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
        delete from outbox.log_partition where number = known.number;
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
    outbox.present_partition(),
    outbox.partition_width(integer),
    outbox.partition_needed_by(text),
    outbox.partition_state(integer),
    outbox.retire_partition(text, integer),
    outbox.trim_checkpoints(interval, integer),
    outbox.trim_dead_letters(integer)
from public;

select outbox.make_partitions();

insert into outbox.migration (version, name) values (3, 'partitions');
