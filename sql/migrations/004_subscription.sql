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
    constraint kind_is_kafka_http_sqs_or_pubsub check (kind in ('kafka', 'http', 'sqs', 'pubsub')),
    constraint channels_hold_no_null check (array_position(channels, null) is null),
    constraint types_hold_no_null check (array_position(types, null) is null),
    -- Each relay holds them in memory.
    constraint channels_are_at_most_1000 check (
        cardinality(channels) <= 1000 and length(array_to_string(channels, ',')) <= 262144),
    constraint types_are_at_most_1000 check (
        cardinality(types) <= 1000 and length(array_to_string(types, ',')) <= 262144),
    constraint delivery_is_at_least_once_or_exactly_once check (delivery in ('at_least_once', 'exactly_once')),
    constraint exactly_once_is_for_kafka check (delivery = 'at_least_once' or kind = 'kafka'),
    constraint shards_are_1_to_64 check (shards between 1 and 64),
    constraint only_the_paused_have_a_reason check (paused or paused_reason is null),
    constraint the_waiting_have_a_reason check ((waiting_since is null) = (waiting_reason is null)),
    constraint made_by_is_at_most_100_characters check (length(made_by) <= 100),
    -- Each request to a queue or a topic of Pub/Sub is signed by the operator's credential, or by the relay's own identity
    -- in its cloud.
    constraint queues_and_topics_are_not_for_limited_keys check (kind not in ('sqs', 'pubsub') or made_by is null),
    constraint settings_are_an_object check (jsonb_typeof(settings) = 'object'),
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
        select array[key] as names, value from jsonb_each(settings) where key not in ('retry', 'breaker')
        union all
        select array[part.key, inner_part.key], inner_part.value
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
        select array_to_string(given.names, '.'), case
            when given.names[1] in (select path from outbox.http_setting where path like '%.%') then
                format('is one name: put %s into the object %s', split_part(given.names[1], '.', 2),
                       split_part(given.names[1], '.', 1))
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
        from given left join outbox.http_setting as known on string_to_array(known.path, '.') = given.names
    )
    select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
$$;

-- What the settings of a `kafka` subscription may be. Two subscriptions may carry one channel to two topics of one
-- cluster. Of the properties of Kafka's client only these are anybody's to set: some of the others run code or read
-- files of the relay's host. With `namespace` it is one of Azure Event Hubs, whose hubs are its topics.
create table outbox.kafka_setting (
    path    text    primary key,
    longest integer not null,
    pattern text    not null,
    must_be text    not null
);
insert into outbox.kafka_setting (path, longest, pattern, must_be) values
    ('topic_prefix', 49, '^[A-Za-z0-9._-]*$', 'at most 49 letters, digits, dots, dashes and underscores'),
    ('brokers', 1000,
     replace('^BROKER(,BROKER){0,9}$', 'BROKER',
             '([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}'
             '|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])'),
     'host:port,host:port of at most 10 brokers and 1000 characters, without blanks'),
    ('topic', 249, '^(?!\.\.?$|__)[A-Za-z0-9._-]+$',
     'the name of a topic, but none of Kafka''s own with __ in front: at most 249 letters, digits, dots, dashes and '
     'underscores'),
    ('credentials', 63, '^[a-z][a-z0-9-]*$',
     'a name of at most 63 lower-case letters, digits and dashes that begins with a letter'),
    ('security', 20, '^(plaintext|ssl|sasl_plaintext|sasl_ssl)$', 'one of plaintext, ssl, sasl_plaintext, sasl_ssl'),
    ('sasl_mechanism', 20, '^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$', 'one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512'),
    ('namespace', 255,
     '^([A-Za-z][A-Za-z0-9-]{4,48}[A-Za-z0-9]|[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+|[A-Za-z0-9.-]+:[1-9][0-9]{0,4})$',
     'the name of a namespace, or its host name where that does not end in .servicebus.windows.net'),
    ('event_hub', 256, '^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$',
     'the name of an event hub: at most 256 letters, digits, dots, dashes and underscores');

-- What is wrong with the settings of a `kafka` subscription of these channels, in a sentence that names the setting and
-- what it must be; NULL: nothing. With `brokers` it goes to their cluster, with `namespace` to Event Hubs, without
-- both to the cluster of the relay's environment.
create function outbox.kafka_settings_fault(settings jsonb, channels text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
    with security (word) as (
        select case when settings ? 'namespace' then '' else coalesce(settings ->> 'security', 'plaintext') end),
    fault (path, sentence) as (
        select given.key, case
            when known.path is null then
                'is not known; known are ' || (select string_agg(path, ', ' order by path) from outbox.kafka_setting)
            when jsonb_typeof(value) <> 'string' or length(value #>> '{}') > known.longest
                 or value #>> '{}' !~ known.pattern then 'must be ' || known.must_be
            when settings ? 'namespace' and known.path not in ('namespace', 'event_hub', 'credentials') then
                'is not of Event Hubs, which take namespace, event_hub and credentials'
            when known.path = 'event_hub' and not settings ? 'namespace' then
                'is of Event Hubs, which namespace has to name'
            when not settings ?| array['brokers', 'namespace'] and known.path <> 'topic_prefix' then
                'is of another cluster, which brokers have to name'
        end
        from jsonb_each(settings) as given left join outbox.kafka_setting as known on known.path = given.key
        union all
        select 'topic', 'takes no topic_prefix besides' where settings ?& array['topic', 'topic_prefix']
        union all
        select 'topic', 'takes exactly one channel' where settings ? 'topic' and cardinality(channels) is distinct from 1
        union all
        select 'topic', 'is required for a channel with __ in front of its name: such topics are Kafka''s own'
        where settings ? 'brokers' and not settings ? 'topic'
          and exists (select from unnest(channels) as channel
                      where starts_with(coalesce(settings ->> 'topic_prefix', '') || channel, '__'))
        union all
        select name, 'must not be the topic of the relay''s own cursors' from unnest(array['topic', 'event_hub']) as name
        where settings ->> name = 'outbox.cursors'
        union all
        select 'namespace', 'takes exactly one channel'
        where settings ? 'namespace' and cardinality(channels) is distinct from 1
        union all
        select 'credentials', 'is required with a namespace: it names the connection string'
        where settings ? 'namespace' and not settings ? 'credentials'
        union all
        select 'sasl_mechanism', 'is required with security ' || word from security
        where word like 'sasl%' and not settings ? 'sasl_mechanism'
        union all
        select 'sasl_mechanism', 'is for security sasl_plaintext and sasl_ssl' from security
        where word not like 'sasl%' and settings ? 'sasl_mechanism'
        union all
        select 'credentials', 'is required with security ' || word from security
        where word like 'sasl%' and not settings ? 'credentials'
        union all
        select 'credentials', 'is of no use with security plaintext' from security
        where word = 'plaintext' and settings ? 'credentials'
    )
    select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
$$;

-- What the settings of an `sqs` subscription may be besides those of outbox.http_setting that are its own as well: where
-- its queue is, and who sends there. The account is a part of the URL: by host and account the relay's operator allows.
create table outbox.sqs_setting (
    path    text    primary key,
    longest integer not null,
    pattern text    not null,
    must_be text    not null
);
insert into outbox.sqs_setting (path, longest, pattern, must_be) values
    ('queue_url', 500,
     '^https?://([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?/[0-9]{12}/'
     '([A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo)$',
     'the URL of a queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, its account of 12 digits'),
    ('region', 40, '^[a-z0-9]+(-[a-z0-9]+)*$', 'a region, such as eu-central-1'),
    ('role_arn', 600, '^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$',
     'the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME'),
    ('credentials', 63, '^[a-z][a-z0-9-]*$',
     'a name of at most 63 lower-case letters, digits and dashes that begins with a letter');

-- What is wrong with the settings of an `sqs` subscription, in a sentence that names the setting and what it must be;
-- NULL: nothing.
create function outbox.sqs_settings_fault(settings jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
    with known (path) as (
        select path from outbox.sqs_setting
        union all
        select path from outbox.http_setting where path not in ('endpoint', 'client_errors')
    ),
    fault (path, sentence) as (
        select 'queue_url', 'is required' where not settings ? 'queue_url'
        union all
        select given.key, case
            when own.path is not null and (jsonb_typeof(value) <> 'string' or length(value #>> '{}') > own.longest
                                           or value #>> '{}' !~ own.pattern) then 'must be ' || own.must_be
            when own.path is null and given.key not in ('retry', 'breaker')
                 and not exists (select from known where known.path = given.key and known.path !~ '[.]') then
                'is not known; known are ' || (select string_agg(path, ', ' order by path) from known)
        end
        from jsonb_each(settings) as given left join outbox.sqs_setting as own on own.path = given.key
        union all
        select 'region', 'is required where queue_url does not begin with https://sqs.REGION.amazonaws.com/'
        where not settings ? 'region'
          and settings ->> 'queue_url' !~ '^https://sqs\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/'
    ),
    own_fault (sentence) as (
        select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
    )
    select coalesce(
        (select sentence from own_fault),
        -- The rest is as an endpoint's.
        outbox.http_settings_fault(settings - 'queue_url' - 'region' - 'role_arn' - 'credentials'
                                   || '{"endpoint": "https://queue/"}'))
$$;

-- What the settings of a `pubsub` subscription may be besides those of outbox.http_setting that are its own as well: where
-- its topic is, and who sends there.
create table outbox.pubsub_setting (
    path    text    primary key,
    type    text    not null check (type in ('string', 'boolean')),
    longest integer not null,
    pattern text    not null,
    must_be text    not null
);
insert into outbox.pubsub_setting (path, type, longest, pattern, must_be) values
    ('project', 'string', 100, '^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$', 'the id of a project, such as shop-prod'),
    ('topic', 'string', 255, '^(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}$',
     'the name of a topic: 3 to 255 letters, digits and . _ ~ + % -, a letter first, and not beginning with goog'),
    ('ordering', 'boolean', 5, '', 'true or false'),
    ('endpoint', 'string', 300, '^https?://([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?$',
     'https:// and a host, such as https://europe-west1-pubsub.googleapis.com'),
    ('credentials', 'string', 63, '^[a-z][a-z0-9-]*$',
     'a name of at most 63 lower-case letters, digits and dashes that begins with a letter');

-- What is wrong with the settings of a `pubsub` subscription of these channels, in a sentence that names the setting and
-- what it must be; NULL: nothing.
create function outbox.pubsub_settings_fault(settings jsonb, channels text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
    with known (path) as (
        select path from outbox.pubsub_setting
        union all
        select path from outbox.http_setting where path not in ('endpoint', 'client_errors')
    ),
    fault (path, sentence) as (
        select 'project', 'is required' where not settings ? 'project'
        union all
        select given.key, case
            when own.path is not null and (jsonb_typeof(value) <> own.type or length(value #>> '{}') > own.longest
                                           or value #>> '{}' !~ own.pattern) then 'must be ' || own.must_be
            when own.path is null and given.key not in ('retry', 'breaker')
                 and not exists (select from known where known.path = given.key and known.path !~ '[.]') then
                'is not known; known are ' || (select string_agg(path, ', ' order by path) from known)
        end
        from jsonb_each(settings) as given left join outbox.pubsub_setting as own on own.path = given.key
        union all
        select 'topic', 'takes exactly one channel' where cardinality(channels) is distinct from 1
        union all
        -- Another name might be another channel's.
        select 'topic', format('is required: the channel %s has no name of a topic, which is %s', channels[1],
                               replace(must_be, 'the name of a topic: ', ''))
        from outbox.pubsub_setting
        where path = 'topic' and not settings ? 'topic' and cardinality(channels) = 1 and channels[1] !~ pattern
        union all
        select 'credentials', 'is of no use with an endpoint of http://, where nothing is signed'
        where settings ? 'credentials' and starts_with(settings ->> 'endpoint', 'http://')
    ),
    own_fault (sentence) as (
        select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
    )
    select coalesce(
        (select sentence from own_fault),
        -- The rest is as an endpoint's.
        outbox.http_settings_fault(settings - array(select path from outbox.pubsub_setting)
                                   || '{"endpoint": "https://topic/"}'))
$$;

-- What of a subscription's settings names another system than the Kafka of the relay's environment and an endpoint:
-- another cluster, the same text for the same cluster, a queue, or the topics of a project; empty where it goes to none.
-- It becomes a part of the calling statement.
create function outbox.other_cluster(settings jsonb) returns text
language sql immutable parallel safe
return case when settings ?| array['brokers', 'namespace']
                then (settings - 'topic' - 'topic_prefix' - 'event_hub')::text
            when settings ? 'project'
                then coalesce(settings ->> 'endpoint', '') || '/projects/' || coalesce(settings ->> 'project', '')
            else coalesce(settings ->> 'queue_url', '') end;
revoke execute on function outbox.other_cluster(jsonb) from public;

-- The one topic that a connector of one channel fills: that of its settings, or of the channel's name. Empty for what has
-- a topic for each channel. It becomes a part of the calling statement.
create function outbox.connector_topic(settings jsonb, channels text[]) returns text
language sql immutable parallel safe
return case when settings ?| array['topic', 'event_hub'] then coalesce(settings ->> 'topic', settings ->> 'event_hub')
            when settings ?| array['brokers', 'namespace', 'project'] and cardinality(channels) = 1
                then coalesce(settings ->> 'topic_prefix', '') || channels[1]
            else '' end;
revoke execute on function outbox.connector_topic(jsonb, text[]) from public;

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
    if jsonb_typeof(new.settings) <> 'object' then
        raise exception 'settings must be a JSON object' using errcode = 'check_violation', column = 'settings';
    end if;
    fault := case new.kind when 'http' then outbox.http_settings_fault(new.settings)
                           when 'kafka' then outbox.kafka_settings_fault(new.settings, new.channels)
                           when 'sqs' then outbox.sqs_settings_fault(new.settings)
                           when 'pubsub' then outbox.pubsub_settings_fault(new.settings, new.channels) end;
    if fault is not null then
        raise exception '%', fault using errcode = 'check_violation', column = 'settings';
    end if;
    if new.delivery = 'exactly_once' and new.kind = 'kafka' and new.settings ? 'namespace' then
        -- What a cursor notes may be longer, and is noted at every run.
        raise exception 'settings.delivery must be at_least_once: with an offset Event Hubs keep at most 1024 bytes, take'
                        ' 4 commits a second and promise no transactions'
            using errcode = 'check_violation', column = 'settings';
    end if;
    if tg_op = 'UPDATE' and (new.settings ? 'namespace') <> (old.settings ? 'namespace') then
        raise exception 'settings.namespace can not be %: make a new connector',
            case when new.settings ? 'namespace' then 'given to what goes to Kafka' else 'left out' end
            using errcode = 'check_violation', column = 'settings';
    end if;
    if tg_op = 'UPDATE' and outbox.other_cluster(new.settings) <> outbox.other_cluster(old.settings) then
        -- What it waits for was of the former cluster.
        new.waiting_since := null;
        new.waiting_reason := null;
    end if;
    return new;
end
$$;
create trigger check_settings before insert or update of kind, channels, delivery, settings on outbox.subscription
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
