-- Who may use the HTTP API of the platform.
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

-- Whether one of them takes a channel. A channel of the platform takes a pattern that begins with `outbox.`; `o*` does
-- not mean it. Without SET, so that it becomes a part of the calling statement.
create function outbox.channel_fits(channel text, pattern text) returns boolean
language sql immutable parallel safe
return case
    when right(pattern, 1) <> '*' then channel = pattern
    else starts_with(channel, left(pattern, -1))
         and (starts_with(pattern, 'outbox.') or not starts_with(channel, 'outbox.'))
end;

-- Whether a key that is limited to these patterns may use a channel.
create function outbox.channel_allowed(channel text, patterns text[]) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from unnest(patterns) as pattern where outbox.channel_fits(channel, pattern))
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
    constraint name_begins_with_no_dash_or_dot_and_is_no_number check (name !~ '^([-.]|[0-9]+$)'),
    constraint hash_is_a_sha_256 check (octet_length(hash) = 32),
    constraint scopes_are_some_of_publish_manage_operate_read_payloads check (
        scopes <@ array['publish', 'manage', 'operate', 'read', 'payloads'] and cardinality(scopes) > 0),
    constraint a_channel_is_a_topic_name_or_its_beginning_and_an_asterisk check (
        channels is null or outbox.channel_patterns_valid(channels)),
    constraint a_key_expires_after_it_was_made_and_before_9999 check (
        expires_at > created_at and expires_at < '9999-01-01 00:00:00+00')
);

-- When each key was used last, as outbox.use_key notes it: the first use of each minute. A table of its own: a use that
-- is noted locks its row until the commit, and a key is revoked without waiting for that.
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

-- The key with this hash; no row where there is none, or it is revoked or has expired. The service may do no more than
-- this with keys: a taken-over service can neither make one nor give a revoked one back.
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
    -- Not a write per request, none that waits for another request's, and none where the database is read-only.
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
revoke execute on function outbox.use_key(bytea) from public;

-- For which of these channels, whose topics take nothing, there is room among those that wait, where `most` cursors of a
-- subscription may. A key that is limited to channels may make up names by the thousand, so it has a tenth of them: what
-- it may write to waits there, whoever wrote it. Keys of one name share that, and all such keys together leave a tenth to
-- all others, as in outbox.require_room. A key that was revoked or has expired counts for as long as the log may hold
-- what it wrote, also what waits already. `temporary`: the topic is there and its brokers are not. Nobody made that
-- channel's name up, so only `most` bounds it.
create function outbox.channels_with_room(subscription_id bigint, channels text[], temporary boolean[], most bigint)
returns setof text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with asked as materialized (
        select asked.channel, asked.temporary, asked.place
        from unnest(channels_with_room.channels, channels_with_room.temporary)
                 with ordinality as asked (channel, temporary, place)
    ), waiting as materialized (
        select cursor.id, cursor.channel from outbox.cursor
        where cursor.subscription_id = channels_with_room.subscription_id and cursor.waiting_since is not null
    ), pattern as materialized (
        select distinct api_key.name, pattern
        from outbox.api_key
        cross join unnest(api_key.channels) as pattern
        where coalesce(least(revoked_at, expires_at), 'infinity') > (
            select coalesce(min(from_time), '-infinity')
            from outbox.known_partition join outbox.attached_partition using (parent, number)
            where parent = 'outbox.message')
    ), limited as materialized (
        select distinct pattern.name, asked.channel, asked.place
        from asked join pattern on outbox.channel_fits(asked.channel, pattern.pattern)
        where not asked.temporary
    ), used as (
        select pattern.name, count(distinct waiting.id) as cursors
        from waiting join pattern on outbox.channel_fits(waiting.channel, pattern.pattern)
        where pattern.name in (select limited.name from limited)
        group by pattern.name
    ), numbered as (
        select limited.channel,
               coalesce(used.cursors, 0) + row_number() over (partition by limited.name order by limited.place) as number
        from limited left join used using (name)
    ), judged as (
        select channel, max(number) > greatest(most / 10, 1) as is_beyond from numbered group by channel
    ), admitted as (
        select asked.channel, judged.channel is not null as is_limited,
               row_number() over (order by judged.channel is not null, asked.place) as number
        from asked left join judged using (channel)
        where judged.is_beyond is not true
    )
    select channel from admitted
    where number + (select count(*) from waiting) <= most - case when is_limited then greatest(most / 10, 1) else 0 end
$$;
revoke execute on function outbox.channels_with_room(bigint, text[], boolean[], bigint) from public;

insert into outbox.migration (version, name) values (22, 'api_key');
