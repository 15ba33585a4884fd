-- Subscribers as cursors over the log, and what a cursor could not deliver.
set search_path = pg_catalog, pg_temp;

create table outbox.subscription (
    id            bigint generated always as identity primary key,
    name          text        not null unique,
    kind          text        not null default 'kafka',
    -- NULL: every channel whose name does not start with `outbox.`.
    channels      text[],
    -- Every channel that it reads or has read, as remember_channels keeps it; NULL: among them all. What is left of a
    -- former one (rows, attempts, letters) is still the subscription's.
    read_channels text[],
    delivery      text        not null default 'at_least_once',
    -- Fixed at creation: a rehash would put one group under two cursors.
    shards        smallint    not null default 1,
    paused        boolean     not null default false,
    paused_reason text,
    settings      jsonb       not null default '{}',
    -- The name of the API key that made it, where that key is limited to channels; see outbox.require_room.
    made_by       text,
    created_at    timestamptz not null default clock_timestamp(),

    constraint name_is_1_to_100_letters_digits_dots_dashes
        check (name ~ '^[A-Za-z0-9._-]+$' and length(name) <= 100),
    constraint kind_is_kafka check (kind = 'kafka'),
    constraint delivery_is_at_least_once check (delivery = 'at_least_once'),
    constraint shards_are_1_to_64 check (shards between 1 and 64),
    constraint channels_hold_no_null check (array_position(channels, null) is null),
    constraint only_the_paused_have_a_reason check (paused or paused_reason is null),
    constraint made_by_is_at_most_100_characters check (length(made_by) <= 100),
    constraint settings_are_an_object check (jsonb_typeof(settings) = 'object')
);

create table outbox.cursor (
    id              bigint generated always as identity primary key,
    subscription_id bigint   not null references outbox.subscription on delete cascade,
    shard           smallint not null,
    priority        smallint not null,
    -- NULL: the subscription's channels. A name: forked for that one channel when its topic took nothing,
    -- so that it waits alone; the unforked cursor leaves the channel out from the same position on.
    channel         text,
    -- While a fork's topic is missing or takes nothing: nothing of its channel was delivered since then.
    waiting_since   timestamptz,
    waiting_reason  text,
    -- For exactly once. What its transactions' name ends with: the next number where one was given up that can't be
    -- ended whole, since a topic that it wrote to takes nothing. And whether Kafka may hold a note of the cursor.
    generation      integer  not null default 0,
    noted           boolean  not null default false,

    constraint priority_is_1_to_5 check (priority between 1 and 5),
    constraint the_waiting_have_a_reason check ((waiting_since is null) = (waiting_reason is null))
);
create unique index cursor_is_unique
    on outbox.cursor (subscription_id, shard, priority, coalesce(channel, ''));
create index cursor_fork on outbox.cursor (subscription_id, shard, priority) where channel is not null;

-- Where a cursor stands. Insert-only, the highest n counts, trimmed from the old end: a row updated per run would
-- grow a chain of dead versions under any old snapshot. (cursor_id, n) is also the fence: of two relays that believe
-- they hold a cursor, only one can write the next n.
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
    messages   integer     not null default 0,
    bytes      bigint      not null default 0,
    created_at timestamptz not null default clock_timestamp(),

    primary key (cursor_id, n),
    constraint a_delta_is_whole check (num_nulls(target, after_id, fresh_id, upto_id) in (0, 4))
);

-- What was given up, with a copy of the message, so that retention can never take it away.
create table outbox.dead_letter (
    id              bigint generated always as identity primary key,
    -- No cascade: a subscription that still has letters can't be deleted by the way.
    subscription_id bigint      not null references outbox.subscription,
    cursor_id       bigint      not null references outbox.cursor,
    message_id      bigint      not null,
    priority        smallint    not null,
    channel         text        not null,
    type            text        not null,
    group_key       text,
    idempotency_key text        not null,
    headers         text,
    content_type    text        not null,
    payload         bytea       not null,
    created_at      timestamptz not null,
    reason          text        not null,
    detail          text        not null,
    attempts        integer     not null,
    died_at         timestamptz not null default clock_timestamp(),
    redriven_at     timestamptz,
    delivered_at    timestamptz,

    constraint letter_is_unique unique (cursor_id, message_id),
    constraint only_the_redriven_are_delivered check (delivered_at is null or redriven_at is not null)
);

-- A message that goes to one cursor outside the log: here a redriven letter, read from outbox.dead_letter.
create table outbox.delivery (
    cursor_id      bigint      not null references outbox.cursor on delete cascade,
    message_id     bigint      not null,
    dead_letter_id bigint      not null references outbox.dead_letter,
    due_at         timestamptz not null default clock_timestamp(),

    primary key (cursor_id, message_id)
);
create index delivery_dead_letter on outbox.delivery (dead_letter_id);

-- Which of a subscription's shards a message belongs to: by its group, or spread by id where it has none.
create function outbox.shard_of(group_key text, message_id bigint, shards integer) returns integer
language sql immutable parallel safe
return ((coalesce(hashtextextended(group_key collate "C", 0), message_id) & 9223372036854775807) % shards)::integer;

-- How many cursors there may be in all, those of channels that wait alone apart: a relay looks at each of them several
-- times a second, so that 5,000 cost it and Postgres a third of a core while nothing happens. The owner may change it.
create table outbox.quota (
    single          boolean  primary key default true check (single),
    cursors         integer  not null default 5000 constraint cursors_are_at_least_5 check (cursors >= 5),
    -- How much of that is for an API key that is limited to channels, or for all such keys of one name, so that a new key
    -- in the place of an old one has no second share. All of them together leave as much to everybody else.
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
    -- One subscription after the other: the row is locked until the commit, and what was made meanwhile is counted. An
    -- update, so that a transaction whose snapshot is older fails instead of counting by it.
    update outbox.quota set cursors = cursors returning cursors, cursors::bigint * limited_percent / 100 into most, share;
    select count(*) into had from outbox.cursor where channel is null;
    if require_room.made_by is null then
        if had + takes > most then
            refusal := format('of at most %s there are %s already: take fewer shards, delete a subscription that nobody '
                              'needs, or raise outbox.quota.cursors as the owner', most, had);
        end if;
    else
        -- How much others have is not for a limited key to know.
        select count(*) into own
        from outbox.cursor join outbox.subscription on subscription.id = cursor.subscription_id
        where cursor.channel is null and subscription.made_by = require_room.made_by;
        if own + takes > share then
            refusal := format('of at most %s for what API keys named %s make there are %s already: take fewer shards, '
                              'delete a subscription that nobody needs, or ask who gave you the key',
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

-- A subscription gets its cursors in the transaction that makes it, at that transaction's snapshot: whatever commits
-- from then on reaches it.
create function outbox.make_cursors() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    here pg_snapshot := pg_current_snapshot();
    own  xid8        := pg_current_xact_id();
begin
    perform outbox.require_room(new.shards, new.made_by);
    -- A snapshot leaves its own transaction out of those in progress, so that it may look seen. What this transaction
    -- publishes commits together with the subscription, and reaches it.
    if own < pg_snapshot_xmax(here) then
        here := (select format('%s:%s:%s', least(pg_snapshot_xmin(here), own), pg_snapshot_xmax(here),
                               string_agg(xid::text, ',' order by xid))
                 from (select pg_snapshot_xip(here) union select own) as in_progress (xid));
    end if;
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

-- Of more than a hundred channels that it has read nobody needs the list.
create function outbox.remember_channels() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.read_channels := new.channels;
    if tg_op = 'UPDATE' then
        new.read_channels := (
            select array_agg(distinct channel) from unnest(old.read_channels || new.channels) as channel
            where old.read_channels is not null and new.channels is not null
            having count(distinct channel) <= 100);
    end if;
    return new;
end
$$;
create trigger remember_channels before insert or update of channels, read_channels on outbox.subscription
    for each row execute function outbox.remember_channels();

create function outbox.refuse_new_shards() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'outbox.subscription.shards is fixed at creation: make a new subscription with % shards instead',
        new.shards using errcode = 'check_violation';
end
$$;
create trigger refuse_new_shards before update of shards on outbox.subscription
    for each row when (new.shards <> old.shards) execute function outbox.refuse_new_shards();

insert into outbox.subscription (name) values ('kafka');

-- The ranges of transaction ids from `first` on in which all transactions are over. Whoever looks for what has come since
-- a snapshot asks in each of them: in one range from `first` on, every look would walk the rows of whoever writes a
-- million messages in one transaction, until it commits. Each range is a look into each partition, so of many transactions
-- in progress the oldest sixteen are passed over: who has written much has begun long ago. Without SET, so that it becomes a part of the statement; its names were looked up when it was
-- made. What is looked for in each range stands in a subquery of its own that the planner can't dissolve (with an
-- aggregate, LIMIT or OFFSET 0): it would else walk the log once and compare with the ranges.
create function outbox.finished_ranges(first xid8) returns table (from_xid xid8, before_xid xid8)
language sql stable
begin atomic
    select coalesce((lag(in_progress.xid) over (order by in_progress.xid)::text::bigint + 1)::text::xid8, first),
           in_progress.xid
    from (
        (select xid from pg_snapshot_xip(pg_current_snapshot()) as xid where xid >= first order by xid limit 16)
        union all
        select pg_snapshot_xmax(pg_current_snapshot())
    ) as in_progress;
end;

-- How far a fork that is between deltas may go now: as far as the cursor that it was forked from has come or is about to
-- come, so that both come to stand at one snapshot. NULL: it stands there, or ahead, where a drop or a replay has set it.
create function outbox.fork_target(fork_id bigint, seen pg_snapshot) returns pg_snapshot
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select origin.position
    from (
        select coalesce(latest.target, latest.seen) as position
        from outbox.cursor as fork
        join outbox.cursor as origin
            on origin.subscription_id = fork.subscription_id and origin.shard = fork.shard
            and origin.priority = fork.priority and origin.channel is null
        cross join lateral (
            select target, checkpoint.seen from outbox.checkpoint
            where cursor_id = origin.id order by n desc limit 1
        ) as latest
        where fork.id = fork_target.fork_id
    ) as origin
    where origin.position::text <> fork_target.seen::text
      and pg_snapshot_xmax(fork_target.seen) <= pg_snapshot_xmax(origin.position)
      and not exists (
          select from pg_snapshot_xip(origin.position) as xid where pg_visible_in_snapshot(xid, fork_target.seen))
$$;

-- Merges forks that have caught up into the cursor that they were forked from: both stand at one snapshot, between
-- deltas, so that cursor goes on with the fork's channel where the fork ends. Their letters go along. A fork that
-- somebody holds, or that has redriven letters on their way, stays for the next call. For the holder of the unforked
-- cursor. Returns the forks that are gone.
create function outbox.merge_forks(cursor_id bigint) returns bigint[]
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    origin   outbox.cursor;
    position text;
    fork_id  bigint;
    merged   bigint[] := '{}';
begin
    select * into origin from outbox.cursor
    where id = merge_forks.cursor_id and channel is null for no key update;
    select seen::text into position
    from (select seen, target from outbox.checkpoint where cursor_id = origin.id order by n desc limit 1) as latest
    where target is null;
    -- A redrive refers to the fork until its commit: FOR UPDATE skips the fork then, and makes a later one wait.
    for fork_id in
        select id from outbox.cursor
        where subscription_id = origin.subscription_id and shard = origin.shard and priority = origin.priority
          and channel is not null and waiting_since is null
        order by id
        for update skip locked
    loop
        continue when not exists (
            select from (
                select seen, target from outbox.checkpoint
                where checkpoint.cursor_id = fork_id order by n desc limit 1
            ) as latest
            where latest.target is null and latest.seen::text = position);
        continue when exists (select from outbox.delivery where delivery.cursor_id = fork_id);
        -- Whoever is about to redrive a letter holds it, and would wait for the fork.
        continue when (select count(*) from outbox.dead_letter where dead_letter.cursor_id = fork_id) <>
                      (select count(*) from (
                          select from outbox.dead_letter where dead_letter.cursor_id = fork_id
                          for update skip locked) as free);
        -- After a replay both may have given up one message. The fork's letter is the later one.
        begin
            delete from outbox.dead_letter as former
            using outbox.dead_letter as latter
            where latter.cursor_id = fork_id and former.cursor_id = origin.id
              and former.message_id = latter.message_id
              and not exists (select from outbox.delivery where dead_letter_id = former.id);
            update outbox.dead_letter set cursor_id = origin.id where dead_letter.cursor_id = fork_id;
            delete from outbox.cursor where id = fork_id;
            merged := merged || fork_id;
        exception when unique_violation then
            -- The former one is on its way again.
            null;
        end;
    end loop;
    return merged;
end
$$;

-- Sends dead letters again, to their own subscription only and in the order in which they were published. Letters that
-- are already on their way or delivered are left alone, so a second call adds nothing. Returns how many go.
create function outbox.redrive(dead_letter_ids bigint[]) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    redriven bigint;
begin
    with letter as (
        update outbox.dead_letter
        set redriven_at = clock_timestamp()
        where id = any (dead_letter_ids) and redriven_at is null
        returning id, cursor_id, message_id
    )
    insert into outbox.delivery (cursor_id, message_id, dead_letter_id)
    select cursor_id, message_id, id from letter
    on conflict (cursor_id, message_id) do nothing;
    get diagnostics redriven = row_count;
    return redriven;
end
$$;

revoke execute on function
    outbox.require_room(integer, text), outbox.finished_ranges(xid8), outbox.fork_target(bigint, pg_snapshot), outbox.merge_forks(bigint)
from public;

insert into outbox.migration (version, name) values (2, 'cursors');
