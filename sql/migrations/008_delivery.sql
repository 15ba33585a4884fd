-- Messages that a run has passed without their confirmation: in which state each is, and which of a group goes next.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- A message that its run did not confirm, or that goes to one cursor outside the log, such as a redriven dead letter.
-- Only the holder of the cursor inserts, deletes or promotes rows. An outcome that comes after its run updates its own
-- row, by `token`, and no other. outbox.delivery_state says in which state a row is.
create table outbox.delivery (
    cursor_id      bigint      not null references outbox.cursor on delete cascade,
    message_id     bigint      not null,
    -- The copy of what was redriven or is parked; NULL: the message is read from the log.
    dead_letter_id bigint      references outbox.dead_letter,
    -- NULL where the message has no group, and where the sink keeps the order by itself, as Kafka does.
    group_key      text,
    attempts       integer     not null default 0,
    -- NULL: it waits behind the head of its group. A time: it is the head of its group, and is sent then; with a
    -- `token` a request is under way, for which its group waits until then at the longest. 'infinity': it is the head,
    -- was given up, and its group waits (settings.on_exhausted = 'park').
    due_at         timestamptz default clock_timestamp(),
    token          bigint,
    -- The outcome that came after its run; the next holder of the cursor finishes it.
    outcome        text,
    reason         text,
    detail         text,
    replayed       boolean     not null default false,

    primary key (cursor_id, message_id),
    constraint outcome_is_acked_or_dead check (outcome in ('acked', 'dead')),
    constraint a_request_under_way_has_a_time check (token is null or due_at is not null)
);
create index delivery_dead_letter on outbox.delivery (dead_letter_id);
-- Each group has one head at most, and one look says whether a group is blocked.
create unique index delivery_has_one_head on outbox.delivery (cursor_id, group_key) where due_at is not null;
create index delivery_group on outbox.delivery (cursor_id, group_key, message_id) where due_at is null;
create index delivery_due on outbox.delivery (cursor_id, due_at) where due_at is not null;
create index delivery_acked on outbox.delivery (cursor_id) where outcome = 'acked';

-- The state of a row of outbox.delivery; each row is in exactly one:
--   behind     waits for an earlier message of its group
--   parked     was given up, and its group waits until its dead letter is redriven
--   in_flight  a request is under way, or its outcome came after its run and the next run finishes it
--   untried    waits for its first attempt: it was behind another of its group until now, or does not come from the log,
--              such as a redriven dead letter
--   retrying   waits for its next attempt
-- All that shows or counts such rows reads this, and nothing else decides it. It becomes a part of the calling
-- statement. Without `attempts` an untried row counts as retrying. No index serves it, so a query for few of many rows says `due_at is null` or `due_at is not null` besides.
create function outbox.delivery_state(due_at timestamptz, token bigint, outcome text, attempts integer default null)
returns text
language sql immutable parallel safe
return case
    when due_at is null then 'behind'
    when due_at = 'infinity' then 'parked'
    when token is not null or outcome is not null then 'in_flight'
    when attempts = 0 then 'untried'
    else 'retrying'
end;

-- Makes the first row of each group its head, where the group has none. For the holder of the cursor.
create function outbox.promote(cursor_id bigint, group_keys text[]) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
    update outbox.delivery as first
    set due_at = clock_timestamp()
    from (
        select (select min(behind.message_id) from outbox.delivery as behind
                where behind.cursor_id = promote.cursor_id and behind.group_key = touched.group_key
                  and behind.due_at is null) as message_id
        from (select distinct unnest(group_keys)) as touched (group_key)
        where not exists (
            select from outbox.delivery as head
            where head.cursor_id = promote.cursor_id and head.group_key = touched.group_key
              and head.due_at is not null)
    ) as next
    where first.cursor_id = promote.cursor_id and first.message_id = next.message_id
$$;
revoke execute on function outbox.promote(bigint, text[]) from public;

-- Finishes what was acknowledged after its run: deletes the rows, and makes the next of their groups heads. For the
-- holder of the cursor. Returns how many there were.
create function outbox.clear_acked(cursor_id bigint) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    cleared    bigint;
    group_keys text[];
begin
    with gone as (
        delete from outbox.delivery
        where cursor_id = clear_acked.cursor_id and outcome = 'acked'
        returning group_key, dead_letter_id, attempts
    ),
    arrived as (
        update outbox.dead_letter
        set delivered_at = clock_timestamp(), attempts = dead_letter.attempts + gone.attempts,
            redriven_at = coalesce(dead_letter.redriven_at, clock_timestamp())
        from gone where dead_letter.id = gone.dead_letter_id
    )
    select count(*), array_agg(group_key) filter (where group_key is not null) into cleared, group_keys from gone;
    if group_keys is not null then
        perform outbox.promote(clear_acked.cursor_id, group_keys);
    end if;
    return cleared;
end
$$;
revoke execute on function outbox.clear_acked(bigint) from public;

-- How many rows of one subscription are in each state, and when its next attempt is due. It looks at no more than
-- `at_most` rows that are behind, at as many that are parked, and at as many of the others, the ones that are due first.
-- What it costs is decided by the subscription's own rows, whatever others have.
create function outbox.count_deliveries(subscription_id bigint, at_most integer)
returns table (
    untried     bigint,
    retrying    bigint,
    in_flight   bigint,
    behind      bigint,
    parked      bigint,
    next_due_at timestamptz
)
language sql stable security definer
cost 10000 rows 1
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    -- A limit and an order in each of them: so every one is a range of an index, cursor by cursor.
    with cursors as (
        select id from outbox.cursor where cursor.subscription_id = count_deliveries.subscription_id
    ),
    found as (
        (select one.* from cursors
         cross join lateral (
             select due_at, token, outcome, attempts from outbox.delivery
             where cursor_id = cursors.id and due_at < 'infinity'
             order by due_at limit at_most) as one
         limit at_most)
        union all
        (select one.* from cursors
         cross join lateral (
             select due_at, token, outcome, attempts from outbox.delivery
             where cursor_id = cursors.id and due_at = 'infinity'
             order by due_at limit at_most) as one
         limit at_most)
        union all
        (select one.* from cursors
         cross join lateral (
             select due_at, token, outcome, attempts from outbox.delivery
             where cursor_id = cursors.id and due_at is null
             order by group_key, message_id limit at_most) as one
         limit at_most)
    )
    select count(*) filter (where state = 'untried'),
           count(*) filter (where state = 'retrying'),
           count(*) filter (where state = 'in_flight'),
           count(*) filter (where state = 'behind'),
           count(*) filter (where state = 'parked'),
           min(due_at) filter (where state in ('untried', 'retrying'))
    from (select outbox.delivery_state(due_at, token, outcome, attempts) as state, due_at from found) as counted
$$;
revoke execute on function outbox.count_deliveries(bigint, integer) from public;

-- How many rows of each subscription are in each state, up to a hundred thousand each; when its next attempt is due,
-- and when the oldest of its messages in rows that was not acknowledged was written.
create view outbox.delivery_summary as
select subscription.name as subscription, held.untried, held.retrying, held.in_flight, held.behind, held.parked,
       held.next_due_at,
       coalesce(message.created_at, dead_letter.created_at) as oldest_at
from outbox.subscription
cross join lateral outbox.count_deliveries(subscription.id, 100000) as held
left join lateral (
    select first.message_id, first.dead_letter_id
    from outbox.cursor
    cross join lateral (
        select message_id, dead_letter_id from outbox.delivery
        where cursor_id = cursor.id and outcome is distinct from 'acked'
        order by message_id limit 1
    ) as first
    where cursor.subscription_id = subscription.id
    order by first.message_id limit 1
) as oldest on true
left join lateral (
    select found.created_at
    from generate_series(1, 5) as class
    cross join lateral (
        select created_at from outbox.message
        where priority::integer = class and id + 0 = oldest.message_id
    ) as found
) as message on true
-- The partition of a redriven message may be gone; its dead letter has its time.
left join outbox.dead_letter on dead_letter.id = oldest.dead_letter_id
where held.untried + held.retrying + held.in_flight + held.behind + held.parked > 0;

-- The head of each group that has rows, and each row without a group. `behind`: how many rows wait for it.
create view outbox.delivery_head as
select subscription.name as subscription, cursor.priority, cursor.shard, head.message_id, head.group_key,
       outbox.delivery_state(head.due_at, head.token, head.outcome, head.attempts) as state,
       head.attempts, nullif(head.due_at, 'infinity') as due_at,
       (select count(*) from outbox.delivery as behind
        where behind.cursor_id = head.cursor_id and behind.group_key = head.group_key
          and behind.due_at is null) as behind,
       head.reason as last_error,
       head.dead_letter_id is not null and head.due_at < 'infinity' as redriven, head.replayed
from outbox.delivery as head
join outbox.cursor on cursor.id = head.cursor_id
join outbox.subscription on subscription.id = cursor.subscription_id
where head.due_at is not null;

insert into outbox.migration (version, name) values (8, 'delivery');
