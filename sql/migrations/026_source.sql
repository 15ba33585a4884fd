-- Sources: inward connectors. What a topic or a queue holds enters the log, each record once.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

create table outbox.source (
    -- From the numbers of subscriptions, so that an id names one connector, whichever way it goes.
    id             bigint      primary key default nextval('outbox.subscription_id_seq'),
    name           text        not null,
    kind           text        not null default 'kafka',
    -- Where its records enter, and with which priority.
    channel        text        not null,
    priority       smallint    not null default 3,
    settings       jsonb       not null,
    paused         boolean     not null default false,
    -- An operator's, or the question at which a relay has stopped it.
    paused_reason  text,
    -- Why a relay can't read now, though it tries.
    waiting_since  timestamptz,
    waiting_reason text,
    made_by        text,
    created_at     timestamptz not null default clock_timestamp(),

    constraint source_name_is_1_to_100_letters_digits_dots_dashes
        check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]*$' and length(name) <= 100 and name !~ '^[0-9]+$'),
    constraint source_kind_is_kafka_or_sqs check (kind in ('kafka', 'sqs')),
    constraint source_channel_is_a_topic_name_and_not_the_platforms_own
        check (channel ~ '^[A-Za-z0-9._-]+$' and channel not in ('.', '..') and length(channel) <= 200
               and not starts_with(channel, 'outbox.')),
    constraint source_priority_is_1_to_5 check (priority between 1 and 5),
    constraint only_paused_sources_have_a_reason check (paused or paused_reason is null),
    constraint waiting_sources_have_a_reason check ((waiting_since is null) = (waiting_reason is null)),
    constraint source_made_by_is_at_most_100_characters check (length(made_by) <= 100)
);
create unique index source_name_in_any_case on outbox.source (lower(name collate "C"));

-- Up to where each partition of a topic was taken in: moved by the transaction that inserts its records. `topic_id` is
-- Kafka's: a topic that was made again has another. `relay` reads it, as long as it gets on; `end_offset` was the end as
-- that relay last saw it.
create table outbox.source_position (
    source_id   bigint      not null references outbox.source on delete cascade,
    topic       text        not null,
    partition   integer     not null,
    topic_id    text        not null,
    next_offset bigint      not null,
    end_offset  bigint      not null,
    relay       text,
    -- How many entered, and how many had passed this installation before and were left out.
    entered     bigint      not null default 0,
    passed      bigint      not null default 0,
    moved_at    timestamptz not null default clock_timestamp(),
    -- Processes that began to read what comes next here, and since then neither moved this nor said that they stopped:
    -- they are at it, or what they read ended them, as a batch of records does that unpacks to more than their memory.
    readers     uuid[]      not null default '{}',
    primary key (source_id, topic, partition)
) with (fillfactor = 50);

-- Which messages of a queue were taken in, by the id that the queue gave each: written by the transaction that inserts
-- them. A queue may hand out each again for as long as it keeps it, which is 14 days at most.
create table outbox.source_receipt (
    source_id   bigint      not null references outbox.source on delete cascade,
    message_id  text        not null,
    received_at timestamptz not null default clock_timestamp(),
    primary key (source_id, message_id)
);
create index source_receipt_by_age on outbox.source_receipt using brin (received_at) with (pages_per_range = 32);

-- What was taken in of a queue in all; `waiting` is how many the queue said that it has, as a relay last asked it.
create table outbox.source_queue (
    source_id bigint      primary key references outbox.source on delete cascade,
    waiting   bigint      not null default 0,
    entered   bigint      not null default 0,
    passed    bigint      not null default 0,
    moved_at  timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

-- Records and messages that could not enter, whole: of a topic by partition and offset, of a queue by the id that it
-- gave. `value` is NULL for a tombstone. Those that are `due` a relay tries again.
create table outbox.source_dead_letter (
    id            bigint      generated always as identity primary key,
    source_id     bigint      not null references outbox.source on delete cascade,
    topic         text        not null,
    partition     integer,
    record_offset bigint,
    message_id    text,
    key           bytea,
    value         bytea,
    header_names  text[]      not null,
    header_values bytea[]     not null,
    reason        text        not null,
    detail        text        not null,
    due           boolean     not null default false,
    died_at       timestamptz not null default clock_timestamp(),

    constraint source_dead_letter_is_of_a_topic_or_of_a_queue
        check ((message_id is null) = (partition is not null and record_offset is not null))
);
create index source_dead_letter_of_source on outbox.source_dead_letter (source_id, id);
create index source_dead_letter_due on outbox.source_dead_letter (source_id, id) where due;

-- What of a source's settings names where its records come from, apart from the topic: another cluster, the same text
-- for the same cluster, or a queue; empty for the relay's own cluster. It becomes a part of the calling statement.
create function outbox.source_cluster(settings jsonb) returns text
language sql immutable parallel safe
return outbox.other_cluster(settings - 'from' - 'unwrap');
revoke execute on function outbox.source_cluster(jsonb) from public;

-- Of a topic they are those of a subscription that goes to another cluster, and `from`; without `brokers` the topic is in
-- the relay's own cluster.
create function outbox.topic_source_fault(settings jsonb, channel text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
declare
    cluster jsonb := settings - 'from';
    start   text := settings ->> 'from';
begin
    if not settings ? 'topic' then
        return 'settings.topic is required';
    elsif settings ? 'from' and (jsonb_typeof(settings -> 'from') <> 'string'
            or start !~ ('^(earliest|latest|[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]'
                         '(:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))$')) then
        return 'settings.from must be earliest, latest or a time with its offset, as 2026-03-01T09:00:00Z';
    elsif start ~ '^[0-9]' then
        begin
            perform start::timestamptz;
        exception when datetime_field_overflow or invalid_datetime_format or invalid_time_zone_displacement_value then
            return 'settings.from is no time';
        end;
    end if;
    if not settings ? 'brokers' then
        if cluster - 'topic' <> '{}' then
            return format('settings.%s is of another cluster, which brokers have to name',
                          (select min(key) from jsonb_object_keys(cluster - 'topic') as key));
        end if;
        cluster := cluster || '{"brokers": "own:1"}';
    end if;
    return outbox.kafka_settings_fault(cluster, array[channel]);
end
$$;

-- Of a queue they are outbox.sqs_setting's, and `unwrap`: sns where its messages stand in notifications of Amazon SNS.
create function outbox.queue_source_fault(settings jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select format('settings.%s is not known; known are queue_url, region, role_arn, credentials, unwrap', min(key))
         from jsonb_object_keys(settings) as key
         where key <> 'unwrap' and key not in (select path from outbox.sqs_setting)
         having count(*) > 0),
        case when settings ? 'unwrap' and settings -> 'unwrap' <> '"sns"' then 'settings.unwrap must be sns' end,
        outbox.sqs_settings_fault(settings - 'unwrap'))
$$;

-- What is wrong with the settings of a source, in a sentence that names the setting; NULL: nothing.
create function outbox.source_settings_fault(kind text, settings jsonb, channel text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when jsonb_typeof(settings) <> 'object' then 'settings must be an object'
        when kind = 'sqs' then outbox.queue_source_fault(settings)
        else outbox.topic_source_fault(settings, channel) end
$$;

create function outbox.check_source() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    fault text := outbox.source_settings_fault(new.kind, new.settings, new.channel);
    known text;
begin
    if tg_op = 'UPDATE' and new.kind <> old.kind then
        raise exception 'outbox.source.kind is fixed at creation' using errcode = 'check_violation', column = 'kind';
    end if;
    if tg_op = 'UPDATE' and new.priority <> old.priority then
        raise exception 'outbox.source.priority is fixed at creation: what comes later could overtake what came before'
            using errcode = 'check_violation', column = 'priority';
    end if;
    if fault is not null then
        raise exception '%', fault using errcode = 'check_violation', column = 'settings';
    end if;
    foreach known in array array['topic', 'queue_url'] loop
        if tg_op = 'UPDATE' and new.settings ->> known <> old.settings ->> known then
            raise exception 'settings.% is fixed at creation, since positions, receipts and dead letters are of it: make a '
                            'new connector', known using errcode = 'check_violation', column = 'settings';
        end if;
    end loop;
    return new;
end
$$;
create trigger check_source before insert or update of kind, channel, priority, settings on outbox.source
    for each row execute function outbox.check_source();

-- Whether a subscription takes messages of a channel to where a source has its own from, as far as settings say: in the
-- relay's own cluster topics have a prefix that it alone knows.
create function outbox.leads_round(subscription outbox.subscription, source outbox.source) returns boolean
language sql immutable
return outbox.source_cluster(source.settings) <> ''
    and outbox.source_cluster(source.settings) = outbox.other_cluster(subscription.settings)
    and (subscription.channels is null or source.channel = any (subscription.channels))
    and (source.kind = 'sqs'
         or source.settings ->> 'topic' = coalesce(subscription.settings ->> 'topic', subscription.settings ->> 'event_hub',
                coalesce(subscription.settings ->> 'topic_prefix', '') || source.channel));
revoke execute on function outbox.leads_round(outbox.subscription, outbox.source) from public;

create function outbox.refuse_loop() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    other text;
begin
    if tg_table_name = 'source' then
        select min(s.name) into other from outbox.subscription as s where outbox.leads_round(s, new);
    else
        select min(s.name) into other from outbox.source as s where outbox.leads_round(new, s);
    end if;
    if other is not null then
        raise exception 'settings.% leads round: what % takes in would go out to where it came from',
                case when new.settings ? 'queue_url' then 'queue_url' else 'topic' end,
                case when tg_table_name = 'source' then new.name else other end
            using errcode = 'check_violation', column = 'settings',
                  detail = format('The other connector is %s.', other);
    end if;
    return new;
end
$$;
create trigger refuse_loop before insert or update of channel, settings on outbox.source
    for each row execute function outbox.refuse_loop();
create trigger refuse_loop before insert or update of channels, settings on outbox.subscription
    for each row when (outbox.other_cluster(new.settings) <> '') execute function outbox.refuse_loop();

-- Connectors of both directions are found by name: a subscription may not have a source's.
create function outbox.refuse_taken_name() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and lower(new.name collate "C") = lower(old.name collate "C") then
        return new;
    end if;
    -- One after the other, as in outbox.require_room: two that are made at the same moment see each other.
    update outbox.quota set cursors = cursors;
    if (case tg_table_name
           when 'source' then exists (select from outbox.subscription
                                      where lower(name collate "C") = lower(new.name collate "C"))
           else exists (select from outbox.source where lower(name collate "C") = lower(new.name collate "C"))
       end) then
        raise exception 'name % is taken', new.name
            using errcode = 'unique_violation', schema = 'outbox', table = tg_table_name, column = 'name',
                  constraint = tg_table_name || '_name_in_any_case';
    end if;
    return new;
end
$$;
create trigger refuse_taken_name before insert or update of name on outbox.source
    for each row execute function outbox.refuse_taken_name();
create trigger refuse_taken_name before insert or update of name on outbox.subscription
    for each row execute function outbox.refuse_taken_name();

-- How many sources there may be: each keeps a session of its own in every relay, with threads, a connection to the
-- database and what it reads ahead. The owner may change it.
alter table outbox.quota
    add column sources integer not null default 16 constraint sources_are_at_least_0 check (sources >= 0);

create function outbox.require_room_for_source() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    most integer;
    had  bigint;
begin
    -- One after the other, as in outbox.require_room.
    update outbox.quota set sources = sources returning sources into most;
    select count(*) into had from outbox.source;
    if had >= most then
        raise exception 'of at most % inward connectors there are % already: delete one that is not needed, or raise '
                        'outbox.quota.sources as the owner', most, had
            using errcode = 'check_violation', schema = 'outbox', table = 'source', column = 'direction',
                  constraint = 'sources_are_within_the_quota';
    end if;
    return new;
end
$$;
revoke execute on function outbox.require_room_for_source() from public;
create trigger require_room_for_source before insert on outbox.source
    for each row execute function outbox.require_room_for_source();

-- Lets the records of a topic or the messages of a queue enter a channel. `type` kafka takes as `config` `topic`; `from`,
-- where it begins: earliest (default), latest or a time; `brokers` and the rest of outbox.kafka_setting for another
-- cluster than the relay's own. `type` sqs takes outbox.sqs_setting's and `unwrap`. Its messages have this `priority`.
-- Returns its id.
create function outbox.connect_in(
    name     text,
    channel  text,
    type     text,
    config   jsonb,
    priority integer default 3,
    made_by  text    default null
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    source_id bigint;
begin
    if type in ('kafka', 'sqs') is not true then
        raise exception 'type must be kafka or sqs' using errcode = 'check_violation', column = 'type';
    end if;
    insert into outbox.source as s (name, kind, channel, priority, settings, made_by)
    values (name, type, channel, priority, config, made_by)
    returning s.id into source_id;
    return source_id;
end
$$;
revoke execute on function outbox.connect_in(text, text, text, jsonb, integer, text) from public;

-- Ends one, with its positions, receipts and dead letters. Whether it was there. A right to delete would be one to lock
-- the whole table.
create function outbox.end_source(source_id bigint) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Before the source itself, as a batch locks them: its dead letters refer to the source.
    perform from outbox.source_position as p where p.source_id = end_source.source_id
    order by p.topic, p.partition for update;
    delete from outbox.source as s where s.id = end_source.source_id;
    return found;
end
$$;
revoke execute on function outbox.end_source(bigint) from public;

-- Forgets dead letters: those of one source, these ids, or these ids of one source. How many there were.
create function outbox.discard_source_dead_letters(source_id bigint, ids bigint[]) returns bigint
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    with gone as (
        delete from outbox.source_dead_letter as dead_letter
        where num_nonnulls($1, $2) > 0 and ($1 is null or dead_letter.source_id = $1)
          and ($2 is null or dead_letter.id = any ($2))
        returning 1
    )
    select count(*) from gone
$$;
revoke execute on function outbox.discard_source_dead_letters(bigint, bigint[]) from public;

-- Locks a source: positions begin, and are forgotten, by one session after the other. Only who may change it locks the row. It
-- waits no longer than a moment, so that a relay can tell that the row is held.
create function outbox.hold_source(source_id bigint) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
begin
    perform from outbox.source as s where s.id = hold_source.source_id for no key update;
end
$$;
revoke execute on function outbox.hold_source(bigint) from public;

-- Begins a topic anew, from `start`, and goes on where it was paused.
create function outbox.seek_source(source_id bigint, start text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A relay that is about to begin by former settings has begun before, or sees these.
    perform outbox.hold_source(seek_source.source_id);
    if exists (select from outbox.source as s where s.id = seek_source.source_id and s.kind <> 'kafka') then
        raise exception 'settings.from is of topics: a queue has no place to begin with'
            using errcode = 'check_violation', column = 'settings';
    end if;
    update outbox.source as s
    set settings = s.settings || jsonb_build_object('from', seek_source.start),
        paused = false, paused_reason = null, waiting_since = null, waiting_reason = null
    where s.id = seek_source.source_id;
    delete from outbox.source_position as p where p.source_id = seek_source.source_id;
end
$$;
revoke execute on function outbox.seek_source(bigint, text) from public;

-- Notes why a source can't be read, or with NULL that it can again. Writes only a change.
create function outbox.note_source_waiting(source_id bigint, reason text) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
    update outbox.source as s
    set waiting_since = case when reason is not null then coalesce(s.waiting_since, clock_timestamp()) end,
        waiting_reason = reason
    where s.id = note_source_waiting.source_id and s.waiting_reason is distinct from reason
$$;
revoke execute on function outbox.note_source_waiting(bigint, text) from public;

-- Stops a source until an operator says how it goes on.
create function outbox.stop_source(source_id bigint, reason text) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
    update outbox.source as s
    set paused = true, paused_reason = stop_source.reason, waiting_since = null, waiting_reason = null
    where s.id = stop_source.source_id and not s.paused
$$;
revoke execute on function outbox.stop_source(bigint, text) from public;

-- Forgets receipts that are older than any message that a queue may still hand out. Returns how many.
create function outbox.trim_receipts(at_most integer default 100000) returns integer
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    with trimmed as (
        delete from outbox.source_receipt
        where ctid = any (array(select ctid from outbox.source_receipt
                                where received_at < clock_timestamp() - interval '15 days'
                                limit at_most))
        returning 1
    )
    select count(*)::integer from trimmed
$$;
revoke execute on function outbox.trim_receipts(integer) from public;

-- How it stands, without settings: what readers may see.
create view outbox.source_state as
select source.id, source.name, source.kind, source.channel, source.priority,
       coalesce(source.settings ->> 'topic', regexp_replace(source.settings ->> 'queue_url', '^.*/', '')) as topic,
       coalesce(source.settings ->> 'brokers', source.settings ->> 'queue_url', '') as brokers,
       source.paused, source.paused_reason, source.waiting_since, source.waiting_reason,
       -- Another cluster may say any number, and several of the highest are more than a bigint.
       least(coalesce(at.lag, 0), 9223372036854775807)::bigint as lag, coalesce(at.entered, 0)::bigint as entered,
       coalesce(at.passed, 0)::bigint as passed, coalesce(at.partitions, 0)::bigint as partitions, at.moved_at,
       (select count(*) from (select from outbox.source_dead_letter as letter
                              where letter.source_id = source.id limit 100001) as letters) as dead_letters
from outbox.source
left join lateral (
    select sum(part.lag) as lag, sum(part.entered) as entered, sum(part.passed) as passed, count(*) as partitions,
           max(part.moved_at) as moved_at
    from (
        select greatest(end_offset - next_offset, 0) as lag, entered, passed, moved_at
        from outbox.source_position as position
        where position.source_id = source.id and position.topic = source.settings ->> 'topic'
        union all
        select waiting, entered, passed, moved_at from outbox.source_queue as queue where queue.source_id = source.id
    ) as part
) as at on true;

insert into outbox.migration (version, name) values (26, 'source');
