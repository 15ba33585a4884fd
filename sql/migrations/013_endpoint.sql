-- Subscribing an endpoint, and sending it a test message.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- What a subscription has whose messages do not go to Kafka; an endpoint a secret besides, by which it knows them.
create function outbox.equip_push() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into outbox.breaker (subscription_id) values (new.id);
    insert into outbox.rate_limit (subscription_id) values (new.id);
    insert into outbox.answer_budget (subscription_id) values (new.id);
    if new.kind = 'http' then
        insert into outbox.secret (subscription_id, key) values (new.id, outbox.random_key());
    end if;
    return null;
end
$$;
create trigger equip_push after insert on outbox.subscription
    for each row when (new.kind <> 'kafka') execute function outbox.equip_push();

-- Takes it away again. These three refer to no subscription: whoever updates a row twice in a transaction, as a run
-- does that sends a probe, has Postgres check anew what the row refers to. A session that had locked the subscription
-- would end each run so, and each would send its message again.
create function outbox.unequip_push() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from outbox.breaker where subscription_id = old.id;
    delete from outbox.rate_limit where subscription_id = old.id;
    delete from outbox.answer_budget where subscription_id = old.id;
    return null;
end
$$;
create trigger unequip_push after delete on outbox.subscription
    for each row when (old.kind <> 'kafka') execute function outbox.unequip_push();

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
        -- In the place of the secret that equip_push has made.
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
-- `outbox.test`. It is of an endpoint, or a connector: then the message goes where the connector leads. Returns its id.
create function outbox.send_test(subscription_id bigint) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    target  outbox.subscription;
    sent_id bigint;
    taker   bigint;
    copy_id bigint;
begin
    -- Locked, so that its filter stays as it is here until the message is in the log.
    select * into target from outbox.subscription as s
    where s.id = send_test.subscription_id
      and (s.kind <> 'kafka' or outbox.connector_topic(s.settings, s.channels) <> '') for share;
    if not found then
        raise exception 'there is no http subscription and no connector % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    sent_id := outbox.publish_own('outbox.test', 'outbox.test',
                                  json_build_object('subscriptionId', target.id::text, 'name', target.name));
    if 'outbox.test' = any (target.channels) and (target.types is null or 'outbox.test' = any (target.types)) then
        return sent_id;
    end if;
    -- Its filter leaves the message out, so it gets a row. The row has no group, so no other row depends on it: it is
    -- the one insert that needs no hold of the cursor.
    select cursor.id into taker from outbox.cursor
    where cursor.subscription_id = target.id and cursor.priority = 3 and cursor.channel is null
      and cursor.shard = outbox.shard_of(null, sent_id, target.shards);
    if target.kind = 'kafka' then
        -- Besides the log, runs to Kafka send dead letters that were redriven, and nothing else.
        insert into outbox.dead_letter
            (subscription_id, cursor_id, message_id, priority, channel, type, idempotency_key, content_type, payload,
             created_at, reason, detail, attempts, redriven_at)
        select target.id, taker, m.id, m.priority, m.channel, m.type, m.idempotency_key, m.content_type, m.payload,
               m.created_at, 'test', 'a test message', 0, clock_timestamp()
        from outbox.message as m where m.priority::integer = 3 and m.id + 0 = sent_id
        returning dead_letter.id into copy_id;
    end if;
    insert into outbox.delivery (cursor_id, message_id, dead_letter_id, due_at)
    values (taker, sent_id, copy_id, clock_timestamp());
    return sent_id;
end
$$;
revoke execute on function outbox.send_test(bigint) from public;

insert into outbox.migration (version, name) values (13, 'endpoint');
