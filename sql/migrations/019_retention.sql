-- Retention: which partitions of the log may go, and which round of maintenance was the last.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- The subscriptions that have not passed some message of a partition, or whose rows still need one, as a sentence; NULL
-- where there are none. Asked as the relay's probe asks: the planner knows nothing of xid8 and would read the partition,
-- and the rows of an open transaction, which no snapshot shows, would be walked for each cursor. Redriven dead letters
-- need no partition: they carry a copy of their message.
create function outbox.partition_needed_by(partition text) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    first_id constant bigint := substring(partition from '_([0-9]+)$')::bigint * outbox.partition_room();
    sentence text;
begin
    execute format(
        'with standing as materialized (
             select cursor.id, subscription.name, cursor.priority, latest.seen
             from outbox.subscription
             join outbox.cursor on cursor.subscription_id = subscription.id
             cross join lateral (
                 select seen from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
             ) as latest
         ), newest as materialized (
             select class.priority, fresh.xid
             from generate_series(1, 5) as class (priority)
             cross join lateral (
                 select found.xid
                 from outbox.finished_ranges((
                     select pg_snapshot_xmax(seen) as xmax from standing order by xmax limit 1)) as finished
                 cross join lateral (
                     select xid from outbox.%1$I
                     where priority = class.priority::smallint
                       and xid >= finished.from_xid and xid < finished.before_xid
                     order by xid desc limit 1
                 ) as found
                 order by found.xid desc limit 1
             ) as fresh
         )
         select ''not yet passed by '' || string_agg(waiting.name || '' (priority '' || priorities || '')'', '', ''
                                                     order by waiting.name)
         from (
             select name, string_agg(distinct priority::text, '', '') as priorities
             from standing
             where exists (
                     select from newest
                     where newest.priority = standing.priority and newest.xid >= pg_snapshot_xmax(standing.seen))
                or exists (
                     select from outbox.%1$I
                     where priority = standing.priority
                       and xid = any (array(
                           select x from pg_snapshot_xip(standing.seen) as x
                           where pg_visible_in_snapshot(x, (select pg_current_snapshot())))))
                -- A row with a dead letter has a copy of its message.
                or exists (
                     select from outbox.delivery
                     join outbox.%1$I as m on m.priority::integer = standing.priority::integer
                                          and m.id + 0 = delivery.message_id
                     where delivery.cursor_id = standing.id and delivery.dead_letter_id is null
                       and delivery.message_id >= $1 and delivery.message_id < $1 + outbox.partition_room())
             group by name
         ) as waiting', partition)
    into sentence using first_id;
    return sentence;
end
$$;
revoke execute on function outbox.partition_needed_by(text) from public;

-- The partitions of the log, oldest first: what they hold and what keeps them.
create function outbox.partition_state(retention_days integer default 7)
returns table (
    partition      text,
    from_time      timestamptz, -- NULL: made ahead
    upto_time      timestamptz, -- NULL: messages are still written to it
    estimated_rows bigint,      -- NULL until it was analysed
    bytes          bigint,
    past_retention boolean,
    needed_by      text         -- of one that is past retention; NULL: every cursor has passed it
)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select attached.partition, known.from_time, known.upto_time,
           nullif(attached.reltuples, -1)::bigint,
           pg_total_relation_size(attached.oid),
           age.past_retention,
           case when age.past_retention then outbox.partition_needed_by(attached.partition) end
    from outbox.known_partition as known
    join outbox.attached_partition as attached using (parent, number)
    cross join lateral (
        select coalesce(known.upto_time <= clock_timestamp() - make_interval(days => retention_days), false)
    ) as age (past_retention)
    where attached.parent = 'outbox.message'
    order by known.number
$$;
revoke execute on function outbox.partition_state(integer) from public;

-- Takes one step to free a partition that is past retention, and says which: 'kept' (too young), 'needed' (some cursor
-- has not passed it), 'truncated', 'dropped' (it was empty), 'pinned' (it is empty, and something depends on it, see
-- outbox.pinned_partitions), or 'locked' (other sessions held it for longer than the lock timeout: call again later).
-- A full partition is truncated, because that works beside a long writer elsewhere in the log. Dropping the empty one
-- needs the parent, which any open writer holds. Call it in a transaction of its own: its locks last until the commit.
create function outbox.retire_partition(partition text, retention_days integer) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- Writers queue behind this lock, and wait no longer than this.
set lock_timeout = '80ms'
as $$
declare
    known    outbox.known_partition;
    occupied boolean;
begin
    -- A snapshot from before the lock would miss what was committed while this waited for it.
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
    -- Before any lock, for which writers would wait in each round.
    if not occupied and (select not may_go from outbox.dependents_of(format('outbox.%I', partition)::regclass)) then
        return 'pinned';
    end if;
    begin
        if not occupied then
            -- Parent first, as every session locks them: a reader that holds it and waits for the partition would
            -- deadlock.
            lock table only outbox.message in access exclusive mode;
            -- Writers wait from here on.
            perform set_config('lock_timeout', '10ms', true);
        end if;
        execute format('lock table outbox.%I in access exclusive mode', partition);
        -- From here on no session writes into it, and this sees what was written while it waited.
        if outbox.partition_needed_by(partition) is not null then
            return 'needed';
        end if;
        if occupied then
            execute format('truncate outbox.%I', partition);
            return 'truncated';
        end if;
        if not outbox.drop_table(format('outbox.%I', partition)::regclass) then
            return 'pinned';
        end if;
        delete from outbox.known_partition where parent = known.parent and number = known.number;
        return 'dropped';
    exception when lock_not_available or deadlock_detected then  -- the latter from a second call at the same moment
        return 'locked';
    end;
end
$$;
revoke execute on function outbox.retire_partition(text, integer) from public;

-- The partitions of the log and of the attempts that should have been made or dropped by now and were not, since other
-- sessions held what that takes: the next one of each, and those of the attempts that are past their time. Those that
-- something depends on are others: see outbox.pinned_partitions.
create function outbox.partitions_left_out(retention_days integer default 7, keep_days integer default 30)
returns text[]
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    with wanted as (
        select parent, outbox.present_partition(parent) + 1 as number
        from (select distinct parent from outbox.known_partition) as partitioned
    )
    select coalesce(array_agg(partition order by partition), '{}')
    from (
        select split_part(parent, '.', 2) || '_' || number as partition from wanted
        where to_regclass(parent || '_' || number) is null
        union all
        -- The log should have left it: a transaction that is older than the next one is open, somewhere in the cluster.
        select 'message_' || number from outbox.known_partition
        where parent = 'outbox.message' and number = outbox.present_partition(parent)
          and from_time < clock_timestamp() - outbox.partition_width(retention_days) - interval '1 day'
        union all
        select past.partition from outbox.past_partitions('outbox.attempt_log', keep_days) as past (partition)
        where past.partition not in (select pinned.partition from outbox.pinned_partitions() as pinned)
    ) as left_out
$$;
revoke execute on function outbox.partitions_left_out(integer, integer) from public;

-- The latest round of maintenance: one row, which is also the lock of the relay that does a round. Any login may take
-- an advisory lock, and most locks on a table, since Postgres takes those before it asks for rights. A row is locked
-- only by who may UPDATE it: the owner, and relays by hold_maintenance. To mark the row so takes a transaction id and a
-- hundred bytes of WAL; a round does it a dozen times a minute.
create table outbox.maintenance (
    single  boolean     primary key default true check (single),
    -- The last round that left nothing out, and which relay did it.
    done_at timestamptz not null default clock_timestamp(),
    relay   text        not null default '',
    -- Which part failed in the latest round, and why; NULL: none did.
    fault   text,

    constraint fault_is_at_most_1000_characters check (length(fault) <= 1000)
) with (fillfactor = 50);
insert into outbox.maintenance default values;

-- Takes the maintenance for this transaction; false: another relay has it, or another session a lock on the whole table
-- that would also keep note_maintenance out. Readers do not wait for it.
create function outbox.hold_maintenance() returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
begin
    begin
        lock table outbox.maintenance in row exclusive mode;
    exception when lock_not_available then
        return false;
    end;
    -- Not within the block above: by the transaction that locks the row its session is found.
    perform from outbox.maintenance for update skip locked;
    return found;
end
$$;
revoke execute on function outbox.hold_maintenance() from public;

-- Notes a round that is over. `fault`: what went wrong in it; NULL: nothing, and nothing was left out. It does not
-- write what a note of the last two minutes says already. For the transaction that holds the maintenance.
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
revoke execute on function outbox.note_maintenance(text, text) from public;

insert into outbox.migration (version, name) values (19, 'retention');
