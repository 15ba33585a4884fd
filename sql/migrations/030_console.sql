-- What was changed by whom with an API key, and who is signed in to the console.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Every change that a key made, over HTTP or in the console; the service writes the row in the change's own
-- transaction. No foreign keys: it stays when the key or what was changed is gone.
create table outbox.audit (
    id         bigint      generated always as identity primary key,
    at         timestamptz not null default clock_timestamp(),
    api_key_id bigint      not null,
    key_name   text        not null,
    by_console boolean     not null,
    -- What was done to what, as in `subscription.pause`.
    action     text        not null,
    -- The name of what was changed, and its id where it has one.
    subject    text        not null,
    subject_id bigint,
    -- Which fields, how many messages. Never a value that a caller sent for a field: it may be a secret.
    summary    text        not null default '',

    constraint key_name_is_at_most_100_characters check (length(key_name) <= 100),
    constraint action_is_a_noun_and_a_verb check (action ~ '^[a-z_]{1,40}[.][a-z_]{1,40}$'),
    constraint subject_is_at_most_255_characters check (length(subject) <= 255),
    constraint summary_is_at_most_1000_characters check (length(summary) <= 1000)
);
create index audit_at on outbox.audit (at);
create index audit_key_name on outbox.audit (key_name, id);
create index audit_subject_id on outbox.audit (subject_id, id);

-- Forgets what is older than `keep_days`, and of the keys of one name all but the latest `keep_at_most`: so one that
-- pauses and resumes all day long fills no disk, and pushes out nothing but its own. At most `at_once` of each; how many.
create function outbox.trim_audit(keep_days integer, keep_at_most integer default 100000, at_once integer default 100000)
returns bigint
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    with beyond as (
        (select id from outbox.audit where at < clock_timestamp() - make_interval(days => keep_days)
         order by at limit at_once)
        union
        (select further.id
         from (select distinct name from outbox.api_key) as known
         cross join lateral (
             select last_kept.id from outbox.audit as last_kept
             where last_kept.key_name = known.name order by last_kept.id desc offset keep_at_most limit 1
         ) as first_beyond
         cross join lateral (
             select audit.id from outbox.audit
             where audit.key_name = known.name and audit.id <= first_beyond.id order by audit.id limit at_once
         ) as further
         limit at_once)
    ), gone as (
        delete from outbox.audit using beyond where audit.id = beyond.id returning 1
    )
    select count(*) from gone
$$;
revoke execute on function outbox.trim_audit(integer, integer, integer) from public;

-- Who is signed in to the console: a session is a key's, and ends with it.
create table outbox.console_session (
    -- SHA-256 of the token in the browser's cookie: who reads this table can't use what it reads.
    hash       bytea       primary key,
    api_key_id bigint      not null references outbox.api_key on delete cascade,
    expires_at timestamptz not null,

    constraint hash_is_a_sha_256 check (octet_length(hash) = 32)
);
create index console_session_api_key_id on outbox.console_session (api_key_id, expires_at);

-- Begins a session of the key with this hash, for twelve hours; no row where outbox.use_key has none. A key has at most
-- twenty: the oldest ends for one more.
create function outbox.begin_session(key_hash bytea, session_hash bytea)
returns table (id bigint, name text, scopes text[], channels text[])
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    k record;
begin
    select used.* into k from outbox.use_key(begin_session.key_hash) as used;
    if not found then
        return;
    end if;
    delete from outbox.console_session where expires_at <= clock_timestamp();
    delete from outbox.console_session where hash in (
        select hash from outbox.console_session where api_key_id = k.id order by expires_at desc offset 19);
    insert into outbox.console_session (hash, api_key_id, expires_at)
    values (begin_session.session_hash, k.id, clock_timestamp() + interval '12 hours');
    return query select k.id, k.name, k.scopes, k.channels;
end
$$;
revoke execute on function outbox.begin_session(bytea, bytea) from public;

-- The key of the session with this hash; no row where there is none, it is over, or outbox.use_key has no such key.
create function outbox.use_session(hash bytea) returns table (id bigint, name text, scopes text[], channels text[])
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select used.*
    from outbox.console_session as session
    join outbox.api_key on api_key.id = session.api_key_id
    cross join lateral outbox.use_key(api_key.hash) as used
    where session.hash = use_session.hash and session.expires_at > clock_timestamp();
end
$$;
revoke execute on function outbox.use_session(bytea) from public;

-- Ends a session.
create function outbox.end_session(hash bytea) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from outbox.console_session as session where session.hash = end_session.hash;
end
$$;
revoke execute on function outbox.end_session(bytea) from public;

-- The relays that are connected: since when the oldest of their sessions is, how many they have, and how many of these
-- are in a run. As in outbox.cursor_holder only those count that may be a relay. `since` is NULL where the owner of this
-- function may not see it (pg_read_all_stats).
create function outbox.relays() returns table (relay text, since timestamptz, sessions integer, runs integer)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select split_part(application_name, ' ', 2), min(backend_start), count(*)::integer,
           (count(*) filter (where application_name ~ ' (cursor [0-9]+( [+]?[0-9]*)?|source [0-9]+)$'))::integer
    from pg_stat_activity as session
    join pg_roles as login on login.oid = session.usesysid
    where session.datname = current_database() and application_name like 'outbox-relay %'
      and (pg_has_role(login.oid, to_regrole('outbox_relay'), 'member')
           or pg_has_role(login.oid, (select relowner from pg_class where oid = 'outbox.cursor'::regclass), 'member'))
    group by 1
    order by 1
    limit 100
$$;
revoke execute on function outbox.relays() from public;

insert into outbox.migration (version, name) values (30, 'console');
