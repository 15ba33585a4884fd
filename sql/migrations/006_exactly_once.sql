-- Exactly once into Kafka: each run is one Kafka transaction that carries the cursor with it.
set search_path = pg_catalog, pg_temp;

alter table outbox.subscription
    drop constraint delivery_is_at_least_once,
    add constraint delivery_is_at_least_once_or_exactly_once check (delivery in ('at_least_once', 'exactly_once')),
    -- Two subscriptions may carry one channel to two topics of one cluster. No other setting belongs to this kind.
    add constraint settings_of_kafka_are_a_topic_prefix check (
        settings - 'topic_prefix' = '{}'
        and coalesce(jsonb_typeof(settings -> 'topic_prefix') = 'string'
                     and settings ->> 'topic_prefix' ~ '^[A-Za-z0-9._-]{0,49}$',
                     not settings ? 'topic_prefix'));

-- What Kafka holds of a cursor names the checkpoint that it follows by n and token: after a restore the same n may come
-- again for another run, and the same token never does.
alter table outbox.checkpoint
    add column token bigint not null default hashtextextended(gen_random_uuid()::text, 0);

insert into outbox.migration (version, name) values (6, 'exactly_once');
