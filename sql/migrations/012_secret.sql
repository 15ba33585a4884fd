-- The secrets that requests to endpoints are signed with.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- A secret that an endpoint's requests are signed with. No reader sees it: not in settings, not in a view. While a
-- secret is rotated out, requests carry a signature by each. A key stands here as it is, or sealed by a relay or
-- service that has OUTBOX_SECRET_KEY: then as the Fernet token of its bytes (https://github.com/fernet/spec), which
-- tells nothing to a reader of the database alone.
create table outbox.secret (
    subscription_id bigint      not null references outbox.subscription on delete cascade,
    created_at      timestamptz not null default clock_timestamp(),
    key             bytea,
    sealed          text,
    -- NULL: until it is rotated.
    expires_at      timestamptz,

    primary key (subscription_id, created_at),
    constraint secret_is_a_key_or_sealed check (num_nonnulls(key, sealed) = 1),
    constraint key_has_24_to_64_bytes check (octet_length(key) between 24 and 64),
    constraint sealed_is_a_fernet_token check (sealed ~ '^gAAAA[A-Za-z0-9_-]{95,195}={0,2}$')
);

-- 244 random bits, in 32 bytes.
create function outbox.random_key() returns bytea
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
$$;
revoke execute on function outbox.random_key() from public;

-- Makes a new secret for the subscription's signatures, and returns it; it is shown nowhere else. Those before it serve
-- for a day more, or with `revoke_old` = 'now' no longer. A caller that has OUTBOX_SECRET_KEY makes the secret by
-- itself and gives it `sealed`; then NULL is returned. Raises no_data_found where there is no such http subscription.
create function outbox.rotate_secret(
    subscription_id bigint,
    revoke_old      text default 'after_a_day',
    sealed          text default null
) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    key bytea := case when sealed is null then outbox.random_key() end;
begin
    if revoke_old is null or revoke_old not in ('now', 'after_a_day') then
        raise exception 'revoke_old must be now or after_a_day' using errcode = 'invalid_parameter_value';
    end if;
    perform from outbox.subscription as s
    where s.id = rotate_secret.subscription_id and s.kind = 'http' for no key update;
    if not found then
        raise exception 'there is no http subscription % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    -- Every valid secret is a signature in every request: three at most, even if a caller rotates in a loop.
    delete from outbox.secret as s
    where s.subscription_id = rotate_secret.subscription_id
      and (revoke_old = 'now'
           or s.expires_at <= clock_timestamp()
           or s.created_at not in (select kept.created_at from outbox.secret as kept
                                   where kept.subscription_id = rotate_secret.subscription_id
                                   order by kept.created_at desc limit 2));
    update outbox.secret as s
    set expires_at = least(s.expires_at, clock_timestamp() + interval '1 day')
    where s.subscription_id = rotate_secret.subscription_id;
    insert into outbox.secret (subscription_id, key, sealed) values (subscription_id, key, sealed);
    return 'whsec_' || encode(key, 'base64');
end
$$;
revoke execute on function outbox.rotate_secret(bigint, text, text) from public;

-- Puts a sealed secret where the same secret stood as it is, or sealed as `sealed_before`, with a key that is going out
-- of use. Returns false where it is gone, or another relay was faster. No parameter takes a key as it is: the server
-- might log it.
create function outbox.seal_secret(
    subscription_id bigint,
    created_at      timestamptz,
    sealed          text,
    sealed_before   text default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update outbox.secret as s
    set key = null, sealed = seal_secret.sealed
    where s.subscription_id = seal_secret.subscription_id and s.created_at = seal_secret.created_at
      and s.sealed is not distinct from sealed_before;
    return found;
end
$$;
revoke execute on function outbox.seal_secret(bigint, timestamptz, text, text) from public;

insert into outbox.migration (version, name) values (12, 'secret');
