-- When the next attempt is due, and what changes that.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- The wait after so many attempts by a subscription's `retry`, without its jitter; NULL: there is no further attempt.
-- The relay computes the same for each failure (relay/push/policy/schedule.py), by its own code.
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
revoke execute on function outbox.retry_delay(jsonb, integer) from public;

-- A change of when retries are due. The holder of the cursor makes it, in the order of `id` and before all else: there
-- may be millions of rows, and the caller that asks for the change waits for none of them. It includes what a run that
-- is under way writes by the former schedule.
create table outbox.rescheduling (
    id            bigint   generated always as identity primary key,
    cursor_id     bigint   not null references outbox.cursor on delete cascade,
    -- The waits after 1 to 100 attempts, as they were and as they are now, NULL where there is no further attempt. NULL
    -- as a whole: all is due at once.
    former_delays float8[] not null,
    delays        float8[],
    -- The change is made up to the row of this message; 0: it has not begun.
    done_id       bigint   not null default 0
);
create unique index rescheduling_one_has_not_begun on outbox.rescheduling (cursor_id) where done_id = 0;

create function outbox.note_rescheduling(subscription_id bigint, former jsonb, retry jsonb) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    with schedule as (
        select array_agg(coalesce(extract(epoch from outbox.retry_delay(coalesce(former, '{}'), n)), 0)
                         order by n)::float8[] as former_delays,
               array_agg(extract(epoch from outbox.retry_delay(retry, n)) order by n)::float8[] as delays
        from generate_series(1, 100) as n
    )
    insert into outbox.rescheduling as r (cursor_id, former_delays, delays)
    select cursor.id, schedule.former_delays, case when retry is not null then schedule.delays end
    from outbox.cursor cross join schedule
    where cursor.subscription_id = note_rescheduling.subscription_id
    order by cursor.id
    -- What is to be due at once is not put off by a schedule that comes later.
    on conflict (cursor_id) where done_id = 0 do update
        set delays = case when r.delays is not null then excluded.delays end
$$;
revoke execute on function outbox.note_rescheduling(bigint, jsonb, jsonb) from public;

-- Makes the next part of the first change in outbox.rescheduling: of `at_most` rows of the cursor, in the order of
-- their messages. A row that has used up its attempts by the new schedule is due at once, and the relay makes a dead
-- letter of it. For the holder of the cursor. Returns true where that finished a change, NULL where there is none to
-- make, or another transaction is changing it.
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
    -- The first one or none, since changes are made in order.
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
      and outbox.delivery_state(d.due_at, d.token, d.outcome, d.attempts) in ('untried', 'retrying') and d.due_at > clock_timestamp()
      and (change.delays is null or d.attempts between 1 and 100);
    if is_made then
        delete from outbox.rescheduling as r where r.id = change.id;
    else
        update outbox.rescheduling as r set done_id = upto_id where r.id = change.id;
    end if;
    return is_made;
end
$$;
revoke execute on function outbox.reschedule(bigint, integer) from public;

-- After a change of `retry`, rows wait by the new schedule, from their latest attempt on.
create function outbox.note_new_schedule() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform outbox.note_rescheduling(new.id, old.settings -> 'retry', coalesce(new.settings -> 'retry', '{}'));
    return null;
end
$$;
create trigger note_new_schedule after update of settings on outbox.subscription
    for each row when (new.kind <> 'kafka' and old.settings -> 'retry' is distinct from new.settings -> 'retry')
    execute function outbox.note_new_schedule();

-- Makes retries due now, of a whole subscription or of one group: for an endpoint that is repaired. An open breaker lets
-- its next probe go at once. Parked messages stay: they go when their dead letters are redriven. Returns how many rows
-- that is; a million are counted at most. Raises no_data_found where there is no such subscription, or it is one
-- of kind kafka.
create function outbox.retry(subscription text, group_key text default null) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    retried_id bigint;
    due        bigint;
begin
    select s.id into retried_id from outbox.subscription as s where s.name = retry.subscription and s.kind <> 'kafka';
    if not found then
        raise exception 'there is no http subscription %', subscription using errcode = 'no_data_found';
    end if;
    if group_key is null then
        select count(*) into due
        from (
            select from outbox.delivery as d join outbox.cursor on cursor.id = d.cursor_id
            where cursor.subscription_id = retried_id
              and outbox.delivery_state(d.due_at, d.token, d.outcome, d.attempts) in ('untried', 'retrying')
              and d.due_at > statement_timestamp() and d.due_at < 'infinity'
              -- An earlier call that is not made yet has counted them.
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
          and outbox.delivery_state(d.due_at, d.token, d.outcome, d.attempts) in ('untried', 'retrying')
          and d.due_at > clock_timestamp() and d.due_at < 'infinity'
          and d.group_key = retry.group_key;
        get diagnostics due = row_count;
    end if;
    -- With a token the breaker's probe is under way, until then at the longest.
    update outbox.breaker as b set retry_at = clock_timestamp()
    where b.subscription_id = retried_id and b.retry_at > clock_timestamp() and b.token is null;
    return due;
end
$$;
revoke execute on function outbox.retry(text, text) from public;

insert into outbox.migration (version, name) values (15, 'retry');
