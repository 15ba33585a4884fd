-- What operators see of endpoints, without payloads, answers or settings; and what resuming a subscription does.
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

revoke execute on function outbox.close_breaker() from public;

insert into outbox.migration (version, name) values (9, 'push_views');
