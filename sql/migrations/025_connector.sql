-- Connectors: subscriptions whose messages go to another system than the relay's own Kafka and endpoints.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Connects one channel to another system; it gets what commits from now on. `type`: kafka, another cluster, which
-- `config` names by `brokers`; event_hubs, one of Azure, by `namespace`; sqs, a queue, by `queue_url`; or pubsub, a topic
-- of a `project`. outbox.kafka_setting, outbox.sqs_setting and outbox.pubsub_setting say what else it may hold.
-- Credentials never stand in the database: `config` names them, and the relay knows them. Returns the id of the
-- subscription that it is.
create function outbox.connect(
    name     text,
    channel  text,
    type     text,
    config   jsonb,
    types    text[]  default null,
    shards   integer default 1,
    delivery text    default 'at_least_once',
    made_by  text    default null
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    required        text;
    subscription_id bigint;
begin
    required := case type when 'kafka' then 'brokers' when 'event_hubs' then 'namespace' when 'sqs' then 'queue_url'
                          when 'pubsub' then 'project' end;
    if required is null then
        raise exception 'type must be kafka, event_hubs, sqs or pubsub'
            using errcode = 'check_violation', column = 'type';
    end if;
    if jsonb_typeof(config) <> 'object' then
        raise exception 'settings must be a JSON object' using errcode = 'check_violation', column = 'settings';
    end if;
    if config ? required is not true then
        raise exception 'settings.% is required', required using errcode = 'check_violation', column = 'settings';
    end if;
    insert into outbox.subscription as s (name, kind, channels, types, shards, delivery, settings, made_by)
    -- To Event Hubs it goes as to any other cluster.
    values (name, case type when 'event_hubs' then 'kafka' else type end, array[channel], types, shards, delivery, config,
            made_by)
    returning s.id into subscription_id;
    return subscription_id;
end
$$;
revoke execute on function outbox.connect(text, text, text, jsonb, text[], integer, text, text) from public;

-- The connectors, for readers: their settings hold names and addresses, and no secret. With the barrier no function of a
-- reader's sees a row before it is known for a connector: the settings of the others hold endpoints with their tokens.
create view outbox.connector with (security_barrier) as
select id, name, case when settings ? 'namespace' then 'event_hubs' else kind end as type, channels, types,
       settings as config, delivery, shards, paused, paused_reason, waiting_since, waiting_reason
from outbox.subscription
where kind <> 'http' and (kind <> 'kafka' or settings ?| array['brokers', 'namespace']);

-- How many connectors may lead to other Kafka clusters. Each may have a session in each relay: with exactly once always,
-- else while it goes alone, as with a backlog. A session has threads, memory and a connection to this database. API keys
-- that are limited to channels have `connectors_of_a_key` for the keys of one name, and leave as much to all others. The
-- owner may change both.
alter table outbox.quota
    add column connectors integer not null default 20 constraint connectors_are_at_least_0 check (connectors >= 0),
    add column connectors_of_a_key integer not null default 5
        constraint connectors_of_a_key_are_at_least_0 check (connectors_of_a_key >= 0);

-- Refuses a connector that is one too many.
create function outbox.require_room_for_connector() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    word    constant text := case when new.settings ? 'namespace' then 'namespace' else 'brokers' end;
    most    integer;
    share   integer;
    had     bigint;
    own     bigint;
    refusal text;
begin
    -- One after the other, as in outbox.require_room.
    update outbox.quota set connectors = connectors returning connectors, connectors_of_a_key into most, share;
    select count(*) - 1, count(*) filter (where s.made_by = new.made_by) - 1 into had, own
    from outbox.subscription s
    where s.kind = 'kafka' and outbox.other_cluster(s.settings) <> '';
    if new.made_by is null then
        if had >= most then
            refusal := format('of at most %s connectors that do there are %s already: delete one that is not needed, or '
                              'raise outbox.quota.connectors as the owner', most, had);
        end if;
    elsif own >= share then
        refusal := format('of at most %s connectors that do, of what API keys named %s make, there are %s already: '
                          'delete one that is not needed, or ask who gave you the key', share, new.made_by, own);
    elsif had >= most - share then
        refusal := 'there is no room for it: ask who gave you the API key';
    end if;
    if refusal is not null then
        raise exception '% names another cluster, and %', word, refusal
            using errcode = 'check_violation', schema = 'outbox', table = 'subscription', column = word,
                  constraint = 'connectors_are_within_the_quota';
    end if;
    return null;
end
$$;
revoke execute on function outbox.require_room_for_connector() from public;
create trigger require_room_for_connector after insert on outbox.subscription
    for each row when (new.kind = 'kafka' and outbox.other_cluster(new.settings) <> '')
    execute function outbox.require_room_for_connector();
create trigger require_room_for_moved after update of settings on outbox.subscription
    for each row when (new.kind = 'kafka' and outbox.other_cluster(new.settings) <> ''
                       and outbox.other_cluster(old.settings) = '')
    execute function outbox.require_room_for_connector();

-- Those beyond the quota, where it was lowered since: the latest of a key's, and the latest of all. No relay begins a
-- session for these.
create view outbox.connector_beyond_quota as
with of_key as (
    select id, made_by is not null and row_number() over (partition by made_by order by id) > connectors_of_a_key as beyond
    from outbox.subscription cross join outbox.quota
    where kind = 'kafka' and outbox.other_cluster(settings) <> ''
), within as (
    select id, row_number() over (order by id) as n from of_key where not beyond
)
select id from of_key where beyond
union all
select id from within cross join outbox.quota where n > connectors;

insert into outbox.migration (version, name) values (25, 'connector');
