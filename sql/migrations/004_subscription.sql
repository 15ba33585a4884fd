-- Subscriptions, and what their settings may be.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

create table outbox.subscription (
    id             bigint generated always as identity primary key,
    name           text        not null unique,
    kind           text        not null default 'kafka',
    -- NULL: every channel whose name does not start with `outbox.`.
    channels       text[],
    -- Every channel that it reads or has read, as remember_channels keeps it; NULL: among them all. The rows, attempts
    -- and dead letters of a former channel are still the subscription's.
    read_channels  text[],
    -- NULL: every type.
    types          text[],
    delivery       text        not null default 'at_least_once',
    -- Fixed at creation: a rehash would put one group under two cursors.
    shards         smallint    not null default 1,
    paused         boolean     not null default false,
    paused_reason  text,
    -- Why none of its messages can go, as a relay noted it: a secret that does not open.
    waiting_since  timestamptz,
    waiting_reason text,
    settings       jsonb       not null default '{}',
    -- The name of the API key that made it, where that key is limited to channels; see outbox.require_room.
    made_by        text,
    created_at     timestamptz not null default clock_timestamp(),

    -- A command must not take it for an option, a path for a folder, nor anybody for an id.
    constraint name_is_1_to_100_letters_digits_dots_dashes
        check (name ~ '^[A-Za-z0-9._-]+$' and length(name) <= 100),
    constraint name_begins_with_a_letter_or_digit_and_is_no_number check (name ~ '^[A-Za-z0-9]' and name !~ '^[0-9]+$'),
    constraint kind_is_kafka_or_http check (kind in ('kafka', 'http')),
    constraint channels_hold_no_null check (array_position(channels, null) is null),
    constraint types_hold_no_null check (array_position(types, null) is null),
    constraint delivery_is_at_least_once_or_exactly_once check (delivery in ('at_least_once', 'exactly_once')),
    constraint exactly_once_is_for_kafka check (delivery = 'at_least_once' or kind = 'kafka'),
    constraint shards_are_1_to_64 check (shards between 1 and 64),
    constraint only_the_paused_have_a_reason check (paused or paused_reason is null),
    constraint the_waiting_have_a_reason check ((waiting_since is null) = (waiting_reason is null)),
    constraint made_by_is_at_most_100_characters check (length(made_by) <= 100),
    constraint settings_are_an_object check (jsonb_typeof(settings) = 'object'),
    -- Two subscriptions may carry one channel to two topics of one cluster. `kafka` has no other setting;
    -- check_settings checks those of `http`.
    constraint settings_of_kafka_are_a_topic_prefix check (
        kind <> 'kafka' or (
            settings - 'topic_prefix' = '{}'
            and coalesce(jsonb_typeof(settings -> 'topic_prefix') = 'string'
                         and settings ->> 'topic_prefix' ~ '^[A-Za-z0-9._-]{0,49}$',
                         not settings ? 'topic_prefix'))),
    -- Where the channels are not listed, the relay refuses each such message by itself.
    constraint topics_are_not_outbox_cursors_which_is_the_relays_own check (
        kind <> 'kafka'
        or not starts_with('outbox.cursors', coalesce(settings ->> 'topic_prefix', ''))
        or (substr('outbox.cursors', length(coalesce(settings ->> 'topic_prefix', '')) + 1) = any (channels))
           is not true)
);

-- Two names that differ in nothing but case would be taken for each other.
create unique index subscription_name_in_any_case on outbox.subscription (lower(name collate "C"));

-- What the settings of an `http` subscription may be: numbers have bounds, words are listed.
create table outbox.http_setting (
    path   text primary key,
    kind   text not null check (kind in ('number', 'integer', 'word', 'url', 'delays')),
    lowest numeric,
    highest numeric,
    words  text[]
);
insert into outbox.http_setting (path, kind, lowest, highest, words) values
    ('endpoint',                    'url',     null, null,    null),
    ('concurrency',                 'integer', 1,    1000,    null),
    ('rate_per_second',             'number',  0.01, 100000,  null),
    ('timeout_seconds',             'number',  1,    60,      null),
    ('max_payload_bytes',           'integer', 1,    983040,  null),
    ('client_errors',               'word',    null, null,    array['retry', 'dead_letter']),
    ('on_exhausted',                'word',    null, null,    array['skip', 'park']),
    ('attempts_log',                'word',    null, null,    array['all', 'failures', 'none']),
    ('retry.initial_delay_seconds', 'number',  0,    86400,   null),
    ('retry.multiplier',            'number',  1,    100,     null),
    ('retry.max_delay_seconds',     'number',  0,    604800,  null),
    ('retry.max_attempts',          'integer', 1,    100,     null),
    ('retry.schedule_seconds',      'delays',  0,    604800,  null),
    ('retry.jitter',                'number',  0,    1,       null),
    ('breaker.window_seconds',      'number',  1,    3600,    null),
    ('breaker.minimum',             'integer', 1,    1000000, null),
    ('breaker.threshold',           'number',  0.01, 1,       null),
    ('breaker.cool_down_seconds',   'number',  1,    86400,   null);

-- What is wrong with the settings of an `http` subscription, in a sentence that names the setting and what it must be;
-- NULL: nothing.
create function outbox.http_settings_fault(settings jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
    with given as (
        select key as path, value from jsonb_each(settings) where key not in ('retry', 'breaker')
        union all
        select part.key || '.' || inner_part.key, inner_part.value
        from jsonb_each(settings) as part
        cross join lateral jsonb_each(case jsonb_typeof(part.value) when 'object' then part.value else '{}' end)
                   as inner_part
        where part.key in ('retry', 'breaker')
    ),
    fault (path, sentence) as (
        select 'endpoint', 'is required' where not settings ? 'endpoint'
        union all
        select key, 'must be an object' from jsonb_each(settings)
        where key in ('retry', 'breaker') and jsonb_typeof(value) <> 'object'
        union all
        select 'retry', 'takes schedule_seconds or the four that compute one, not both'
        where settings -> 'retry' ? 'schedule_seconds'
          and settings -> 'retry' ?| array['initial_delay_seconds', 'multiplier', 'max_delay_seconds', 'max_attempts']
        union all
        select given.path, case
            when known.path is null then
                'is not known; known are ' || (select string_agg(path, ', ' order by path) from outbox.http_setting)
            when kind = 'word' and (jsonb_typeof(value) <> 'string' or value #>> '{}' <> all (words)) then
                'must be one of ' || array_to_string(words, ', ')
            when kind = 'url' and (jsonb_typeof(value) <> 'string' or length(value #>> '{}') > 2048
                                   or value #>> '{}' !~ ('^https?://[^/?#@\s[:cntrl:]]+'
                                                         '(/[^#\s[:cntrl:]]*|\?[^#\s[:cntrl:]]*)?$')) then
                'must be an http:// or https:// URL of at most 2048 characters, without user, password or fragment'
            when kind in ('number', 'integer') and (
                     jsonb_typeof(value) <> 'number'
                     or case when jsonb_typeof(value) = 'number'
                             then (value #>> '{}')::numeric not between lowest and highest
                                  or kind = 'integer' and value #>> '{}' !~ '^[0-9]+$' end) then
                format('must be %s from %s to %s', case kind when 'integer' then 'a whole number' else 'a number' end,
                       lowest, highest)
            when kind = 'delays' and (
                     jsonb_typeof(value) <> 'array'
                     or case when jsonb_typeof(value) = 'array' then
                            jsonb_array_length(value) > 100 or exists (
                                select from jsonb_array_elements(value) as delay
                                where jsonb_typeof(delay) <> 'number'
                                   or case when jsonb_typeof(delay) = 'number'
                                           then (delay #>> '{}')::numeric not between lowest and highest end) end) then
                format('must be a list of at most 100 numbers of seconds from %s to %s', lowest, highest)
        end
        from given left join outbox.http_setting as known on known.path = given.path
    )
    select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
$$;

create function outbox.check_settings() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    fault text;
begin
    if tg_op = 'UPDATE' and new.kind <> old.kind then
        raise exception 'outbox.subscription.kind is fixed at creation: make a new subscription of kind %', new.kind
            using errcode = 'check_violation', column = 'kind';
    end if;
    if new.kind = 'http' then
        fault := outbox.http_settings_fault(new.settings);
        if fault is not null then
            raise exception '%', fault using errcode = 'check_violation', column = 'settings';
        end if;
    end if;
    return new;
end
$$;
create trigger check_settings before insert or update of kind, settings on outbox.subscription
    for each row execute function outbox.check_settings();

-- Keeps `read_channels`. Beyond a hundred channels it is NULL, as if the subscription had read them all.
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

-- Whether a subscription of these channels and types wants a message. The relay reads the log by the same filter
-- (relay/log/reading.py). It becomes a part of the calling statement.
create function outbox.wants(channels text[], types text[], channel text, type text) returns boolean
language sql immutable parallel safe
return case when channels is null then not starts_with(channel, 'outbox.') else channel = any (channels) end
    and (types is null or type = any (types));
revoke execute on function outbox.wants(text[], text[], text, text) from public;

-- Notes why none of a subscription's messages can go, or with NULL that they go again. Writes only a change.
create function outbox.note_waiting(subscription_id bigint, reason text) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    update outbox.subscription as s
    set waiting_since = case when reason is not null then coalesce(s.waiting_since, clock_timestamp()) end,
        waiting_reason = reason
    where s.id = note_waiting.subscription_id and s.waiting_reason is distinct from reason
$$;
revoke execute on function outbox.note_waiting(bigint, text) from public;

-- The origin of each endpoint, without its path, which may hold a token.
create view outbox.subscription_endpoint as
select name as subscription, regexp_replace(settings ->> 'endpoint', '^([a-z]+://[^/?#]*)/?(.*)$', '\1/') as origin,
       settings ->> 'endpoint' !~ '^[a-z]+://[^/?#]*/?$' as has_path
from outbox.subscription
where kind = 'http';

insert into outbox.migration (version, name) values (4, 'subscription');
