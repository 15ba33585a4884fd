-- Subscribers as cursors over the log, and what a cursor could not deliver.
set search_path = pg_catalog, pg_temp;

create table outbox.subscription (
    id            bigint generated always as identity primary key,
    name          text        not null unique,
    kind          text        not null default 'kafka',
    -- NULL: every channel whose name does not start with `outbox.`.
    channels      text[],
    delivery      text        not null default 'at_least_once',
    -- Fixed at creation: a rehash would put one group under two cursors.
    shards        smallint    not null default 1,
    paused        boolean     not null default false,
    paused_reason text,
    settings      jsonb       not null default '{}',
    created_at    timestamptz not null default clock_timestamp(),

    constraint name_is_1_to_100_letters_digits_dots_dashes
        check (name ~ '^[A-Za-z0-9._-]+$' and length(name) <= 100),
    constraint kind_is_kafka check (kind = 'kafka'),
    constraint delivery_is_at_least_once check (delivery = 'at_least_once'),
    constraint shards_are_1_to_64 check (shards between 1 and 64),
    constraint channels_hold_no_null check (array_position(channels, null) is null),
    constraint only_the_paused_have_a_reason check (paused or paused_reason is null),
    constraint settings_are_an_object check (jsonb_typeof(settings) = 'object')
);

create table outbox.cursor (
    id              bigint generated always as identity primary key,
    subscription_id bigint   not null references outbox.subscription on delete cascade,
    shard           smallint not null,
    priority        smallint not null,
    -- NULL: the subscription's channels. A name: forked for that one channel when its topic was missing,
    -- so that it waits alone; the unforked cursor leaves the channel out from the same position on.
    channel         text,
    waiting_since   timestamptz,
    waiting_reason  text,

    constraint priority_is_1_to_5 check (priority between 1 and 5),
    constraint the_waiting_have_a_reason check ((waiting_since is null) = (waiting_reason is null))
);
create unique index cursor_is_unique
    on outbox.cursor (subscription_id, shard, priority, coalesce(channel, ''));

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
    single  boolean primary key default true check (single),
    cursors integer not null default 5000 constraint cursors_are_at_least_5 check (cursors >= 5)
);
insert into outbox.quota default values;

-- A subscription gets its cursors in the transaction that makes it, at that transaction's snapshot: whatever commits
-- from then on reaches it.
create function outbox.make_cursors() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    here pg_snapshot := pg_current_snapshot();
    own  xid8        := pg_current_xact_id();
    most integer;
    had  bigint;
begin
    -- One subscription after the other: the row is locked until the commit, and what was made meanwhile is counted. An
    -- update, so that a transaction whose snapshot is older fails instead of counting by it.
    update outbox.quota set cursors = cursors returning cursors into most;
    select count(*) into had from outbox.cursor where channel is null;
    if had + 5 * new.shards > most then
        raise exception 'shards = % takes % cursors, and of at most % there are % already: take fewer shards, delete a '
                        'subscription that nobody needs, or raise outbox.quota.cursors as the owner',
                new.shards, 5 * new.shards, most, had
            using errcode = 'check_violation', schema = 'outbox', table = 'subscription', column = 'shards',
                  constraint = 'cursors_are_within_the_quota';
    end if;
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

insert into outbox.migration (version, name) values (2, 'cursors');
