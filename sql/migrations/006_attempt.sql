-- The requests that were made to endpoints, and how much of the failed answers is kept.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Every request that was made, in the order in which their runs ended. A row holds one attempt, or up to 32 that went
-- alike: first attempts of one run at messages of one subscription, acknowledged with the same status. Then the columns
-- hold the first one, and the arrays `more_…` the further ones by the ids of their messages: each has the same place in
-- all four. So most deliveries cost no row and no entry of an index. outbox.attempt shows every attempt by itself. No
-- foreign key: rows go with their partition.
create table outbox.attempt_log (
    -- That of its first attempt; the further ones have those that follow.
    id               bigint generated always as identity (increment by 32),
    subscription_id  bigint      not null,
    message_id       bigint      not null,
    -- The highest of those in the row; NULL: there is one.
    last_message_id  bigint,
    at               timestamptz not null default clock_timestamp(),
    -- When the next attempt is due; NULL: none is.
    next_at          timestamptz,
    duration_seconds real        not null,
    -- 1: the first attempt at this message.
    number           integer     not null,
    -- The answer's HTTP status; NULL where none came.
    status           smallint,
    idempotency_key  text        not null,
    relay            text        not null,
    -- What went wrong in a word; NULL: nothing.
    error            text,
    detail           text,
    -- The first 16 KiB of the answer where it failed, while outbox.answer_budget lasts; then `detail` says so.
    answer           bytea,
    -- How much higher its message_id is than the first one's, and how many microseconds after that it began; or before.
    more_messages    smallint[],
    more_at          integer[],
    more_durations   real[],
    more_keys        text[],

    constraint answer_is_at_most_16_kib check (octet_length(answer) <= 16384),
    -- More would reach into the ids of the next row.
    constraint there_are_at_most_32 check (cardinality(more_messages) <= 31),
    -- So far outbox.attempts_at looks for the row that a message is in.
    constraint their_messages_are_within_1000 check (last_message_id < message_id + 1000)
) partition by range (id);
create index attempt_log_subscription_id on outbox.attempt_log (subscription_id, id);
create index attempt_log_message_id on outbox.attempt_log (message_id) where last_message_id is null;
create index attempt_log_messages on outbox.attempt_log (message_id, last_message_id) where last_message_id is not null;
-- So that rows can be deleted under a publication of all tables: see outbox.message.
alter table outbox.attempt_log replica identity full;
create trigger stay_in_partition after truncate on outbox.attempt_log
    for each statement execute function outbox.stay_in_partition();

-- Turns, makes and drops the partitions of the attempts; see outbox.turn_by_age.
create function outbox.turn_attempts(keep_days integer default 30) returns integer
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select outbox.turn_by_age('outbox.attempt_log', keep_days)
$$;
revoke execute on function outbox.turn_attempts(integer) from public;

select outbox.turn_attempts();

-- Every attempt by itself. The newest ones of a subscription are read in their order by
-- `order by log_id desc, id desc`, which the index of the rows has, and `id < 7` by `log_id < 7 and id < 7`.
create view outbox.attempt as
select log.id + one.place as id, log.subscription_id, one.message_id, one.idempotency_key, log.number, one.at,
       one.duration_seconds, log.status, log.error, log.detail, log.next_at, log.answer, log.relay, log.id as log_id
from outbox.attempt_log as log
cross join lateral (
    select 0 as place, log.message_id, log.idempotency_key, log.at, log.duration_seconds
    union all
    select generate_subscripts(log.more_messages, 1), log.message_id + unnest(log.more_messages),
           unnest(log.more_keys), log.at + unnest(log.more_at) * interval '1 microsecond', unnest(log.more_durations)
) as one;

-- The attempts at one message, of all subscriptions.
create function outbox.attempts_at(message_id bigint) returns setof outbox.attempt
language sql stable
begin atomic
    select attempt.*
    from (
        select log.subscription_id, log.id from outbox.attempt_log as log
        where log.last_message_id is null and log.message_id = attempts_at.message_id
        union all
        select log.subscription_id, log.id from outbox.attempt_log as log
        where log.last_message_id >= attempts_at.message_id
          and log.message_id between attempts_at.message_id - 999 and attempts_at.message_id
    ) as found
    join outbox.attempt on attempt.subscription_id = found.subscription_id and attempt.log_id = found.id
    where attempt.message_id = attempts_at.message_id;
end;
revoke execute on function outbox.attempts_at(bigint) from public;

-- How much of the failed answers is kept is the endpoints' choice, so it is bounded for each subscription and day
-- (UTC).
create table outbox.answer_budget (
    subscription_id bigint primary key,
    day             date   not null default '-infinity',
    bytes           bigint not null default 0
);

-- How many of these failed answers, of so many bytes each, may be kept: the first ones, while the day's 10 MiB last.
-- Counts them. The first one that does not fit ends the day: later ones of that day write nothing here.
create function outbox.take_answer_budget(subscription_id bigint, sizes integer[]) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    most    constant bigint := 10485760;
    today   date := (clock_timestamp() at time zone 'UTC')::date;
    budget  outbox.answer_budget;
    kept    integer;
    taken   bigint;
begin
    perform from outbox.answer_budget as b
    where b.subscription_id = take_answer_budget.subscription_id and (b.day < today or b.bytes < most);
    if not found then
        return 0;
    end if;
    select * into budget from outbox.answer_budget as b
    where b.subscription_id = take_answer_budget.subscription_id for no key update;
    if budget.day < today then
        budget.bytes := 0;
    end if;
    select count(*), coalesce(max(so_far), 0) into kept, taken
    from (select sum(size) over (order by place) as so_far
          from unnest(sizes) with ordinality as answer (size, place)) as running
    where budget.bytes + so_far <= most;
    update outbox.answer_budget as b
    set day = today, bytes = case when kept < cardinality(sizes) then most else budget.bytes + taken end
    where b.subscription_id = take_answer_budget.subscription_id;
    return kept;
end
$$;
revoke execute on function outbox.take_answer_budget(bigint, integer[]) from public;

-- Of the latest 100,000 attempts of each subscription those of today and yesterday. The limit comes first: no index
-- knows `at`, and a search for rows of these days would read all attempts that are kept.
create view outbox.recent_attempt as
select subscription.name as subscription, latest.id, latest.message_id, latest.number, latest.at,
       latest.duration_seconds, latest.status, latest.error, latest.next_at, latest.relay
from outbox.subscription
cross join lateral (
    select * from outbox.attempt
    where subscription_id = subscription.id
    order by log_id desc, id desc limit 100000
) as latest
where subscription.kind <> 'kafka'
  and latest.at >= date_trunc('day', statement_timestamp(), 'UTC') - interval '1 day';

insert into outbox.migration (version, name) values (6, 'attempt');
