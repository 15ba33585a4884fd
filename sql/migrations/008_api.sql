-- What the HTTP API of the platform keeps: who may use it, and what it answered to whom.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Each is the name of a channel, or the beginning of one with a `*` behind it.
create function outbox.channel_patterns_valid(patterns text[]) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select cardinality(patterns) between 1 and 100
       and not exists (
            select from unnest(patterns) as pattern
            where pattern is null or pattern !~ '^[A-Za-z0-9._-]{1,200}[*]?$')
$$;

-- Whether a key that is limited to these may use a channel. Those of the platform are meant by patterns that begin with
-- `outbox.`, and not by `o*`.
create function outbox.channel_allowed(channel text, patterns text[]) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from unnest(patterns) as pattern
        where case
            when right(pattern, 1) <> '*' then channel = pattern
            else starts_with(channel, left(pattern, -1))
                 and (starts_with(pattern, 'outbox.') or not starts_with(channel, 'outbox.'))
        end)
$$;

create table outbox.api_key (
    id           bigint      generated always as identity primary key,
    name         text        not null,
    -- SHA-256 of the key: who reads this table can't use what it reads.
    hash         bytea       not null unique,
    scopes       text[]      not null,
    -- NULL: every channel.
    channels     text[],
    created_at   timestamptz not null default clock_timestamp(),
    -- NULL: never.
    expires_at   timestamptz,
    revoked_at   timestamptz,

    constraint name_is_1_to_100_printable_characters check (name ~ '^[^\x01-\x1f\x7f]+$' and length(name) <= 100),
    constraint hash_is_a_sha_256 check (octet_length(hash) = 32),
    constraint scopes_are_some_of_publish_manage_operate_read check (
        scopes <@ array['publish', 'manage', 'operate', 'read'] and cardinality(scopes) > 0),
    constraint a_channel_is_a_topic_name_or_its_beginning_and_an_asterisk check (
        channels is null or outbox.channel_patterns_valid(channels)),
    constraint a_key_expires_after_it_was_made_and_before_9999 check (
        expires_at > created_at and expires_at < '9999-01-01 00:00:00+00')
);

-- When each key was used last, as outbox.use_key notes it: the first use of each minute. Apart from the key, since whoever
-- notes a use locks its row until the commit, and a key is revoked without waiting for that.
create table outbox.api_key_use (
    api_key_id   bigint primary key references outbox.api_key on delete cascade,
    -- NULL: never.
    last_used_at timestamptz
);

-- Made with the key, so that uses are only ever updates: two inserts would wait for each other.
create function outbox.make_key_use() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into outbox.api_key_use (api_key_id) values (new.id);
    return null;
end
$$;
create trigger make_key_use after insert on outbox.api_key
    for each row execute function outbox.make_key_use();

-- Who has the key with this hash; no row where there is none, or it is revoked or has expired. The service may do no
-- more than this with keys: whoever takes it over can neither make one nor give one back.
create function outbox.use_key(hash bytea) returns table (id bigint, name text, scopes text[], channels text[])
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    k record;
begin
    select known.*, used.last_used_at into k
    from outbox.api_key as known left join outbox.api_key_use as used on used.api_key_id = known.id
    where known.hash = use_key.hash and known.revoked_at is null
      and (known.expires_at is null or known.expires_at > clock_timestamp());
    if not found then
        return;
    end if;
    -- Not a write per request, none that waits for another one's, and none where nothing can be written.
    if coalesce(k.last_used_at, '-infinity') < clock_timestamp() - interval '1 minute'
       and current_setting('transaction_read_only') = 'off' then
        update outbox.api_key_use as used set last_used_at = clock_timestamp()
        where used.api_key_id = (
            select unused.api_key_id from outbox.api_key_use as unused
            where unused.api_key_id = k.id and unused.last_used_at is not distinct from k.last_used_at
            for no key update skip locked);
    end if;
    return query select k.id, k.name, k.scopes, k.channels;
end
$$;

-- A request with an Idempotency-Key, and the answer that its repeats get. Written in the transaction that publishes.
create table outbox.idempotent_request (
    api_key_id  bigint      not null references outbox.api_key,
    key         text        not null,
    -- SHA-256 of the path and the body.
    fingerprint bytea       not null,
    -- Set before the commit; nobody else sees a row without it.
    answer      bytea,
    created_at  timestamptz not null default clock_timestamp(),

    primary key (api_key_id, key),
    constraint key_is_1_to_255_printable_characters check (key ~ '^[!-~]+$' and length(key) <= 255)
);
create index idempotent_request_created_at on outbox.idempotent_request (created_at);

-- Deletes requests older than a day, the oldest first. Returns how many.
create function outbox.trim_idempotency(at_most integer default 1000) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    trimmed integer;
begin
    delete from outbox.idempotent_request as old
    using (
        select api_key_id, key from outbox.idempotent_request
        where created_at < (select clock_timestamp() - interval '1 day')
        order by created_at limit at_most
        -- Who uses an expired key anew, and who else trims, is not waited for.
        for update skip locked
    ) as expired
    where old.api_key_id = expired.api_key_id and old.key = expired.key;
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;

-- Letters of one subscription: all by age, and those that wait for a redrive in the order of their messages.
create index dead_letter_subscription_id on outbox.dead_letter (subscription_id, id);
create index dead_letter_waiting on outbox.dead_letter (subscription_id, message_id) where redriven_at is null;

-- Whether a cursor has yet to read a message that its subscription wants, by the filter of the relay; NULL: it had not
-- been found out by `give_up_at`, since there is so much that others published. For the holder of the cursor.
create function outbox.has_unread(cursor_id bigint, give_up_at timestamptz) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    c      record;
    wanted boolean;
begin
    select cursor.shard, cursor.priority, cursor.channel as only_channel, subscription.shards, subscription.channels,
           subscription.types, latest.*, coalesce(latest.target, latest.seen) as horizon,
           array(
               select fork.channel from outbox.cursor as fork
               where cursor.channel is null and fork.channel is not null
                 and fork.subscription_id = cursor.subscription_id
                 and fork.shard = cursor.shard and fork.priority = cursor.priority
           ) as forked_channels
    into strict c
    from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    cross join lateral (
        select seen, target, after_id, fresh_id, upto_id
        from outbox.checkpoint where checkpoint.cursor_id = cursor.id order by n desc limit 1
    ) as latest
    where cursor.id = has_unread.cursor_id;

    -- The first that is wanted, or whichever it has come to when the time is over. The four ways into the log are those
    -- of outbox.unread.
    select is_wanted into wanted
    from (
        select (c.only_channel is null or log.channel = c.only_channel)
               and not log.channel = any (c.forked_channels)
               and (case when c.channels is null then not starts_with(log.channel, 'outbox.')
                         else log.channel = any (c.channels) end)
               and (c.types is null or log.type = any (c.types))
               and outbox.shard_of(log.group_key, log.id, c.shards) = c.shard as is_wanted
        from (
            select m.id, m.channel, m.type, m.group_key
            from outbox.message as m
            where m.priority = c.priority and m.xid = any (array(select pg_snapshot_xip(c.seen)))
              and m.id > c.after_id and m.id < c.fresh_id and pg_visible_in_snapshot(m.xid, c.target)
            union all
            select m.id, m.channel, m.type, m.group_key
            from outbox.message as m
            where m.priority::integer = c.priority::integer
              and m.id + 0 >= greatest(c.fresh_id, c.after_id + 1) and m.id + 0 <= c.upto_id
              and not pg_visible_in_snapshot(m.xid, c.seen) and pg_visible_in_snapshot(m.xid, c.target)
            union all
            select m.id, m.channel, m.type, m.group_key
            from outbox.message as m
            where m.priority = c.priority and m.xid = any (array(select pg_snapshot_xip(c.horizon)))
            union all
            select m.id, m.channel, m.type, m.group_key
            from outbox.finished_ranges(pg_snapshot_xmax(c.horizon)) as finished
            cross join lateral (
                select message.* from outbox.message
                where priority = c.priority and xid >= finished.from_xid and xid < finished.before_xid
                offset 0
            ) as m
        ) as log
    ) as looked_at
    where is_wanted or clock_timestamp() >= give_up_at
    limit 1;
    return case when wanted is null then false when wanted then true end;
end
$$;

-- What a subscription has yet to deliver, each kind with its number; NULL: nothing. For the holder of its cursors. What
-- has arrived and only waits for the next run to be taken away is taken away here.
create function outbox.undelivered(subscription_id bigint) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    give_up_at constant timestamptz := clock_timestamp() + interval '20 seconds';
    cursors    constant bigint[] := array(select id from outbox.cursor as c
                                          where c.subscription_id = undelivered.subscription_id);
    found      text[];
begin
    perform outbox.clear_acked(c) from unnest(cursors) as c;
    with kind (place, sentence) as (
        select 1, format('unread messages (%s%s)',
                         case when bool_or(unread.more) or sum(unread.messages) = 0 then 'at least ' end,
                         greatest(sum(unread.messages), 1))
        from unnest(cursors) as c
        cross join lateral (
            select count(*) filter (where wanted) as messages, count(*) > 100000 as more
            from outbox.unread(c, 100001)
        ) as unread
        where exists (select from unnest(cursors) as c where outbox.has_unread(c, give_up_at))
        having count(*) > 0
        union all
        select 2, format('messages on their way (%s)', count(*))
        from outbox.delivery where cursor_id = any (cursors) and dead_letter_id is null
        having count(*) > 0
        union all
        select 3, format('undelivered dead letters (%s)', count(*))
        from outbox.dead_letter as letter
        where letter.subscription_id = undelivered.subscription_id and delivered_at is null
        having count(*) > 0
        union all
        select 4, 'more to read than could be looked through in 20 s' where clock_timestamp() >= give_up_at
    )
    select array_agg(sentence order by place) into found from kind;
    return array_to_string(found, ', ');
end
$$;

-- Whoever deletes a subscription loses what it has not delivered, so that has to be said: see outbox.delete_subscription.
-- Its rows and letters go with it. Waits for no run: the run could wait for this, to write a letter.
create function outbox.guard_undelivered() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    obstacle text;
begin
    perform from outbox.cursor where subscription_id = old.id order by id for update nowait;
    if current_setting('outbox.discards', true) is distinct from 'on' then
        obstacle := outbox.undelivered(old.id);
    end if;
    if obstacle is not null then
        raise exception 'subscription % still has %', old.name, obstacle using
            errcode = 'dependent_objects_still_exist',
            hint = format('Let them arrive, dead letters by a redrive, or lose them: '
                          'select outbox.delete_subscription(%L, discard_undelivered => true)', old.name);
    end if;
    -- Letters that go are the greater part: an outcome that comes meanwhile can still be written to its row.
    delete from outbox.dead_letter as letter where subscription_id = old.id
        and not exists (select from outbox.delivery where dead_letter_id = letter.id);
    delete from outbox.delivery where cursor_id in (select id from outbox.cursor where subscription_id = old.id);
    delete from outbox.dead_letter where subscription_id = old.id;
    return old;
exception when lock_not_available then
    raise exception 'a relay is at work for subscription % at this moment', old.name using
        errcode = 'lock_not_available',
        hint = format('This waits for it: select outbox.delete_subscription(%L)', old.name);
end
$$;
create trigger guard_undelivered before delete on outbox.subscription
    for each row execute function outbox.guard_undelivered();

-- Ends a subscription of any kind: its cursors, rows, letters and secrets go with it. What is not delivered stands in the
-- way, unless it is to be discarded. Waits for runs that are under way. Raises no_data_found where there is no such
-- subscription, dependent_objects_still_exist where something stands in the way. For the owner.
create function outbox.delete_subscription(name text, discard_undelivered boolean default false) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    -- Before anybody looks: only the holder of a cursor takes messages from the log and writes letters.
    perform from outbox.cursor as c join outbox.subscription as s on s.id = c.subscription_id
    where s.name = delete_subscription.name order by c.id for update of c;
    -- For the trigger that looks.
    perform set_config('outbox.discards', case when discard_undelivered then 'on' else 'off' end, true);
    delete from outbox.subscription as s where s.name = delete_subscription.name;
    if not found then
        raise exception 'there is no subscription %', delete_subscription.name using errcode = 'no_data_found';
    end if;
    perform set_config('outbox.discards', 'off', true);
end
$$;

-- The same for subscriptions of endpoints, by their id: what the HTTP API may do.
create function outbox.unsubscribe(subscription_id bigint, discard_undelivered boolean default false) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    s outbox.subscription;
begin
    select * into s from outbox.subscription as one where one.id = subscription_id and one.kind = 'http';
    if not found then
        raise exception 'there is no http subscription % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    perform outbox.delete_subscription(s.name, discard_undelivered);
end
$$;

revoke execute on function
    outbox.use_key(bytea), outbox.trim_idempotency(integer), outbox.has_unread(bigint, timestamptz),
    outbox.undelivered(bigint), outbox.delete_subscription(text, boolean), outbox.unsubscribe(bigint, boolean)
from public;

insert into outbox.migration (version, name) values (8, 'api');
