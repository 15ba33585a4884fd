-- What operators see of endpoints, without payloads, answers or settings; and what resuming and retrying do.
set search_path = pg_catalog, pg_temp;

-- The head of each group that a row of outbox.delivery holds up, and each such message without a group. `behind` of
-- its group wait for it.
create view outbox.delivery_head as
select subscription.name as subscription, cursor.priority, cursor.shard, head.message_id, head.group_key,
       case when head.due_at = 'infinity' then 'parked'
            when head.outcome is not null then 'answered'
            when head.token is not null then 'in flight'
            when head.attempts > 0 then 'retrying'
            else 'waiting' end as state,
       head.attempts, nullif(head.due_at, 'infinity') as due_at,
       (select count(*) from outbox.delivery as behind
        where behind.cursor_id = head.cursor_id and behind.group_key = head.group_key and behind.due_at is null) as behind,
       -- By `at`, which no index orders: so that it goes by the message, and not backwards over the whole log.
       (select attempt.error from outbox.attempt
        where attempt.message_id = head.message_id and attempt.subscription_id = subscription.id
        order by attempt.at desc limit 1) as last_error,
       head.dead_letter_id is not null and head.due_at < 'infinity' as redriven, head.replayed
from outbox.delivery as head
join outbox.cursor on cursor.id = head.cursor_id
join outbox.subscription on subscription.id = cursor.subscription_id
where head.due_at is not null;

-- Where requests go, without the path: it may hold a token.
create view outbox.subscription_endpoint as
select name as subscription, regexp_replace(settings ->> 'endpoint', '^([a-z]+://[^/?#]*)/?(.*)$', '\1/') as origin,
       settings ->> 'endpoint' !~ '^[a-z]+://[^/?#]*/?$' as has_path
from outbox.subscription
where kind = 'http';

-- Of each subscription the latest 100,000 attempts of today and yesterday, and no more. Whole days, as the partitions
-- are: a filter that takes rows out of one would read on past the limit.
create view outbox.recent_attempt as
select subscription.name as subscription, latest.id, latest.message_id, latest.number, latest.at,
       latest.duration_seconds, latest.status, latest.error, latest.next_at, latest.relay
from outbox.subscription
cross join lateral (
    select * from outbox.attempt
    where subscription_id = subscription.id and at >= date_trunc('day', statement_timestamp(), 'UTC') - interval '1 day'
    order by id desc limit 100000
) as latest
where subscription.kind = 'http';

-- Resuming begins with a closed breaker: failures from before, five days of which may have paused it, count no more.
create function outbox.close_breaker() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update outbox.breaker
    set failing_since = null, opened_at = null, retry_at = null, token = null, closed_at = clock_timestamp()
    where subscription_id = new.id;
    return null;
end
$$;
create trigger close_breaker after update of paused on outbox.subscription
    for each row when (new.kind = 'http' and old.paused and not new.paused)
    execute function outbox.close_breaker();

-- The wait after so many attempts by a subscription's `retry`, without its jitter; NULL: there is no further attempt.
-- The relay computes the same for each failure (relay/push/policy/schedule.py).
create function outbox.retry_delay(retry jsonb, attempts integer) returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    with given as (
        select array(select jsonb_array_elements_text(retry -> 'schedule_seconds'))::float8[] as schedule,
               coalesce((retry ->> 'initial_delay_seconds')::float8, 5) as first,
               coalesce((retry ->> 'multiplier')::float8, 2) as multiplier,
               coalesce((retry ->> 'max_delay_seconds')::float8, 36000) as longest,
               coalesce((retry ->> 'max_attempts')::integer, 9) as most
    )
    select case
        when retry -> 'schedule_seconds' is not null then schedule[attempts]
        when attempts >= most then null
        when retry ?| array['initial_delay_seconds', 'multiplier']
            then least(first * multiplier ^ (attempts - 1), longest)
        else least((array[5, 30, 120, 600, 1800, 7200, 18000, 36000])[least(attempts, 8)], longest)
    end * interval '1 second'
    from given
$$;

-- A change of when that is due which waits for its next attempt. The holder of the cursor makes it, in the order of `id`
-- and before it does anything else: rows may be millions, and whoever asks for the change waits for none of them. What a
-- run that is under way writes by the former schedule is among them.
create table outbox.rescheduling (
    id            bigint   generated always as identity primary key,
    cursor_id     bigint   not null references outbox.cursor on delete cascade,
    -- The waits after 1 to 100 attempts, as they were and as they are now, NULL where there is no further attempt; NULL as
    -- a whole: all is due at once.
    former_delays float8[] not null,
    delays        float8[],
    -- It is made up to the row of this message; 0: it has not begun.
    done_id       bigint   not null default 0
);
create unique index rescheduling_one_has_not_begun on outbox.rescheduling (cursor_id) where done_id = 0;

create function outbox.note_rescheduling(subscription_id bigint, former jsonb, retry jsonb) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    with schedule as (
        select array_agg(coalesce(extract(epoch from outbox.retry_delay(coalesce(former, '{}'), n)), 0) order by n)::float8[]
                   as former_delays,
               array_agg(extract(epoch from outbox.retry_delay(retry, n)) order by n)::float8[] as delays
        from generate_series(1, 100) as n
    )
    insert into outbox.rescheduling as r (cursor_id, former_delays, delays)
    select cursor.id, schedule.former_delays, case when retry is not null then schedule.delays end
    from outbox.cursor cross join schedule
    where cursor.subscription_id = note_rescheduling.subscription_id
    order by cursor.id
    -- What is due at once waits for no schedule.
    on conflict (cursor_id) where done_id = 0 do update
        set delays = case when r.delays is not null then excluded.delays end
$$;

-- Makes the next part of what outbox.rescheduling asks for: of `at_most` rows of the cursor, in the order of their
-- messages. What has had the attempts that it may have now is due at once, for the relay to make a dead letter of. For
-- the holder of the cursor. True: one change is made as a whole; NULL: none, since a transaction that goes on changes it.
create function outbox.reschedule(cursor_id bigint, at_most integer) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    change  outbox.rescheduling;
    upto_id bigint;
    is_made boolean;
begin
    -- The first one or none, since they are made in order.
    select * into change from outbox.rescheduling as r
    where r.id = (select min(first.id) from outbox.rescheduling as first where first.cursor_id = reschedule.cursor_id)
    for update skip locked;
    if not found then
        return null;
    end if;
    select max(message_id), count(*) < at_most into upto_id, is_made
    from (
        select d.message_id from outbox.delivery as d
        where d.cursor_id = reschedule.cursor_id and d.message_id > change.done_id
        order by d.message_id limit at_most
    ) as part;
    update outbox.delivery as d
    set due_at = case when change.delays[d.attempts] is null then clock_timestamp()
                      else greatest(clock_timestamp(), d.due_at + make_interval(
                               secs => change.delays[d.attempts] - change.former_delays[d.attempts])) end
    where d.cursor_id = reschedule.cursor_id and d.message_id > change.done_id and d.message_id <= upto_id
      and d.token is null and d.outcome is null
      and d.due_at > clock_timestamp() and d.due_at < 'infinity'
      and (change.delays is null or d.attempts between 1 and 100);
    if is_made then
        delete from outbox.rescheduling as r where r.id = change.id;
    else
        update outbox.rescheduling as r set done_id = upto_id where r.id = change.id;
    end if;
    return is_made;
end
$$;

-- What waits for its next attempt waits by the new schedule, from its latest attempt on.
create function outbox.retry_has_changed() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform outbox.note_rescheduling(new.id, old.settings -> 'retry', coalesce(new.settings -> 'retry', '{}'));
    return null;
end
$$;
create trigger retry_has_changed after update of settings on outbox.subscription
    for each row when (new.kind = 'http' and old.settings -> 'retry' is distinct from new.settings -> 'retry')
    execute function outbox.retry_has_changed();

-- Makes due what waits for its next attempt, or the head of one group: for an endpoint that is mended. An open breaker
-- lets its next probe go at once. Parked messages stay: they go by redriving their dead letters. Returns how many that
-- is; a million are counted at most. Raises no_data_found where there is no such http subscription.
create function outbox.retry(subscription text, group_key text default null) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    retried_id bigint;
    due        bigint;
begin
    select s.id into retried_id from outbox.subscription as s where s.name = retry.subscription and s.kind = 'http';
    if not found then
        raise exception 'there is no http subscription %', subscription using errcode = 'no_data_found';
    end if;
    if group_key is null then
        select count(*) into due
        from (
            select from outbox.delivery as d join outbox.cursor on cursor.id = d.cursor_id
            where cursor.subscription_id = retried_id
              and d.token is null and d.outcome is null
              and d.due_at > statement_timestamp() and d.due_at < 'infinity'
              -- Whoever asked before has made them go.
              and not exists (select from outbox.rescheduling as r
                              where r.cursor_id = d.cursor_id and r.delays is null and r.done_id < d.message_id)
            limit 1000000
        ) as waiting;
        perform outbox.note_rescheduling(retried_id, '{}', null);
    else
        update outbox.delivery as d
        set due_at = clock_timestamp()
        from outbox.cursor
        where cursor.id = d.cursor_id and cursor.subscription_id = retried_id
          and d.token is null and d.outcome is null
          and d.due_at > clock_timestamp() and d.due_at < 'infinity'
          and d.group_key = retry.group_key;
        get diagnostics due = row_count;
    end if;
    -- With a token its probe is under way, until then at the latest.
    update outbox.breaker as b set retry_at = clock_timestamp()
    where b.subscription_id = retried_id and b.retry_at > clock_timestamp() and b.token is null;
    return due;
end
$$;

revoke execute on function
    outbox.close_breaker(),
    outbox.retry_delay(jsonb, integer),
    outbox.note_rescheduling(bigint, jsonb, jsonb),
    outbox.reschedule(bigint, integer),
    outbox.retry_has_changed(),
    outbox.retry(text, text)
from public;

insert into outbox.migration (version, name) values (9, 'push_views');
