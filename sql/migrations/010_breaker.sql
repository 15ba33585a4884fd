-- The circuit breakers of endpoints.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- A subscription's circuit breaker, one row for all relays. Closed: `opened_at` is NULL. Open: no relay sends before
-- `retry_at`. Half-open, from then on: one relay sends one message. The row is written when its state changes, and not
-- per message.
create table outbox.breaker (
    subscription_id bigint primary key,
    -- The first failure since the last success.
    failing_since   timestamptz,
    -- How many messages the endpoint refused since then, each at its first attempt, and how many probes: the endpoint is
    -- alive, and its 4xx is about the message. And since when it refuses messages without a pause as long as a
    -- cool-down, and when it did last.
    refused         bigint not null default 0,
    refused_since   timestamptz,
    refused_at      timestamptz,
    opened_at       timestamptz,
    retry_at        timestamptz,
    -- When it closed last; failures from before that count no more.
    closed_at       timestamptz,
    -- Names the half-open state's message where that outlives its run: its outcome may still close the breaker.
    token           bigint,

    constraint the_open_say_until_when check ((opened_at is null) = (retry_at is null)),
    constraint the_open_are_failing check (opened_at is null or failing_since is not null),
    constraint the_refusing_are_failing check (refused = 0 or failing_since is not null)
);

-- Disables a subscription after five days of nothing but failures: the owner of the endpoint has to look. One that
-- another session holds is left to the next failure: the caller has sent something, and could not note it if it waited
-- in vain. Returns whether that was published.
create function outbox.disable_if_dead(subscription_id bigint) returns boolean
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select outbox.disable(dead.id, 'disabled: nothing but failures since ' || date_trunc('second', dead.failing_since))
    from (
        select s.id, b.failing_since
        from outbox.breaker as b
        join outbox.subscription as s on s.id = b.subscription_id
        where b.subscription_id = disable_if_dead.subscription_id
          and b.failing_since < clock_timestamp() - interval '5 days'
        for no key update of s skip locked
    ) as dead
$$;
revoke execute on function outbox.disable_if_dead(bigint) from public;

-- Judges a closed breaker by a run's outcomes, which are not in a checkpoint yet. It opens at `threshold` of at least
-- `minimum` attempts within the window, counted over all relays since it last closed. What was refused is no failure
-- there: it opens the breaker where the endpoint has refused for a cool-down, at least `minimum` messages, and
-- acknowledged none meanwhile. A time in which nothing was sent says nothing.
create function outbox.judge_breaker(
    subscription_id   bigint,
    acked             bigint,
    failed            bigint,
    refused           bigint,
    window_seconds    float8,
    minimum           bigint,
    threshold         float8,
    cool_down_seconds float8,
    out opened        boolean,
    out told          boolean
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_variable
declare
    now    constant timestamptz := clock_timestamp();
    paused constant timestamptz := now - make_interval(secs => cool_down_seconds);
    b      outbox.breaker;
    since  timestamptz;
    detail json;
begin
    opened := false;
    told := false;
    select * into b from outbox.breaker as one
    where one.subscription_id = judge_breaker.subscription_id for no key update;
    if not found or b.opened_at is not null then
        return;
    end if;
    if acked > 0 then
        if b.failing_since is not null then
            update outbox.breaker as one
            set failing_since = null, refused = 0, refused_since = null, refused_at = null
            where one.subscription_id = b.subscription_id;
        end if;
    elsif failed > 0 or refused > 0 then
        if b.failing_since is null or refused > 0 then
            update outbox.breaker as one
            set failing_since = coalesce(b.failing_since, now), refused = b.refused + refused,
                refused_since = case when refused = 0 or b.refused_at > paused then b.refused_since else now end,
                refused_at = case when refused = 0 then b.refused_at else now end
            where one.subscription_id = b.subscription_id
            returning * into b;
        end if;
        if failed > 0 or b.refused >= minimum then
            perform outbox.disable_if_dead(b.subscription_id);
        end if;
        if refused > 0 and b.refused >= minimum and b.refused_since <= paused then
            detail := json_build_object('refused', b.refused);
        end if;
    end if;
    if detail is null and failed > 0 then
        since := greatest(clock_timestamp() - make_interval(secs => window_seconds), b.closed_at);
        select acked + coalesce(sum(k.messages), 0), failed + coalesce(sum(k.failures), 0) into acked, failed
        from outbox.cursor as c
        join outbox.checkpoint as k on k.cursor_id = c.id
        -- From the newest checkpoint that is too old: the table keeps more than a window.
        where c.subscription_id = b.subscription_id and k.created_at > since
          and k.n > coalesce((select old.n from outbox.checkpoint as old
                              where old.cursor_id = c.id and old.created_at <= since
                              order by old.n desc limit 1), -1);
        if acked + failed >= minimum and failed >= threshold * (acked + failed) then
            detail := json_build_object('failed', failed, 'of', acked + failed);
        end if;
    end if;
    if detail is null then
        return;
    end if;
    update outbox.breaker as one
    set opened_at = clock_timestamp(), retry_at = clock_timestamp() + make_interval(secs => cool_down_seconds),
        failing_since = coalesce(one.failing_since, clock_timestamp())
    where one.subscription_id = b.subscription_id;
    opened := true;
    told := outbox.tell_at_times(b.subscription_id, 'subscription.breaker_opened', detail);
end
$$;
revoke execute on function
    outbox.judge_breaker(bigint, bigint, bigint, bigint, float8, bigint, float8, float8)
from public;

-- Takes the half-open breaker's one message for this transaction, and holds the breaker until its end. Returns false
-- where the breaker is not half-open or another transaction has it. `token` names that message where it outlives its
-- run; the next is not sent before `lease_seconds`.
create function outbox.hold_half_open(subscription_id bigint, token bigint, lease_seconds float8) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from outbox.breaker as b
    where b.subscription_id = hold_half_open.subscription_id and b.retry_at <= clock_timestamp()
    for no key update skip locked;
    if not found then
        return false;
    end if;
    update outbox.breaker as b
    set token = hold_half_open.token, retry_at = clock_timestamp() + make_interval(secs => lease_seconds)
    where b.subscription_id = hold_half_open.subscription_id;
    return true;
end
$$;
revoke execute on function outbox.hold_half_open(bigint, bigint, float8) from public;

-- Judges the half-open breaker by its message, known by its token: it closes, or stays open for another cool-down.
-- `acked` is NULL where nothing was sent; then the next run may send. So it may behind a message that was refused, so
-- that a few of them hold up what comes behind for seconds and not for hours; after a thousand it is the endpoint that
-- refuses all. For `asked_seconds` the endpoint wants to be left alone. Returns whether it closed and that was
-- published.
create function outbox.judge_half_open(
    subscription_id   bigint,
    token             bigint,
    acked             boolean,
    refused           boolean,
    cool_down_seconds float8,
    asked_seconds     float8
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if acked then
        update outbox.breaker as b
        set failing_since = null, refused = 0, refused_since = null, refused_at = null, opened_at = null,
            retry_at = null, token = null, closed_at = clock_timestamp()
        where b.subscription_id = judge_half_open.subscription_id and b.token = judge_half_open.token;
        if found then
            return outbox.tell_at_times(subscription_id, 'subscription.breaker_closed', '{}');
        end if;
        return false;
    end if;
    update outbox.breaker as b
    set token = null, refused = b.refused + judge_half_open.refused::integer,
        retry_at = clock_timestamp() + make_interval(secs => greatest(
            asked_seconds,
            case when acked is null or judge_half_open.refused and b.refused + 1 < 1000 then 0
                 else cool_down_seconds end))
    where b.subscription_id = judge_half_open.subscription_id and b.token = judge_half_open.token;
    if found and not acked then
        perform outbox.disable_if_dead(subscription_id);
    end if;
    return false;
end
$$;
revoke execute on function outbox.judge_half_open(bigint, bigint, boolean, boolean, float8, float8) from public;

-- Resuming a subscription closes its breaker: failures from before, five days of which may have paused it, count no
-- more.
create function outbox.close_breaker() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update outbox.breaker
    set failing_since = null, refused = 0, refused_since = null, refused_at = null, opened_at = null,
        retry_at = null, token = null, closed_at = clock_timestamp()
    where subscription_id = new.id;
    return null;
end
$$;
create trigger close_breaker after update of paused on outbox.subscription
    for each row when (new.kind <> 'kafka' and old.paused and not new.paused)
    execute function outbox.close_breaker();

-- Locks what outcomes after their run write, so that they wait for no other session: of the `probed` subscriptions the
-- breaker, of those that are `gone` the subscription itself, of those with a `failed` answer the budget. Returns the
-- subscriptions of which another session holds something; the rest is locked until the transaction ends. One writer
-- writes for all subscriptions, so it may not wait for one of them.
create function outbox.hold_for_outcomes(probed bigint[], gone bigint[], failed bigint[]) returns bigint[]
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
    with free_breaker as materialized (
        select subscription_id as id from outbox.breaker where subscription_id = any (probed)
        for no key update skip locked
    ),
    free_subscription as materialized (
        select id from outbox.subscription where id = any (gone) for no key update skip locked
    ),
    free_budget as materialized (
        select subscription_id as id from outbox.answer_budget where subscription_id = any (failed)
        for no key update skip locked
    )
    select array(
        (select subscription_id from outbox.breaker where subscription_id = any (probed)
         except select id from free_breaker)
        union
        (select id from outbox.subscription where id = any (gone)
         except select id from free_subscription)
        union
        (select subscription_id from outbox.answer_budget where subscription_id = any (failed)
         except select id from free_budget))
$$;
revoke execute on function outbox.hold_for_outcomes(bigint[], bigint[], bigint[]) from public;

-- Breakers that are not closed, or whose endpoint has failed since its last success.
create view outbox.breaker_state as
select subscription.name as subscription,
       case when opened_at is null then 'closed'
            when retry_at > clock_timestamp() then 'open' else 'half-open' end as state,
       failing_since, opened_at, retry_at
from outbox.breaker
join outbox.subscription on subscription.id = breaker.subscription_id
where failing_since is not null;

insert into outbox.migration (version, name) values (10, 'breaker');
