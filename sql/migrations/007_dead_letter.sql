-- Messages that were given up, and sending them again.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- A message that was given up, with a copy of it, so that retention can never take it away.
create table outbox.dead_letter (
    id              bigint generated always as identity primary key,
    -- That of the cursor. It refers to none by itself: the check would lock the subscription, and a run that may not
    -- lock it is made again, with all that it sent.
    subscription_id bigint      not null,
    -- No cascade: a subscription that still has dead letters can't be deleted by the way.
    cursor_id       bigint      not null references outbox.cursor,
    message_id      bigint      not null,
    priority        smallint    not null,
    channel         text        not null,
    type            text        not null,
    group_key       text,
    idempotency_key text        not null,
    headers         text,
    content_type    text        not null,
    payload         bytea       not null,
    created_at      timestamptz not null,
    reason          text        not null,
    detail          text        not null,
    -- The limit that it had exhausted; NULL: it was refused for what it is.
    exhausted       text,
    attempts        integer     not null,
    died_at         timestamptz not null default clock_timestamp(),
    redriven_at     timestamptz,
    delivered_at    timestamptz,

    constraint dead_letter_is_unique unique (cursor_id, message_id),
    constraint only_the_redriven_are_delivered check (delivered_at is null or redriven_at is not null)
);

-- The dead letters of one subscription: all by age, and those that wait for a redrive in the order of their messages.
create index dead_letter_subscription_id on outbox.dead_letter (subscription_id, id);
create index dead_letter_waiting on outbox.dead_letter (subscription_id, message_id) where redriven_at is null;

-- Sends dead letters again, to their own subscription only and in the order in which they were published. Those of an
-- endpoint go back among its rows, behind what their groups have there. Only the holder of their cursor may do that, so
-- this waits for a run that is under way. Dead letters that are on their way or delivered already are left alone, so a
-- second call adds nothing. Returns how many go.
create function outbox.redrive(dead_letter_ids bigint[]) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    redriven bigint;
    groups   record;
begin
    perform from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    where subscription.kind <> 'kafka'
      and cursor.id in (select cursor_id from outbox.dead_letter
                        where id = any (dead_letter_ids) and redriven_at is null)
    order by cursor.id
    for no key update of cursor;

    with chosen as (
        update outbox.dead_letter
        set redriven_at = clock_timestamp()
        where id = any (dead_letter_ids) and redriven_at is null
        returning id, subscription_id, cursor_id, message_id, group_key
    )
    insert into outbox.delivery as d (cursor_id, message_id, dead_letter_id, group_key, due_at)
    select cursor_id, message_id, chosen.id,
           case when kind <> 'kafka' then group_key end,
           case when kind <> 'kafka' and group_key is not null then null else clock_timestamp() end
    from chosen
    join outbox.subscription on subscription.id = chosen.subscription_id
    on conflict (cursor_id, message_id) do update
        set dead_letter_id = excluded.dead_letter_id, attempts = 0, outcome = null,
            due_at = case when d.due_at = 'infinity' then clock_timestamp() else d.due_at end;
    get diagnostics redriven = row_count;

    for groups in
        select dead_letter.cursor_id, array_agg(dead_letter.group_key) as keys
        from outbox.dead_letter
        join outbox.subscription on subscription.id = dead_letter.subscription_id
        where subscription.kind <> 'kafka' and dead_letter.id = any (dead_letter_ids)
          and dead_letter.group_key is not null and dead_letter.delivered_at is null
        group by dead_letter.cursor_id
        order by dead_letter.cursor_id
    loop
        perform outbox.promote(groups.cursor_id, groups.keys);
    end loop;
    return redriven;
end
$$;
revoke execute on function outbox.redrive(bigint[]) from public;

-- Deletes dead letters that were delivered more than `retention_days` ago. All others stay until an operator redrives
-- them. What other sessions hold, and what is more than 100,000, is left for the next call. Returns how many it
-- deleted.
create function outbox.trim_dead_letters(retention_days integer) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    trimmed bigint;
begin
    delete from outbox.dead_letter
    using (
        select id from outbox.dead_letter as old
        where old.delivered_at < clock_timestamp() - make_interval(days => retention_days)
          and not exists (select from outbox.delivery where dead_letter_id = old.id)
        limit 100000
        for update skip locked
    ) as free
    where dead_letter.id = free.id;
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;
revoke execute on function outbox.trim_dead_letters(integer) from public;

-- How many dead letters there are by subscription, channel and reason: `waiting` for a redrive, `redriven` and on their
-- way, or `delivered` since.
create view outbox.dead_letter_summary as
select subscription.name as subscription, dead_letter.channel, dead_letter.reason,
       count(*) filter (where dead_letter.redriven_at is null) as waiting,
       count(*) filter (where dead_letter.redriven_at is not null and dead_letter.delivered_at is null) as redriven,
       count(*) filter (where dead_letter.delivered_at is not null) as delivered,
       min(dead_letter.died_at) as first_died_at, max(dead_letter.died_at) as last_died_at
from outbox.dead_letter
join outbox.subscription on subscription.id = dead_letter.subscription_id
group by subscription.name, dead_letter.channel, dead_letter.reason;

insert into outbox.migration (version, name) values (7, 'dead_letter');
