-- The requests that were made to endpoints, and how much of the failed answers is kept.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Every request that was made, in the order in which their runs ended. No foreign key: rows go with their partition.
create table outbox.attempt (
    id               bigint generated always as identity,
    subscription_id  bigint      not null,
    message_id       bigint      not null,
    idempotency_key  text        not null,
    -- 1: the first attempt at this message.
    number           integer     not null,
    at               timestamptz not null default clock_timestamp(),
    duration_seconds real        not null,
    -- The answer's HTTP status; NULL where none came.
    status           smallint,
    -- What went wrong in a word; NULL: nothing.
    error            text,
    detail           text,
    -- When the next attempt is due; NULL: none is.
    next_at          timestamptz,
    -- The first 16 KiB of the answer where it failed, while outbox.answer_budget lasts; then `detail` says so.
    answer           bytea,
    relay            text        not null,

    constraint answer_is_at_most_16_kib check (octet_length(answer) <= 16384)
) partition by range (id);
create index attempt_subscription_id on outbox.attempt (subscription_id, id);
create index attempt_message_id on outbox.attempt (message_id);
-- So that rows can be deleted under a publication of all tables: see outbox.message.
alter table outbox.attempt replica identity full;
create trigger stay_in_partition after truncate on outbox.attempt
    for each statement execute function outbox.stay_in_partition();

-- Turns, makes and drops the partitions of the attempts; see outbox.turn_by_age.
create function outbox.turn_attempts(keep_days integer default 30) returns integer
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select outbox.turn_by_age('outbox.attempt', keep_days)
$$;
revoke execute on function outbox.turn_attempts(integer) from public;

select outbox.turn_attempts();

-- How much of the failed answers is kept is the endpoints' choice, so it is bounded for each subscription and day
-- (UTC).
create table outbox.answer_budget (
    subscription_id bigint primary key references outbox.subscription on delete cascade,
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
    order by id desc limit 100000
) as latest
where subscription.kind = 'http'
  and latest.at >= date_trunc('day', statement_timestamp(), 'UTC') - interval '1 day';

insert into outbox.migration (version, name) values (6, 'attempt');
