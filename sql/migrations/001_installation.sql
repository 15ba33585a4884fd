-- The schema, which migrations ran in it, and to which cluster its transaction ids belong.

-- Every migration begins with these two. Postgres looks up what a view, a CHECK, a default or a `return` body calls
-- once, as it is made: here, and never in a schema that a login put before it. With psql: `psql -1 -f`.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

create schema outbox;

-- Which migrations ran here. `outbox-relay migrate` writes it and refuses a database that is newer than the code.
-- A relay that does not know one of them goes on beside it where the newest that it knows is `compatible_from` or later.
-- Null: only who knows it can work with what it made.
create table outbox.migration (
    version         integer primary key,
    name            text not null,
    applied_at      timestamptz not null default clock_timestamp(),
    compatible_from integer check (compatible_from < version)
);

-- The cluster that the transaction ids in this database belong to. In another cluster they mean nothing: see
-- outbox.rebase.
create table outbox.installation (
    single            boolean primary key default true check (single),
    id                uuid not null default gen_random_uuid(),
    system_identifier bigint not null,
    -- Seals what relays note in Kafka of a cursor that delivers exactly once, since others may write there. Relays alone
    -- read it.
    note_key          bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
);
insert into outbox.installation (system_identifier)
select system_identifier from pg_control_system();

insert into outbox.migration (version, name) values (1, 'installation');
