-- Subscribing an endpoint, and sending it a test message.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

create function outbox.equip_http() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into outbox.breaker (subscription_id) values (new.id);
    insert into outbox.rate_limit (subscription_id) values (new.id);
    insert into outbox.answer_budget (subscription_id) values (new.id);
    insert into outbox.secret (subscription_id, key) values (new.id, outbox.random_key());
    return null;
end
$$;
create trigger equip_http after insert on outbox.subscription
    for each row when (new.kind = 'http') execute function outbox.equip_http();

-- Subscribes an endpoint to one channel; it gets what commits from now on. Returns the secret of its signatures, which
-- is shown nowhere else. A caller that has OUTBOX_SECRET_KEY makes the secret by itself and gives it `sealed`; then
-- NULL is returned in its place.
create function outbox.subscribe(
    name     text,
    channel  text,
    endpoint text,
    settings jsonb   default '{}',
    types    text[]  default null,
    shards   integer default 1,
    sealed   text    default null,
    made_by  text    default null
) returns table (subscription_id bigint, secret text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    insert into outbox.subscription as s (name, kind, channels, types, shards, settings, made_by)
    values (name, 'http', array[channel], types, shards, settings || jsonb_build_object('endpoint', endpoint), made_by)
    returning s.id into subscription_id;
    if sealed is not null then
        -- In the place of the secret that equip_http has made.
        update outbox.secret as s set key = null, sealed = subscribe.sealed
        where s.subscription_id = subscribe.subscription_id;
    end if;
    select 'whsec_' || encode(s.key, 'base64') into secret
    from outbox.secret as s where s.subscription_id = subscribe.subscription_id;
    return next;
end
$$;
revoke execute on function outbox.subscribe(text, text, text, jsonb, text[], integer, text, text) from public;

-- Sends one message of type `outbox.test` to this subscription, and to no other that does not name channel
-- `outbox.test`. Returns its id.
create function outbox.send_test(subscription_id bigint) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    target     outbox.subscription;
    message_id bigint;
begin
    -- Locked, so that its filter stays as it is here until the message is in the log.
    select * into target from outbox.subscription as s
    where s.id = send_test.subscription_id and s.kind = 'http' for share;
    if not found then
        raise exception 'there is no http subscription % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    message_id := outbox.publish_own('outbox.test', 'outbox.test',
                                     json_build_object('subscriptionId', target.id::text, 'name', target.name));
    -- Where its filter leaves the message out, it gets a row. The row has no group, so no other row depends on it: it
    -- is the one insert that needs no hold of the cursor.
    insert into outbox.delivery (cursor_id, message_id, due_at)
    select cursor.id, message_id, clock_timestamp()
    from outbox.cursor
    where cursor.subscription_id = target.id and cursor.priority = 3 and cursor.channel is null
      and cursor.shard = outbox.shard_of(null, message_id, target.shards)
      and ('outbox.test' = any (target.channels) and (target.types is null or 'outbox.test' = any (target.types)))
          is not true;
    return message_id;
end
$$;
revoke execute on function outbox.send_test(bigint) from public;

insert into outbox.migration (version, name) values (13, 'endpoint');
