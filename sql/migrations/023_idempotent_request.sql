-- The answers of the HTTP API to requests with an Idempotency-Key.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- A request with an Idempotency-Key, and the answer that its repeats get. Written in the transaction that publishes.
create table outbox.idempotent_request (
    api_key_id  bigint      not null references outbox.api_key,
    key         text        not null,
    -- SHA-256 of the path and the body.
    fingerprint bytea       not null,
    -- Set before the commit: no other session sees a row without it.
    answer      bytea,
    created_at  timestamptz not null default clock_timestamp(),

    primary key (api_key_id, key),
    constraint key_is_1_to_255_printable_characters check (key ~ '^[!-~]+$' and length(key) <= 255)
);
create index idempotent_request_created_at on outbox.idempotent_request (created_at);

-- Deletes requests older than a day, the oldest first. Returns how many.
create function outbox.trim_idempotency(at_most integer default 1000) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    trimmed integer;
begin
    delete from outbox.idempotent_request as old
    using (
        select api_key_id, key from outbox.idempotent_request
        where created_at < (select clock_timestamp() - interval '1 day')
        order by created_at limit at_most
        -- A request that uses an expired key anew, and another session that trims, are not waited for.
        for update skip locked
    ) as expired
    where old.api_key_id = expired.api_key_id and old.key = expired.key;
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;
revoke execute on function outbox.trim_idempotency(integer) from public;

insert into outbox.migration (version, name) values (23, 'idempotent_request');
