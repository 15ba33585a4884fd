-- How many requests all relays together may make of a subscription in a second.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Up to which time the requests that all relays together may make of a subscription are used up.
create table outbox.rate_limit (
    subscription_id bigint      primary key,
    used_until      timestamptz not null default '-infinity'
);

-- Takes the requests that a relay may make of a subscription in about half a second, from what is left for all relays
-- together. Returns how many; NULL: there is no limit. What was not taken within a second (or within the time of one
-- request, where that is longer) is lost.
create function outbox.take_rate(subscription_id bigint) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    per_second float8;
    now        timestamptz;
    used       timestamptz;
    granted    integer;
begin
    select (s.settings ->> 'rate_per_second')::float8 into per_second
    from outbox.subscription as s where s.id = take_rate.subscription_id;
    if per_second is null then
        return null;
    end if;
    -- A relay that holds it takes its share at this moment. Waiting for that would keep a connection from other
    -- subscriptions.
    select r.used_until into used from outbox.rate_limit as r
    where r.subscription_id = take_rate.subscription_id for no key update skip locked;
    if not found then
        return 0;
    end if;
    now := clock_timestamp();
    used := greatest(used, now - make_interval(secs => greatest(1, 1 / per_second)));
    granted := least(greatest(round(per_second / 2), 1),
                     floor(extract(epoch from now - used)::float8 * per_second + 0.000001))::integer;
    if granted > 0 then
        update outbox.rate_limit as r
        set used_until = used + make_interval(secs => granted / per_second)
        where r.subscription_id = take_rate.subscription_id;
    end if;
    return greatest(granted, 0);
end
$$;
revoke execute on function outbox.take_rate(bigint) from public;

insert into outbox.migration (version, name) values (11, 'rate');
