-- Subscribers as cursors over the log, and where each of them stands.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

create table outbox.cursor (
    id              bigint generated always as identity primary key,
    subscription_id bigint   not null references outbox.subscription on delete cascade,
    shard           smallint not null,
    priority        smallint not null,
    -- NULL: the subscription's channels. A name: it is a channel cursor, made when that channel's topic took nothing,
    -- so that the channel waits alone; its origin, the cursor without a channel of the same shard and priority, leaves
    -- the channel out from the same position on.
    channel         text,
    -- While the topic of a channel cursor is missing or takes nothing: nothing of its channel was delivered since then.
    waiting_since   timestamptz,
    waiting_reason  text,
    -- For exactly once. `generation` ends the name of its Kafka transactions. It is counted up where a transaction was
    -- given up that can't be ended, since a topic that it wrote to takes nothing. `noted_in`: the cluster that may hold
    -- a note of the cursor, as outbox.other_cluster names it.
    generation      integer  not null default 0,
    noted_in        text,
    -- How often it was set back: by that a receiver knows a replay that drops what it has seen before.
    replays         integer  not null default 0,

    constraint priority_is_1_to_5 check (priority between 1 and 5),
    constraint the_waiting_have_a_reason check ((waiting_since is null) = (waiting_reason is null))
);
create unique index cursor_is_unique
    on outbox.cursor (subscription_id, shard, priority, coalesce(channel, ''));
create index cursor_channel on outbox.cursor (subscription_id, shard, priority) where channel is not null;

-- Where a cursor stands. Rows are only inserted, the highest n counts, and the oldest are trimmed: a row that is
-- updated per run would grow a chain of dead versions while any session holds an old snapshot. (cursor_id, n) is also
-- the fence: of two relays that believe they hold a cursor, only one can write the next n.
create table outbox.checkpoint (
    cursor_id  bigint      not null references outbox.cursor on delete cascade,
    n          bigint      not null,
    -- Every message visible in `seen` is done. Between deltas the rest is NULL.
    seen       pg_snapshot not null,
    -- The delta under way: what is visible in `target` and not in `seen`, done up to and including `after_id`;
    -- first the late messages below `fresh_id`, then the range from `fresh_id` to `upto_id`.
    target     pg_snapshot,
    after_id   bigint,
    fresh_id   bigint,
    upto_id    bigint,
    relay      text        not null,
    -- How many messages of the run were acknowledged, of how many bytes, and how many of its attempts failed. Breakers
    -- are decided by these numbers.
    messages   integer     not null default 0,
    bytes      bigint      not null default 0,
    failures   integer     not null default 0,
    -- What Kafka holds of a cursor names the checkpoint that it follows by n and token: after a restore the same n may
    -- come again for another run, and the same token never does.
    token      bigint      not null default hashtextextended(gen_random_uuid()::text, 0),
    created_at timestamptz not null default clock_timestamp(),

    primary key (cursor_id, n),
    constraint a_delta_is_whole check (num_nulls(target, after_id, fresh_id, upto_id) in (0, 4))
);

-- Which of a subscription's shards a message belongs to: by its group, or spread by id where it has none.
create function outbox.shard_of(group_key text, message_id bigint, shards integer) returns integer
language sql immutable parallel safe
return ((coalesce(hashtextextended(group_key collate "C", 0), message_id) & 9223372036854775807) % shards)::integer;

-- How many cursors there may be in all, channel cursors apart. A relay looks at each cursor several times a second, so
-- that 5,000 cost it and Postgres a third of a core while nothing happens. The owner may change it.
create table outbox.quota (
    single          boolean  primary key default true check (single),
    cursors         integer  not null default 5000 constraint cursors_are_at_least_5 check (cursors >= 5),
    -- How many percent of that each API key that is limited to channels may use. Keys of one name share it, so that a
    -- new key in the place of an old one has no second share. All such keys together leave as much to all others.
    limited_percent smallint not null default 10
        constraint limited_percent_is_0_to_50 check (limited_percent between 0 and 50)
);
insert into outbox.quota default values;

-- Raises check_violation where a new subscription's cursors are more than there is room for.
create function outbox.require_room(shards integer, made_by text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    takes   constant integer := 5 * require_room.shards;
    most    integer;
    share   integer;
    had     bigint;
    own     bigint;
    refusal text;
begin
    -- One subscription after the other: the row stays locked until the commit, so the count includes what was made
    -- meanwhile. It is an update so that a transaction with an older snapshot fails instead of counting by that
    -- snapshot.
    update outbox.quota set cursors = cursors
    returning cursors, cursors::bigint * limited_percent / 100 into most, share;
    select count(*) into had from outbox.cursor where channel is null;
    if require_room.made_by is null then
        if had + takes > most then
            refusal := format('of at most %s there are %s already: take fewer shards, delete a subscription that '
                              'is not needed, or raise outbox.quota.cursors as the owner', most, had);
        end if;
    else
        -- A limited key does not learn how many cursors others have.
        select count(*) into own
        from outbox.cursor join outbox.subscription on subscription.id = cursor.subscription_id
        where cursor.channel is null and subscription.made_by = require_room.made_by;
        if own + takes > share then
            refusal := format('of at most %s for what API keys named %s make there are %s already: take fewer shards, '
                              'delete a subscription that is not needed, or ask who gave you the key',
                              share, require_room.made_by, own);
        elsif had + takes > most - share then
            refusal := 'there is no room for them: take fewer shards, or ask who gave you the API key';
        end if;
    end if;
    if refusal is not null then
        raise exception 'shards = % takes % cursors, and %', require_room.shards, takes, refusal
            using errcode = 'check_violation', schema = 'outbox', table = 'subscription', column = 'shards',
                  constraint = 'cursors_are_within_the_quota';
    end if;
end
$$;
revoke execute on function outbox.require_room(integer, text) from public;

-- The snapshot of now, with the calling transaction in progress. pg_current_snapshot() does not list it, so that it looks
-- seen as soon as a later one has ended; what it writes itself, now or afterwards, commits with it and is still to come.
create function outbox.current_snapshot() returns pg_snapshot
language sql stable
begin atomic
    select case when own < pg_snapshot_xmax(here)
                then format('%s:%s:%s', least(pg_snapshot_xmin(here), own), pg_snapshot_xmax(here),
                            (select string_agg(xid::text, ',' order by xid)
                             from (select pg_snapshot_xip(here) union select own) as in_progress (xid)))::pg_snapshot
                else here end
    from (select pg_current_snapshot(), pg_current_xact_id_if_assigned()) as now (here, own);
end;
revoke execute on function outbox.current_snapshot() from public;

-- A subscription gets its cursors in the transaction that makes it, at that transaction's snapshot: every message that
-- commits from then on reaches it, and what that transaction itself publishes.
create function outbox.make_cursors() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    here pg_snapshot := outbox.current_snapshot();
begin
    perform outbox.require_room(new.shards, new.made_by);
    with made as (
        insert into outbox.cursor (subscription_id, shard, priority)
        select new.id, shard, priority
        from generate_series(0, new.shards - 1) as shard, generate_series(1, 5) as priority
        returning id
    )
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select made.id, 0, here, '' from made;
    return null;
end
$$;
create trigger make_cursors after insert on outbox.subscription
    for each row execute function outbox.make_cursors();

insert into outbox.subscription (name) values ('kafka');

-- The ranges of transaction ids from `first` on in which all transactions are over. A query for what has come since a
-- snapshot looks into each of them. In one range from `first` on, every query would walk the rows of a transaction that
-- writes a million messages, until it commits. Each range is a look into each partition (a probe: 25 µs in eight), so
-- only the oldest hundred transactions in progress are left out: as many as a server has sessions by default. Between
-- neighbours there is nothing to look for. Without SET, so that it becomes a part of the calling statement; its names
-- were looked up when it was made. The query for each range stands in a subquery that the planner can't dissolve (with
-- an aggregate, LIMIT or OFFSET 0): else the planner would walk the log once and compare with the ranges.
create function outbox.finished_ranges(first xid8) returns table (from_xid xid8, before_xid xid8)
language sql stable
begin atomic
    select finished.from_xid, finished.before_xid
    from (
        select coalesce((lag(in_progress.xid) over (order by in_progress.xid)::text::bigint + 1)::text::xid8, first)
                   as from_xid,
               in_progress.xid as before_xid
        from (
            (select xid from pg_snapshot_xip(pg_current_snapshot()) as xid where xid >= first order by xid limit 100)
            union all
            select pg_snapshot_xmax(pg_current_snapshot())
        ) as in_progress
    ) as finished
    where finished.from_xid < finished.before_xid;
end;
revoke execute on function outbox.finished_ranges(xid8) from public;

-- Deletes old checkpoints. The last `keep_at_least` of each cursor stay, whatever their age, and the latest always.
-- Walks from the old end, so it costs what it deletes. Returns how many it deleted.
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
revoke execute on function outbox.trim_checkpoints(interval, integer) from public;

-- Each cursor, where it stands, and the name of its subscription.
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

-- How many messages the relays delivered per subscription and minute, for as long as checkpoints are kept.
create view outbox.throughput as
select subscription.name as subscription, date_trunc('minute', checkpoint.created_at) as minute,
       sum(checkpoint.messages)::bigint as messages, sum(checkpoint.bytes)::bigint as bytes, count(*) as runs
from outbox.checkpoint
join outbox.cursor on cursor.id = checkpoint.cursor_id
join outbox.subscription on subscription.id = cursor.subscription_id
where checkpoint.relay <> ''
group by subscription.name, minute;

insert into outbox.migration (version, name) values (5, 'cursor');
