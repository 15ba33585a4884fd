-- The inbox, for a consumer's own database: a message that comes more than once is applied once.
--     begin;
--     select inbox.first_time('inventory', <the message's idempotency-key>);
--     … apply it, if that was true …
--     commit;
--     … then commit the Kafka offset …
-- Needs nothing else of this project; running it again is safe. Everything is named with its schema: the search_path of
-- the session that runs this, or applies a message, decides nothing, and is left as it is.
create schema if not exists inbox;

create table if not exists inbox.received (
    -- The consumer that applied it: each consumer of a message remembers it for itself.
    consumer        pg_catalog.text        not null,
    idempotency_key pg_catalog.text        not null,
    received_at     pg_catalog.timestamptz not null default pg_catalog.clock_timestamp(),

    primary key (consumer, idempotency_key),
    constraint consumer_is_1_to_100_characters check (
        pg_catalog.length(consumer) operator(pg_catalog.>=) 1
        and pg_catalog.length(consumer) operator(pg_catalog.<=) 100),
    constraint idempotency_key_is_1_to_128_characters check (
        pg_catalog.length(idempotency_key) operator(pg_catalog.>=) 1
        and pg_catalog.length(idempotency_key) operator(pg_catalog.<=) 128)
);
create index if not exists received_at on inbox.received (received_at);

-- Whether this consumer gets this message for the first time; remembers it in the caller's transaction, so a rollback
-- forgets it together with its effect. Of two calls at once the second waits for the first's commit or rollback.
-- In READ COMMITTED; stricter levels raise serialization_failure instead of waiting out a commit.
create or replace function inbox.first_time(consumer pg_catalog.text, idempotency_key pg_catalog.text)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    insert into inbox.received (consumer, idempotency_key)
    values (first_time.consumer, first_time.idempotency_key)
    on conflict (consumer, idempotency_key) do nothing;
    return found;
end
$$;

-- Forgets what came longer than `keep` ago. Choose more than the topic's retention, or what is read again from the
-- start of the topic is applied again. Returns how many went.
create or replace function inbox.trim(keep interval) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    trimmed bigint;
begin
    delete from inbox.received where received_at < clock_timestamp() - keep;
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;
