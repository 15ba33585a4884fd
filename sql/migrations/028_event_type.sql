-- The event catalogue: which types of events there are, in which versions, and what may be published as one.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Publishers wait behind this lock, and no longer than so.
select set_config('lock_timeout', '5s', true);

-- The version of its type that a message was checked against, and fits. NULL: it was not checked, or does not fit. It
-- stands in the row because nothing else could say it later: which version a statement saw, no order of ids or
-- transactions tells.
alter table outbox.message add column type_version integer;
alter table outbox.dead_letter add column type_version integer;

create function outbox.event_channels_valid(channels text[]) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select cardinality(channels) between 1 and 100
       and not exists (
            select from unnest(channels) as channel
            where channel is null or channel !~ '^[A-Za-z0-9._-]{1,200}$' or channel in ('.', '..')
               or starts_with(channel, 'outbox.'))
$$;

-- Whether a caller may know of a type: one that is limited to channels, by these patterns, of those alone whose channels
-- are all its own; one that is not (NULL), of all.
create function outbox.channels_allowed(channels text[], patterns text[]) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select patterns is null
        or not exists (select from unnest(channels) as channel where not outbox.channel_allowed(channel, patterns))
$$;

create table outbox.event_type (
    id               bigint      generated always as identity primary key,
    type             text        not null unique,
    -- Where messages of the type may be published.
    channels         text[]      not null,
    description      text        not null,
    -- Who answers for it.
    owner            text        not null,
    enforcement      text        not null,
    compatibility    text        not null,
    -- A payload, as JSON, that fits the version in force. NULL: none was given.
    example          text,
    -- From which day on it is deprecated, NULL: it is not; and the type to publish and read instead, which may come later.
    deprecated_on    date,
    successor        text,
    -- The API key that is limited to channels, if one registered it: then it says nothing of other channels.
    of_key           text,
    -- That in force, the latest.
    version          integer     not null,
    -- Faults that outbox.event_type_fault no longer holds.
    forgotten_faults bigint      not null default 0,
    -- How far the ids of the log had come when it was registered.
    after_id         bigint      not null,
    created_at       timestamptz not null default clock_timestamp(),
    changed_at       timestamptz not null default clock_timestamp(),

    -- It is a part of a path and of a file's name. The platform's own types begin with `outbox.`.
    constraint type_is_1_to_200_letters_digits_dots_dashes_and_underscores
        check (type ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$' and not starts_with(type, 'outbox.')),
    constraint channels_are_1_to_100_names_and_none_of_the_platform check (outbox.event_channels_valid(channels)),
    constraint description_is_at_most_4000_characters check (length(description) <= 4000),
    constraint owner_is_at_most_200_printable_characters check (owner !~ '[\x01-\x1f\x7f]' and length(owner) <= 200),
    constraint successor_is_another_type_of_one_that_is_deprecated
        check (successor is null
               or successor ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$' and successor <> type and deprecated_on is not null),
    constraint example_is_at_most_65536_bytes check (octet_length(example) <= 65536),
    constraint enforcement_is_off_report_or_refuse check (enforcement in ('off', 'report', 'refuse')),
    constraint compatibility_is_full_backward_forward_or_none
        check (compatibility in ('full', 'backward', 'forward', 'none'))
);

-- Never deleted, but with a type that nobody published; and no schema ever changes.
create table outbox.event_type_version (
    event_type_id bigint      not null references outbox.event_type on delete cascade,
    version       integer     not null,
    -- What held when it was made. With one made under `none` the line of compatible versions begins anew.
    compatibility text        not null,
    -- As it was written, and what a publisher is held to: the same with undeclared properties forbidden.
    schema        text        not null,
    closed        text        not null,
    -- What that comes to in SQL, see outbox.payload_fits and outbox.payload_faults.
    decides       jsonpath,
    checks        jsonb,
    singles       jsonb,
    -- Or else why SQL can't keep it: then the service checks what is published over HTTP, and SQL nothing.
    not_in_sql    text,
    made_by       text        not null,
    created_at    timestamptz not null default clock_timestamp(),

    primary key (event_type_id, version),
    constraint sql_keeps_it_or_it_is_told_why_not
        check (num_nulls(decides, checks, singles) = case when not_in_sql is null then 0 else 3 end),
    constraint version_is_1_to_1000 check (version between 1 and 1000)
);

-- Messages that were published and do not fit, where that is only reported. A publisher appends a row and waits for
-- nobody: a count kept in one row would let all publishers of a type wait for each other. There are fewer rows than
-- there are such messages in the log, and each is smaller than its message; outbox.trim_event_faults leaves a hundred
-- of each type. No value of a payload stands here: readers see it.
create table outbox.event_type_fault (
    event_type_id bigint      not null,
    id            bigint      generated always as identity,
    version       integer     not null,
    message_id    bigint      not null,
    channel       text        not null,
    -- Of the first fault: where in the payload (RFC 6901), and which rule of the schema.
    pointer       text        not null,
    keyword       text        not null,
    at            timestamptz not null default clock_timestamp(),

    primary key (event_type_id, id)
);

-- Types of which a checked message was published: these are never deleted. A row of each transaction that saw none yet,
-- so that the first publishers do not wait for each other either.
create table outbox.published_event_type (
    event_type_id bigint not null,
    id            bigint generated always as identity,

    primary key (event_type_id, id)
);

-- By name of the key.
create index event_type_version_made_by on outbox.event_type_version (made_by);

-- How many types there may be, and how much disk what API keys of one name register may take, where they are limited to
-- channels: versions stay, and one of 64 KB comes to some hundred with its rules. The owner may change it.
alter table outbox.quota
    add column event_types integer not null default 1000
        constraint event_types_are_at_least_0 check (event_types >= 0),
    add column event_type_bytes_of_a_key bigint not null default 104857600
        constraint event_type_bytes_of_a_key_are_at_least_0 check (event_type_bytes_of_a_key >= 0);

-- What is wrong with a payload as a message of this type, by the version in force; no row: nothing. `channel` NULL: of
-- whatever channel. Only the first so many faults.
create function outbox.event_faults(event_type_id bigint, channel text, payload bytea, at_most integer)
returns table (pointer text, keyword text, detail text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select fault.pointer, fault.keyword, fault.detail
    from outbox.event_type as known
    join outbox.event_type_version as version
        on version.event_type_id = known.id and version.version = known.version
    cross join lateral (
        select '' as pointer, 'channel' as keyword,
               'the type is registered for ' || array_to_string(known.channels, ', ') as detail
        where event_faults.channel <> all (known.channels) and known.of_key is null
        union all
        select found.pointer, found.keyword, found.detail
        from outbox.payload_faults(
                 event_faults.payload, version.singles, version.checks,
                 case when outbox.payload_fits(event_faults.payload, version.decides, version.checks) then 0
                      else event_faults.at_most end) as found
    ) as fault
    where known.id = event_faults.event_type_id
    limit event_faults.at_most
$$;
revoke execute on function outbox.event_faults(bigint, text, bytea, integer) from public;

-- Holds a message to the version of its type that is in force. It runs with its owner's rights: publishers read none of
-- these tables.
create function outbox.check_event_type() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- By outbox.publish_checked: the column is granted to nobody.
    found_by_service constant integer := new.type_version;
    known record;
    fault record;
begin
    -- Only what is found here says which version it fits.
    new.type_version := null;
    select t.id, t.enforcement, t.channels, v.version, v.decides, v.checks,
           exists (select from outbox.published_event_type as p where p.event_type_id = t.id) as published
    into known
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id and v.version = t.version
    where t.type = new.type and t.enforcement <> 'off' and (t.of_key is null or new.channel = any (t.channels));
    -- A payload of NULL the table itself refuses.
    if not found or new.payload is null then
        return new;
    end if;
    -- Who deletes the type waits for those whose messages are the first of it, and they for nobody but him.
    if not known.published then
        perform from outbox.event_type as t where t.id = known.id for key share;
        if not found then
            return new;
        end if;
    end if;
    if known.decides is null and known.enforcement = 'report' then
        new.type_version := case found_by_service when known.version then known.version end;
    elsif new.channel = any (known.channels) and outbox.payload_fits(new.payload, known.decides, known.checks) then
        new.type_version := known.version;
    else
        select * into fault from outbox.event_faults(known.id, new.channel, new.payload, 1);
        if known.enforcement = 'refuse' then
            perform outbox.refuse_event(new.type, known.version, fault.pointer, fault.keyword, fault.detail);
        end if;
        insert into outbox.event_type_fault (event_type_id, version, message_id, channel, pointer, keyword)
        values (known.id, known.version, new.id, new.channel,
                left(coalesce(fault.pointer, ''), 1000), coalesce(fault.keyword, 'schema'));
    end if;
    if not known.published then
        insert into outbox.published_event_type (event_type_id) values (known.id);
    end if;
    return new;
end
$$;
revoke execute on function outbox.check_event_type() from public;

-- Publishes a message as the service does, which holds those of types that are reported and that SQL can't keep to their
-- schemas: to `version`, NULL where this is of no such type; `keyword` NULL: it fits. Where it is to be held to another,
-- the SQLSTATE says so. For the service alone, which can say so of nothing but what it publishes by this.
create function outbox.publish_checked(
    channel         text,
    type            text,
    payload         bytea,
    version         integer,
    pointer         text,
    keyword         text,
    group_key       text,
    priority        integer,
    idempotency_key text,
    headers         json
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    known_id   bigint;
    in_force   integer;
    message_id bigint;
begin
    if starts_with(publish_checked.channel, 'outbox.') then
        perform outbox.refuse_own_channel(publish_checked.channel);
    end if;
    select t.id, v.version into known_id, in_force
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id and v.version = t.version
    where t.type = publish_checked.type and t.enforcement = 'report' and v.decides is null
      and (t.of_key is null or publish_checked.channel = any (t.channels));
    if in_force is distinct from publish_checked.version then
        raise exception using
            errcode = 'OB409', schema = 'outbox', table = 'event_type', column = 'version',
            message = format('a message of type %s is to be held to another version', publish_checked.type);
    end if;
    insert into outbox.message as m
        (channel, type, group_key, priority, idempotency_key, headers, payload, type_version)
    values (publish_checked.channel, publish_checked.type, publish_checked.group_key, publish_checked.priority,
            publish_checked.idempotency_key, publish_checked.headers::text, publish_checked.payload,
            case when publish_checked.keyword is null then publish_checked.version end)
    returning m.id into message_id;
    if publish_checked.keyword is not null then
        -- The check on the log has waited for whoever deletes the type.
        insert into outbox.event_type_fault (event_type_id, version, message_id, channel, pointer, keyword)
        select t.id, publish_checked.version, message_id, publish_checked.channel,
               left(publish_checked.pointer, 1000), publish_checked.keyword
        from outbox.event_type as t where t.id = known_id;
    end if;
    return message_id;
end
$$;
revoke execute on function outbox.publish_checked(
    text, text, bytea, integer, text, text, text, integer, text, json) from public;

-- The refusal of a message, by its first fault. Its class of SQLSTATE is the outbox's own, and its data type the event
-- type. Never returns.
create function outbox.refuse_event(type text, version integer, pointer text, keyword text, detail text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'OB422', schema = 'outbox', table = 'message', datatype = type,
        column = case when keyword = 'channel' then 'channel' else 'payload' end,
        message = format('a message of type %s does not fit version %s', type, version),
        detail = format('at "%s" (%s): %s', coalesce(pointer, ''), coalesce(keyword, 'schema'),
                        coalesce(detail, 'it does not fit the schema')),
        hint = 'Publish what the version asks for, or register one that allows this: outbox-relay catalogue apply.';
end
$$;
revoke execute on function outbox.refuse_event(text, integer, text, text, text) from public;

-- When the check could be neither put on the log nor taken off it, in seconds since 1970. A sequence keeps that through
-- the rollback.
create sequence outbox.event_check_missed minvalue 0 start 0;

-- Puts the check on the log, if it is not there: no row of an outbox without enforced types pays for any of this. The
-- lock waits for every transaction that has written to the log, and new ones wait behind it: so for a moment only, and
-- where that was in vain, not again within five seconds. Once it is there, they wait for the end of this transaction:
-- call this in one of its own, before outbox.put_event_type is called in another.
create function outbox.require_event_check() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
    now     constant bigint := extract(epoch from clock_timestamp())::bigint;
    missed  bigint;
    holders text;
begin
    -- Any other would not see what is put on the log or taken off it meanwhile.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'the check of event types is put on the log in a transaction that is read committed'
            using errcode = 'invalid_transaction_state', schema = 'outbox', table = 'message',
                  hint = 'begin isolation level read committed';
    end if;
    if exists (select from pg_trigger where tgrelid = 'outbox.message'::regclass and tgname = 'check_event_type') then
        return;
    end if;
    select last_value into missed from outbox.event_check_missed;
    if now - missed not between 0 and 5 then
        begin
            -- Events of the platform's own are nobody's to define.
            create trigger check_event_type before insert on outbox.message
                for each row when (not starts_with(new.channel, 'outbox.'))
                execute function outbox.check_event_type();
            return;
        exception when lock_not_available then
            perform setval('outbox.event_check_missed', now);
        end;
    end if;
    -- Whatever stands in its way on the log or on a partition; who waits to have it alone does so as well.
    select string_agg(distinct format('%s (%s)', coalesce('pid ' || pid, 'a prepared one'), mode), ', ') into holders
    from pg_locks
    where locktype = 'relation' and mode not in ('AccessShareLock', 'RowShareLock')
      and (granted or mode = 'AccessExclusiveLock')
      and database = (select oid from pg_database where datname = current_database())
      and (relation = 'outbox.message'::regclass
           or relation in (select inhrelid from pg_inherits where inhparent = 'outbox.message'::regclass))
      and pid is distinct from pg_backend_pid();
    raise exception 'the first type that is enforced puts a check on the log, and other transactions hold the log'
        using errcode = 'lock_not_available', schema = 'outbox', table = 'message',
              detail = 'They are: ' || coalesce(holders, 'over, and it was tried a moment ago') || '.',
              hint = 'Try again in five seconds. Who writes has RowExclusiveLock: where one stays open for long, see '
                     'sql/inspect/horizon.sql, and end it: select pg_terminate_backend(PID). Maintenance, as a VACUUM '
                     'with ShareUpdateExclusiveLock, ends by itself: let it.';
end
$$;
revoke execute on function outbox.require_event_check() from public;

-- Takes the check off the log where no type is enforced any more. Returns whether it did; a log that others hold is left
-- for a later call, and not tried again within five seconds.
create function outbox.drop_event_check() returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '80ms'
as $$
declare
    now constant bigint := extract(epoch from clock_timestamp())::bigint;
begin
    if not exists (select from pg_trigger
                   where tgrelid = 'outbox.message'::regclass and tgname = 'check_event_type')
       or exists (select from outbox.event_type where enforcement <> 'off')
       or exists (select from outbox.event_check_missed where now - last_value between 0 and 5) then
        return false;
    end if;
    -- Who enforces a type meanwhile waits here, and then finds that the check is gone.
    lock table outbox.event_type in share mode;
    if exists (select from outbox.event_type where enforcement <> 'off') then
        return false;
    end if;
    drop trigger check_event_type on outbox.message;
    return true;
exception when lock_not_available then
    perform setval('outbox.event_check_missed', now);
    return false;
end
$$;
revoke execute on function outbox.drop_event_check() from public;

-- The versions that the next one of a type has to be compatible with, the oldest first: those since the last that was
-- made under `none`. `is_same`: its schema has the same value, so that there is no next one.
create function outbox.event_type_line(type text, schema text)
returns table (event_type_id bigint, version integer, written text, is_same boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select t.id, v.version, v.schema, v.schema::jsonb = event_type_line.schema::jsonb
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id
    where t.type = event_type_line.type
      and v.version >= coalesce((select max(anew.version) from outbox.event_type_version as anew
                                 where anew.event_type_id = t.id and anew.compatibility = 'none'), 1)
    order by v.version
$$;
revoke execute on function outbox.event_type_line(text, text) from public;

-- Registers a type, or changes it: all of it is as it is given here. `schema` and what it comes to (`closed`, `decides`,
-- `checks`, `singles`, or `not_in_sql`) make a new version, unless that in force has the same schema. Whoever calls this has checked the
-- schema against the versions of the type `expected_id` up to `expected`, NULL and 0 where there was none: where another
-- one was made meanwhile, it fails as a transaction that lost a race does, and is to be tried again. Returns the version
-- in force. Where nothing differs, nothing is written.
create function outbox.put_event_type(
    type          text,
    channels      text[],
    description   text,
    owner         text,
    enforcement   text,
    compatibility text,
    example       text,
    expected      integer,
    expected_id   bigint,
    schema        text,
    closed        text,
    decides       jsonpath,
    checks        jsonb,
    singles       jsonb,
    not_in_sql    text,
    made_by       text,
    of_key        text default null,
    deprecated_on date default null,
    successor     text default null
) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    known    outbox.event_type;
    in_force text;
    is_same  boolean;
    fault    record;
begin
    if expected = 0 then
        perform outbox.require_room_for_event_type(of_key);
        insert into outbox.event_type as t
            (type, channels, description, owner, enforcement, compatibility, example, deprecated_on, successor, of_key,
             version, after_id)
        values (type, channels, description, owner, enforcement, compatibility, example, deprecated_on, successor, of_key, 0,
                coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox.message', 'id')::regclass), 0))
        on conflict on constraint event_type_type_key do nothing
        returning t.* into known;
    else
        select t.* into known from outbox.event_type as t where t.type = put_event_type.type for no key update;
    end if;
    if known.version is distinct from expected or expected > 0 and known.id is distinct from expected_id then
        raise exception 'another version of type % was registered meanwhile', type
            using errcode = 'serialization_failure', schema = 'outbox', table = 'event_type', column = 'version',
                  hint = 'Check the schema against the versions that there are now, and try again.';
    end if;
    if enforcement = 'refuse' and decides is null then
        raise exception 'what SQL can not keep is not refused: %', not_in_sql
            using errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'enforcement';
    end if;
    -- Where SQL can't tell, the caller has.
    if example is not null and decides is not null and not outbox.payload_fits(convert_to(example, 'UTF8'), decides, checks) then
        select * into fault from outbox.payload_faults(convert_to(example, 'UTF8'), singles, checks, 1);
        raise exception using
            errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'example',
            message = format('the example does not fit the schema: at "%s" (%s): %s',
                             fault.pointer, fault.keyword, fault.detail);
    end if;
    -- Who is limited to channels does not limit what another made.
    known.of_key := case when of_key is not null then known.of_key end;
    -- Blanks are no other example.
    if known.example::jsonb = example::jsonb then
        example := known.example;
    end if;
    select v.schema into in_force from outbox.event_type_version as v
    where v.event_type_id = known.id and v.version = expected;
    -- As values: neither blanks nor the order of names make a version.
    is_same := coalesce(in_force::jsonb = schema::jsonb, false);
    if is_same then
        -- A newer release may say the same schema otherwise.
        update outbox.event_type_version as v
        set closed = put_event_type.closed, decides = put_event_type.decides, checks = put_event_type.checks,
            singles = put_event_type.singles, not_in_sql = put_event_type.not_in_sql
        where v.event_type_id = known.id and v.version = expected
          and (v.closed, v.decides::text, v.checks, v.singles, v.not_in_sql)
              is distinct from (put_event_type.closed, put_event_type.decides::text, put_event_type.checks,
                                put_event_type.singles, put_event_type.not_in_sql);
    else
        known.version := expected + 1;
        perform outbox.require_room_for_version(of_key);
        insert into outbox.event_type_version
            (event_type_id, version, compatibility, schema, closed, decides, checks, singles, not_in_sql, made_by)
        values (known.id, known.version, compatibility, schema, closed, decides, checks, singles, not_in_sql, made_by);
    end if;
    update outbox.event_type as t
    set channels = put_event_type.channels, description = put_event_type.description, owner = put_event_type.owner,
        enforcement = put_event_type.enforcement, compatibility = put_event_type.compatibility,
        example = put_event_type.example, deprecated_on = put_event_type.deprecated_on,
        successor = put_event_type.successor, of_key = known.of_key, version = known.version,
        changed_at = clock_timestamp()
    where t.id = known.id
      and (t.channels, t.description, t.owner, t.enforcement, t.compatibility, t.example, t.deprecated_on, t.successor,
           t.of_key, t.version)
          is distinct from (put_event_type.channels, put_event_type.description, put_event_type.owner,
                            put_event_type.enforcement, put_event_type.compatibility, put_event_type.example,
                            put_event_type.deprecated_on, put_event_type.successor, known.of_key, known.version);
    if enforcement <> 'off' then
        perform outbox.require_event_check();
    end if;
    return known.version;
end
$$;
revoke execute on function outbox.put_event_type(
    text, text[], text, text, text, text, text, integer, bigint, text, text, jsonpath, jsonb, jsonb, text, text, text,
    date, text) from public;

-- Keys that are limited to channels have a tenth of the room each, by their names: names of types are made up at will. All
-- such keys together leave as much to all others, as in outbox.require_room.
create function outbox.require_room_for_event_type(of_key text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    most    integer;
    share   integer;
    had     bigint;
    own     bigint;
    refusal text;
begin
    -- One after the other, as in outbox.require_room.
    update outbox.quota set event_types = event_types returning event_types into most;
    select count(*), count(*) filter (where t.of_key = require_room_for_event_type.of_key) into had, own
    from outbox.event_type as t;
    share := greatest(most / 10, 1);
    if require_room_for_event_type.of_key is null then
        if had >= most then
            refusal := format('of at most %s event types there are %s already: delete one that is not needed, or raise '
                              'outbox.quota.event_types as the owner', most, had);
        end if;
    -- A limited key does not learn how many types others have.
    elsif own >= share then
        refusal := format('of at most %s event types that API keys named %s register there are %s already: delete one '
                          'that is not needed, or ask who gave you the key',
                          share, require_room_for_event_type.of_key, own);
    elsif had >= most - share then
        refusal := 'there is no room for one more event type: ask who gave you the API key';
    end if;
    if refusal is not null then
        raise exception '%', refusal
            using errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'type',
                  constraint = 'event_types_are_within_the_quota';
    end if;
end
$$;
revoke execute on function outbox.require_room_for_event_type(text) from public;

-- Raises check_violation where keys of this name, NULL: not limited ones, have no room for one more version.
create function outbox.require_room_for_version(of_key text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    most bigint;
    own  bigint;
begin
    if require_room_for_version.of_key is null then
        return;
    end if;
    select event_type_bytes_of_a_key into most from outbox.quota;
    -- As they are on the disk: none is unpacked for that.
    select coalesce(sum(pg_column_size(v.schema) + pg_column_size(v.closed)
                        + coalesce(pg_column_size(v.decides) + pg_column_size(v.checks) + pg_column_size(v.singles), 0)), 0)
    into own
    from outbox.event_type_version as v where v.made_by = require_room_for_version.of_key;
    if own >= most then
        raise exception 'of at most % bytes that API keys named % register as event types there are % already: delete a '
                        'type that is not needed, or ask who gave you the key', most, require_room_for_version.of_key, own
            using errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'schema',
                  constraint = 'event_types_are_within_the_quota';
    end if;
end
$$;
revoke execute on function outbox.require_room_for_version(text) from public;

-- Deletes a type with its versions, if nobody published it: of a checked one that is noted for ever, and of any the log
-- is looked through, from where it was when the type was registered. Of what binds some channels alone, the messages of
-- others are not. Returns whether there was one.
create function outbox.drop_event_type(type text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    known        outbox.event_type;
    is_published boolean;
begin
    select t.* into known from outbox.event_type as t where t.type = drop_event_type.type;
    if not found then
        return false;
    end if;
    is_published := exists (
        select from generate_series(1, 5) as class
        cross join lateral (
            select from outbox.message as m
            where m.priority::integer = class and m.id + 0 > known.after_id and m.type = known.type
              and (known.of_key is null or m.channel = any (known.channels))
            limit 1
        ) as published);
    if not is_published then
        -- After the log, which may take long: who publishes the first message waits for this lock, as it does for him.
        perform from outbox.event_type as t where t.id = known.id for update;
        is_published := exists (select from outbox.published_event_type as p where p.event_type_id = known.id);
    end if;
    if is_published then
        raise exception 'messages of type % were published', known.type
            using errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'type',
                  constraint = 'only_a_type_that_nobody_published_is_deleted',
                  hint = 'Let it stand, with enforcement off.';
    end if;
    delete from outbox.event_type as t where t.id = known.id;
    return found;
end
$$;
revoke execute on function outbox.drop_event_type(text) from public;

-- Forgets faults, so many at most: of each type all but the last hundred, and those older than `keep_days`. Returns how
-- many. Their number stays known; this alone writes it, so no publisher waits for it.
create function outbox.trim_event_faults(keep_days integer, at_most bigint) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    known     bigint;
    forgotten bigint;
    total     bigint := 0;
begin
    for known in select id from outbox.event_type order by id loop
        exit when total >= at_most;
        delete from outbox.event_type_fault as old
        where old.event_type_id = known
          and old.id in (
              select f.id from outbox.event_type_fault as f
              where f.event_type_id = known
                and (f.at < clock_timestamp() - make_interval(days => keep_days)
                     or f.id <= (select kept.id from outbox.event_type_fault as kept
                                 where kept.event_type_id = known order by kept.id desc offset 100 limit 1))
              order by f.id limit at_most - total);
        get diagnostics forgotten = row_count;
        continue when forgotten = 0;
        update outbox.event_type as t set forgotten_faults = forgotten_faults + forgotten where t.id = known;
        total := total + forgotten;
    end loop;
    return total;
end
$$;
revoke execute on function outbox.trim_event_faults(integer, bigint) from public;

-- The types, and how often what was published did not fit, where that is reported. For readers: schemas and examples are
-- no payloads.
create view outbox.event_type_state as
select t.id, t.type, t.channels, t.owner, t.enforcement, t.compatibility, t.version, t.created_at, t.changed_at,
       t.forgotten_faults + recent.faults as faults, latest.at as last_fault_at, latest.pointer as last_pointer,
       latest.keyword as last_keyword, in_force.not_in_sql
from outbox.event_type as t
join outbox.event_type_version as in_force on in_force.event_type_id = t.id and in_force.version = t.version
cross join lateral (
    select count(*) as faults
    from (select from outbox.event_type_fault as f where f.event_type_id = t.id limit 100001) as counted
) as recent
left join lateral (
    select f.at, f.pointer, f.keyword from outbox.event_type_fault as f
    where f.event_type_id = t.id order by f.id desc limit 1
) as latest on true;

insert into outbox.migration (version, name) values (28, 'event_type');
