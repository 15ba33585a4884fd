-- What the platform publishes on its channel `outbox.events`: what became of a subscription.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Publishes to `outbox.events` what became of a subscription.
create function outbox.tell(subscription_id bigint, type text, detail json) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select outbox.publish_own('outbox.events', tell.type,
                              json_build_object('subscriptionId', s.id::text, 'name', s.name, 'at', clock_timestamp(),
                                                'detail', detail),
                              group_key => s.name)
    from outbox.subscription as s where s.id = tell.subscription_id
$$;
revoke execute on function outbox.tell(bigint, text, json) from public;

-- How many events of each type were there lately for each subscription. A caller that pauses and resumes in a loop, or
-- a breaker that opens and closes by design, shall fill neither the log nor the subscribers of `outbox.events`. Each
-- type is told while its transaction holds the lock of the one row that it is about, so that no transaction waits here
-- for another.
create table outbox.told (
    subscription_id bigint      not null,
    type            text        not null,
    since           timestamptz not null default clock_timestamp(),
    events          integer     not null default 1,
    left_out        integer     not null generated always as (greatest(events - 5, 0)) stored,

    primary key (subscription_id, type)
);

-- The same for events that may come often: the first five in five minutes are published, and tell_left_out says later
-- how many were not. Returns whether this one was.
create function outbox.tell_at_times(subscription_id bigint, type text, detail json) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    within boolean;
begin
    insert into outbox.told as t (subscription_id, type) values (tell_at_times.subscription_id, tell_at_times.type)
    on conflict on constraint told_pkey do update set events = t.events + 1
    returning t.left_out = 0 into within;
    if within then
        perform outbox.tell(tell_at_times.subscription_id, tell_at_times.type, detail);
    end if;
    return within;
end
$$;
revoke execute on function outbox.tell_at_times(bigint, text, json) from public;

-- Begins to count anew where five minutes are over, and publishes how many events were left out. Returns how many.
create function outbox.tell_left_out() returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    over     record;
    left_out bigint := 0;
begin
    for over in
        delete from outbox.told as t
        where (t.subscription_id, t.type) in (
            select one.subscription_id, one.type from outbox.told as one
            where one.since < clock_timestamp() - interval '5 minutes'
            for update skip locked)
        returning t.*
    loop
        continue when over.left_out = 0;
        left_out := left_out + over.left_out;
        perform outbox.tell(over.subscription_id, 'subscription.events_left_out',
                            json_build_object('type', over.type, 'number', over.left_out, 'since', over.since));
    end loop;
    return left_out;
end
$$;
revoke execute on function outbox.tell_left_out() from public;

-- Pauses and resumes are published, made by SQL, by a command, over HTTP or by outbox.disable.
create function outbox.tell_pause() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not new.paused then
        perform outbox.tell_at_times(new.id, 'subscription.resumed', '{}');
    else
        perform outbox.tell_at_times(
            new.id,
            case when current_setting('outbox.disables', true) = 'on' then 'subscription.disabled'
                 else 'subscription.paused' end,
            json_build_object('reason', new.paused_reason));
    end if;
    return null;
end
$$;
create trigger tell_pause after update of paused on outbox.subscription
    for each row when (old.paused <> new.paused) execute function outbox.tell_pause();

-- Pauses a subscription that can't go on by itself; nothing of it is dropped. Returns whether that was published.
create function outbox.disable(subscription_id bigint, reason text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    disabled boolean;
begin
    -- For the trigger tell_pause.
    perform set_config('outbox.disables', 'on', true);
    update outbox.subscription as s set paused = true, paused_reason = reason
    where s.id = disable.subscription_id and not s.paused;
    disabled := found;
    perform set_config('outbox.disables', 'off', true);
    return disabled and exists (
        select from outbox.told as t
        where t.subscription_id = disable.subscription_id and t.type = 'subscription.disabled' and t.left_out = 0);
end
$$;
revoke execute on function outbox.disable(bigint, text) from public;

insert into outbox.migration (version, name) values (9, 'event');
