-- Where a message is: what became of it at each subscription, read from the log, the cursors and their rows.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- What checkpoints do not keep for as long as the log, noted when a subscription is made or its filter changes.
create table outbox.subscription_mark (
    subscription_id bigint primary key references outbox.subscription on delete cascade,
    -- What it shows was published before the subscription was made; NULL: not known.
    began           pg_snapshot,
    -- The transaction that changed its channels or types last, and the first one that may not have begun before that was
    -- over; NULL: none has.
    filter_xid      xid8,
    filter_upto_xid xid8
);
insert into outbox.subscription_mark (subscription_id, began)
select cursor.subscription_id, (array_agg(checkpoint.seen))[1]
from outbox.cursor
join outbox.checkpoint on checkpoint.cursor_id = cursor.id and checkpoint.n = 0
where cursor.channel is null
group by cursor.subscription_id;

-- Of the snapshot that make_cursors took, which is called before this by its name.
create function outbox.note_start() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into outbox.subscription_mark (subscription_id, began)
    select new.id, checkpoint.seen
    from outbox.cursor
    join outbox.checkpoint on checkpoint.cursor_id = cursor.id
    where cursor.subscription_id = new.id
    limit 1;
    return null;
end
$$;
create trigger note_start after insert on outbox.subscription
    for each row execute function outbox.note_start();

create function outbox.note_filter() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into outbox.subscription_mark as mark (subscription_id, filter_xid, filter_upto_xid)
    select id, pg_current_xact_id(), greatest(pg_current_xact_id(), pg_snapshot_xmax(pg_current_snapshot()))
    from outbox.subscription where id = new.id
    on conflict (subscription_id) do update
    set filter_xid = excluded.filter_xid, filter_upto_xid = excluded.filter_upto_xid;
    return null;
end
$$;
-- At the commit: whoever changes it may take a while until then, and runs go by the former one meanwhile.
create constraint trigger note_filter after update of channels, types on outbox.subscription
    deferrable initially deferred
    for each row when (old.channels is distinct from new.channels or old.types is distinct from new.types)
    execute function outbox.note_filter();

-- What channel cursors did that are merged, and what an operator dropped: the messages of the channel that are not done
-- at `seen`, `target` and `after_id`, as in a checkpoint, and are visible in `upto`.
create table outbox.channel_past (
    subscription_id bigint      not null references outbox.subscription on delete cascade,
    shard           smallint    not null,
    priority        smallint    not null,
    channel         text        not null,
    dropped         boolean     not null,
    seen            pg_snapshot not null,
    target          pg_snapshot,
    after_id        bigint,
    upto            pg_snapshot not null,
    from_time       timestamptz not null,
    upto_time       timestamptz not null default clock_timestamp()
);
create index channel_past_channel on outbox.channel_past (subscription_id, shard, priority, channel, upto_time);
create index channel_past_upto_time on outbox.channel_past (upto_time);
alter table outbox.channel_past replica identity full;

-- With a merge its checkpoints go: what they said of the time in which the channel waited alone is kept as long as the
-- log may have its messages.
create function outbox.note_merge() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Of any channel, since most never wait again. What another merge deletes is left to it.
    delete from outbox.channel_past as past
    where past.ctid = any (array(
        select old_past.ctid from outbox.channel_past as old_past
        where old_past.upto_time < (
            select min(from_time) from outbox.known_partition join outbox.attached_partition using (parent, number)
            where parent = 'outbox.message')
        order by old_past.upto_time limit 100
        for update skip locked));
    insert into outbox.channel_past
        (subscription_id, shard, priority, channel, dropped, seen, target, after_id, upto, from_time)
    select old.subscription_id, old.shard, old.priority, old.channel, false,
           first.seen, first.target, first.after_id, last.seen, first.created_at
    from (select * from outbox.checkpoint where cursor_id = old.id order by n limit 1) as first
    cross join (select * from outbox.checkpoint where cursor_id = old.id order by n desc limit 1) as last
    -- Not where the subscription itself is deleted.
    where exists (select from outbox.subscription where id = old.subscription_id);
    return old;
end
$$;
create trigger note_merge before delete on outbox.cursor
    for each row when (old.channel is not null) execute function outbox.note_merge();

-- A channel cursor that stops to wait does so by a run, or by outbox.drop_channel, whose checkpoint names no relay.
create function outbox.note_drop() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into outbox.channel_past
        (subscription_id, shard, priority, channel, dropped, seen, target, after_id, upto, from_time)
    select new.subscription_id, new.shard, new.priority, new.channel, true,
           before.seen, before.target, before.after_id, last.seen, before.created_at
    from (select * from outbox.checkpoint where cursor_id = new.id order by n desc limit 1) as last
    join outbox.checkpoint as before on before.cursor_id = new.id and before.n = last.n - 1
    where last.relay = '' and last.target is null;
    return null;
end
$$;
create trigger note_drop after update of waiting_since on outbox.cursor
    for each row when (new.channel is not null and old.waiting_since is not null and new.waiting_since is null)
    execute function outbox.note_drop();

-- In another cluster the transaction ids mean nothing: see outbox.rebase, which renews the installation.
create function outbox.forget_marks() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Any message of before, which has the id '3' then, may have been passed by a former filter.
    update outbox.subscription_mark
    set began = null,
        filter_xid = case when filter_xid is not null then '3'::xid8 end,
        filter_upto_xid = case when filter_xid is not null then '4'::xid8 end;
    delete from outbox.channel_past;
    -- outbox.passage would take a run of the former cluster for that which passed a message of this one.
    delete from outbox.checkpoint as former
    where n < (select max(n) from outbox.checkpoint as latest where latest.cursor_id = former.cursor_id);
    return null;
end
$$;
create trigger forget_marks after insert or update of id, system_identifier on outbox.installation
    for each statement execute function outbox.forget_marks();

-- Whether a cursor that stands there is done with a message. It becomes a part of the calling statement.
create function outbox.is_done(xid xid8, message_id bigint, seen pg_snapshot, target pg_snapshot, after_id bigint)
returns boolean
language sql immutable parallel safe
return pg_visible_in_snapshot(xid, seen)
    or (message_id <= after_id and pg_visible_in_snapshot(xid, target)) is true;
revoke execute on function outbox.is_done(xid8, bigint, pg_snapshot, pg_snapshot, bigint) from public;

-- By which run a cursor passed a message with which it is done: that of `checkpoint`, since at `after_checkpoint` it was
-- not done. After replays there may be several such runs; it is the latest one, unless that is much older. Where all
-- checkpoints that are kept are done with it, `checkpoint` is the oldest of them and the rest is NULL. It asks for single
-- checkpoints: first ever farther back, then in halves.
create function outbox.passage(cursor_id bigint, xid xid8, message_id bigint)
returns table (
    after_checkpoint bigint,
    after_at         timestamptz,
    checkpoint       bigint,
    at               timestamptz,
    relay            text,
    -- What the log showed when the run's delta began.
    horizon          pg_snapshot
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    done   outbox.checkpoint;
    undone outbox.checkpoint;
    probed outbox.checkpoint;
    low    bigint := -1;  -- not done there, or it is trimmed
    step   bigint := 1;
begin
    select * into done from outbox.checkpoint as k
    where k.cursor_id = passage.cursor_id order by k.n desc limit 1;
    while done.n - low > 1 loop
        -- `step` is NULL from the first one on that is not done.
        select * into probed from outbox.checkpoint as k
        where k.cursor_id = passage.cursor_id
          and k.n = case when step is null then (low + done.n) / 2 else greatest(done.n - step, 0) end;
        if found and outbox.is_done(passage.xid, passage.message_id, probed.seen, probed.target, probed.after_id) then
            done := probed;
            step := step * 2;
        else
            low := case when step is null then (low + done.n) / 2 else greatest(done.n - step, 0) end;
            step := null;
        end if;
    end loop;
    select * into undone from outbox.checkpoint as k where k.cursor_id = passage.cursor_id and k.n = low;
    return query
    select undone.n, undone.created_at, done.n, done.created_at,
           case when undone.n is not null then nullif(done.relay, '') end,
           case when undone.n is not null then coalesce(done.target, done.seen) end;
end
$$;
revoke execute on function outbox.passage(bigint, xid8, bigint) from public;

-- What the log knows of a message. `state`: `in_log`; `gone`, since retention took its part of the log (a dead letter may
-- still say what it was); `uncommitted`: the transaction that drew this id rolled back or is not over; `undrawn`: no id so
-- high was drawn yet. `xid` is NULL after a rebase.
create function outbox.trace_message(message_id bigint)
returns table (
    state           text,
    xid             xid8,
    priority        smallint,
    channel         text,
    type            text,
    group_key       text,
    idempotency_key text,
    created_at      timestamptz
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    room  constant bigint := outbox.partition_room();
    first constant bigint := trace_message.message_id / room * room;
    last  constant bigint := coalesce(
        pg_sequence_last_value(pg_get_serial_sequence('outbox.message', 'id')::regclass), 0);
    is_gone boolean;
begin
    -- Its id says which partition has it, and each priority has a range of an index there.
    return query
    select 'in_log', nullif(m.xid, '3'), m.priority, m.channel, m.type, m.group_key, m.idempotency_key, m.created_at
    from generate_series(1, 5) as class
    cross join lateral (
        select * from outbox.message
        where priority::integer = class and id + 0 = trace_message.message_id and id = trace_message.message_id
        limit 1
    ) as m;
    if found then
        return;
    end if;

    return query
    select 'gone', null::xid8, letter.priority, letter.channel, letter.type, letter.group_key,
           letter.idempotency_key, letter.created_at
    from outbox.cursor
    cross join lateral (
        select * from outbox.dead_letter
        where cursor_id = cursor.id and dead_letter.message_id = trace_message.message_id
        limit 1
    ) as letter
    limit 1;
    if found then
        return;
    end if;

    -- Where its partition is not there, or is over and was emptied.
    select trace_message.message_id between 1 and last
       and not exists (
           select from outbox.attached_partition as attached
           left join outbox.known_partition as known using (parent, number)
           where attached.parent = 'outbox.message' and number = first / room
             and (known.upto_time is null or exists (
                 select from generate_series(1, 5) as class
                 cross join lateral (
                     select from outbox.message
                     where priority::integer = class and id + 0 >= first and id >= first and id < first + room
                     order by id + 0 limit 1
                 ) as there)))
        or exists (select from outbox.attempts_at(trace_message.message_id))
    into is_gone;
    return query
    select case when is_gone then 'gone'
                when trace_message.message_id between 1 and last then 'uncommitted'
                else 'undrawn' end,
           null::xid8, null::smallint, null::text, null::text, null::text, null::text, null::timestamptz;
end
$$;
revoke execute on function outbox.trace_message(bigint) from public;

-- What a message waits behind at a cursor: see outbox.trace. `row_state` is that of its row; NULL: it is in the log.
-- `looked`: how many messages of the log were looked at, of `look_at_most`.
create function outbox.trace_queue(
    cursor_id    bigint,
    message_id   bigint,
    group_key    text,
    row_state    text,
    look_at_most integer
) returns table (queue json, looked integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    head   record;
    here   record;
    ahead  bigint;
    before bigint;
    more   boolean := false;
begin
    select d.message_id, d.attempts, d.reason, nullif(d.due_at, 'infinity') as due_at,
           outbox.delivery_state(d.due_at, d.token, d.outcome, d.attempts) as state,
           (select min(attempt.at) from outbox.attempts_at(d.message_id) as attempt
            where attempt.subscription_id = (select cursor.subscription_id from outbox.cursor
                                             where cursor.id = trace_queue.cursor_id)) as tried_since
    into head
    from outbox.delivery as d
    where d.cursor_id = trace_queue.cursor_id and d.group_key = trace_queue.group_key and d.due_at is not null
      and d.message_id <> trace_queue.message_id
      and row_state is distinct from 'retrying' and row_state is distinct from 'in_flight';

    if head.message_id is not null then
        select count(*) + 1, count(*) > 10000 into before, more
        from (
            select from outbox.delivery as d
            where d.cursor_id = trace_queue.cursor_id and d.group_key = trace_queue.group_key and d.due_at is null
              and d.message_id < trace_queue.message_id
            limit 10001
        ) as rows;
    end if;
    looked := 0;
    if row_state is null then
        -- In the order in which it will be read. Where it is not among those looked at, so many at the least are before
        -- it.
        with unread as materialized (
            select message_id, wanted, line
            from outbox.unread(trace_queue.cursor_id, look_at_most) with ordinality
                 as log (message_id, created_at, channel, type, group_key, wanted, line)
        ),
        -- One row, whether it is there or not.
        own as materialized (
            select min(line) as line from unread where message_id = trace_queue.message_id
        )
        select count(*) filter (where unread.wanted
                                  and case when own.line is null then unread.message_id < trace_queue.message_id
                                           else unread.line < own.line end),
               count(*), more or coalesce(bool_and(own.line is null), false)
        into ahead, looked, more
        from unread cross join own;
    end if;

    select cursor.shard, cursor.priority, cursor.channel, latest.n, latest.created_at, nullif(latest.relay, '') as relay
    into here
    from outbox.cursor
    cross join lateral (
        select * from outbox.checkpoint where checkpoint.cursor_id = cursor.id order by n desc limit 1
    ) as latest
    where cursor.id = trace_queue.cursor_id;
    queue := json_build_object(
        'cursor', trace_queue.cursor_id, 'priority', here.priority, 'shard', here.shard, 'channel', here.channel,
        'checkpoint', here.n, 'at', here.created_at, 'relay', here.relay,
        'ahead', ahead, 'ahead_in_group', before, 'more', more,
        'head', case when head.message_id is not null then json_build_object(
            'message_id', head.message_id, 'state', head.state, 'attempts', head.attempts, 'due_at', head.due_at,
            'reason', head.reason, 'tried_since', head.tried_since) end);
    return next;
end
$$;
revoke execute on function outbox.trace_queue(bigint, bigint, text, text, integer) from public;

-- What became of a message at each subscription, or at those that are given: nothing here shows a payload, a header, a
-- setting, or an endpoint's own words. `state`:
--   delivered        arrived, at `since` where that is known
--   dead_letter      given up, for `because`; a replay whose checkpoints are gone may have sent it since
--   redriven         given up before, and on its way again
--   dropped          given up by an operator with all that its channel had, see outbox.drop_channel
--   not_wanted       its channel or type is not among those of the subscription: `because` says which
--   before_start     published before the subscription was made, and not replayed
--   passed           the cursor is past it, by a filter that was changed since or in a replay whose checkpoints are gone:
--                    whether it was sent is not known
--   waiting          has not been sent
--   replayed         was passed before, and a replay is to send it (again)
--   retrying         was sent in vain, and is due again
--   in_flight        a request is under way, or its outcome came after its run and the next run finishes it
--   paused           not delivered, and the subscription is paused
--   breaker_open     not delivered, and the endpoint's breaker is open or half-open
--   channel_waiting  not delivered, and its channel waits alone for its topic
--   gone             the log no longer has it, and neither a row nor an attempt says what became of it; every cursor of
--                    that time had passed it
-- `since`: when it came into that state; of what waits, when it was published. The rest is evidence:
--   passed       by which run the cursor passed it, between which two checkpoints: see outbox.passage. A run to Kafka ends
--                when all of it has arrived; an endpoint may have got it later, from a row, as `attempts` say.
--                `merged_at`: it went by a cursor of its channel alone that is merged since, whose checkpoints are gone.
--   queue        what it waits behind: the cursor and its latest checkpoint, how many messages of the cursor are `ahead`
--                in the log, the `head` for which its group waits, and how many rows are `ahead_in_group`, the head among
--                them; `more`: at least so many
--   dead_letter  of its dead letter, whatever became of that
--   attempts     the latest fifty requests, the newest first
-- It looks at no more than about 100,000 messages to count what is ahead; all else are looks into indexes. No row where
-- the message never was.
create function outbox.trace(message_id bigint, subscription_ids bigint[] default null)
returns table (
    subscription_id bigint,
    subscription    text,
    kind            text,
    state           text,
    since           timestamptz,
    because         text,
    next_attempt_at timestamptz,
    passed          json,
    queue           json,
    dead_letter     json,
    attempts        json
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    m           record;
    s           record;
    c           record;
    past        outbox.channel_past;
    held        outbox.delivery;
    letter      outbox.dead_letter;
    run         record;
    xid         xid8;
    cursor_ids  bigint[];
    is_wanted   boolean;
    is_done     boolean;
    is_before   boolean;
    is_same     boolean;  -- the filter that it was passed by is that of now
    row_state   text;
    look_at     integer := 100000;
begin
    select * into m from outbox.trace_message(trace.message_id);
    if m.state not in ('in_log', 'gone') then
        return;
    end if;
    xid := coalesce(m.xid, '3');

    for s in
        select one.*, mark.began, mark.filter_xid, mark.filter_upto_xid, breaker.opened_at, breaker.retry_at,
               tried.requests, tried.acked_at
        from outbox.subscription as one
        left join outbox.subscription_mark as mark on mark.subscription_id = one.id
        left join outbox.breaker on breaker.subscription_id = one.id
        left join (
            select attempt.subscription_id,
                   max(attempt.at + make_interval(secs => attempt.duration_seconds))
                       filter (where attempt.error is null) as acked_at,
                   json_agg(json_build_object(
                       'number', attempt.number, 'at', attempt.at, 'duration_seconds', attempt.duration_seconds,
                       'status', attempt.status, 'error', attempt.error, 'relay', attempt.relay)
                       order by attempt.id desc) filter (where attempt.place <= 50) as requests
            from (
                select made.*, row_number() over (partition by made.subscription_id order by made.id desc) as place
                from outbox.attempts_at(trace.message_id) as made
            ) as attempt
            group by attempt.subscription_id
        ) as tried on tried.subscription_id = one.id
        where trace.subscription_ids is null or one.id = any (trace.subscription_ids)
        order by one.name
    loop
        subscription_id := s.id;
        subscription := s.name;
        kind := s.kind;
        attempts := s.requests;
        because := null;
        next_attempt_at := null;
        passed := null;
        queue := null;
        dead_letter := null;
        past := null;

        -- Its cursor, and the one without a channel, which had it before the channel had one of its own.
        if m.priority is null then
            cursor_ids := array(select cursor.id from outbox.cursor where cursor.subscription_id = s.id);
        else
            cursor_ids := array(
                select cursor.id from outbox.cursor
                where cursor.subscription_id = s.id and cursor.priority = m.priority
                  and cursor.shard = outbox.shard_of(m.group_key, trace.message_id, s.shards)
                  and coalesce(cursor.channel, '') in ('', m.channel)
                order by cursor.channel nulls last);
        end if;
        select delivery.* into held
        from unnest(cursor_ids) as own
        cross join lateral (
            select * from outbox.delivery where cursor_id = own and delivery.message_id = trace.message_id limit 1
        ) as delivery
        limit 1;
        select latest.* into letter
        from unnest(cursor_ids) as own
        cross join lateral (
            select * from outbox.dead_letter where cursor_id = own and dead_letter.message_id = trace.message_id limit 1
        ) as latest
        order by latest.died_at desc limit 1;
        -- Of a test message to Kafka the row takes a dead letter that never died.
        if letter.reason = 'test' and m.channel = 'outbox.test' and letter.attempts = 0 then
            null;
        elsif letter.id is not null then
            dead_letter := json_build_object(
                'id', letter.id, 'reason', letter.reason, 'exhausted', letter.exhausted, 'attempts', letter.attempts,
                'died_at', letter.died_at, 'redriven_at', letter.redriven_at, 'delivered_at', letter.delivered_at);
        end if;

        select cursor.*, latest.seen, latest.target, latest.after_id into c
        from outbox.cursor
        cross join lateral (
            select seen, target, after_id from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
        ) as latest
        where cursor.id = cursor_ids[1] and m.state = 'in_log';
        is_wanted := outbox.wants(s.channels, s.types, m.channel, m.type);
        is_done := m.state = 'gone' or outbox.is_done(xid, trace.message_id, c.seen, c.target, c.after_id);

        -- Nothing but a row, a dead letter or a position says that a message is still to go.
        row_state := case when held.message_id is not null
                          then outbox.delivery_state(held.due_at, held.token, held.outcome, held.attempts) end;
        if held.outcome = 'acked' then
            state := 'delivered';
            since := s.acked_at;
        elsif row_state = 'parked' then
            state := 'dead_letter';
            since := letter.died_at;
            because := letter.reason;
        elsif held.message_id is not null then
            state := case when row_state = 'in_flight' then 'in_flight'
                          when s.paused then 'paused'
                          when s.opened_at is not null then 'breaker_open'
                          when held.dead_letter_id is not null and dead_letter is not null then 'redriven'
                          when row_state = 'retrying' then 'retrying'
                          when held.replayed then 'replayed'
                          else 'waiting' end;
        elsif not is_done and is_wanted then
            state := case when s.paused then 'paused'
                          when s.opened_at is not null then 'breaker_open'
                          when c.waiting_since is not null then 'channel_waiting'
                          when exists (
                              select from outbox.replay as r
                              where r.cursor_id = c.id and r.delta::text = c.target::text
                                and outbox.is_done(xid, trace.message_id, r.seen, r.target, r.after_id)) then 'replayed'
                          else 'waiting' end;
        elsif letter.id is not null and letter.delivered_at is not null then
            state := 'delivered';
            since := letter.delivered_at;
        elsif m.state = 'gone' then
            state := case when letter.id is not null then 'dead_letter'
                          when s.acked_at is not null then 'delivered'
                          else 'gone' end;
            since := case when letter.id is not null then letter.died_at else s.acked_at end;
            because := letter.reason;
        elsif not is_done then
            state := case when letter.id is not null then 'dead_letter'
                          when s.acked_at is not null then 'delivered'
                          else 'not_wanted' end;
            since := case when letter.id is not null then letter.died_at else s.acked_at end;
            because := letter.reason;
        else
            state := null;
        end if;

        if state is null then
            -- Passed, and nothing is left of it but what the checkpoints and attempts tell.
            select * into run from outbox.passage(c.id, xid, trace.message_id);
            -- A replay may have come after a merge or a drop.
            select * into past from outbox.channel_past as p
            where p.subscription_id = s.id and p.shard = c.shard and p.priority = c.priority
              and p.channel = m.channel and (p.dropped or c.channel is null)
              and pg_visible_in_snapshot(xid, p.upto)
              and not outbox.is_done(xid, trace.message_id, p.seen, p.target, p.after_id)
              and (run.after_at is null or run.after_at < p.upto_time)
            order by p.dropped desc, p.upto_time desc limit 1;
            passed := case
                when past.subscription_id is not null and not past.dropped then json_build_object(
                    'cursor', c.id, 'after_at', past.from_time, 'at', past.upto_time, 'merged_at', past.upto_time)
                -- After a rebase the checkpoints of before say nothing.
                when run.after_checkpoint is not null or m.xid is not null then json_build_object(
                    'cursor', c.id, 'after_checkpoint', run.after_checkpoint, 'after_at', run.after_at,
                    'checkpoint', run.checkpoint, 'at', run.at, 'relay', run.relay) end;
            is_before := case
                when s.began is null or m.xid is null then m.created_at < s.created_at
                else pg_visible_in_snapshot(xid, s.began) end;
            is_same := s.filter_xid is null
                or case when run.after_checkpoint is not null then pg_visible_in_snapshot(s.filter_xid, run.horizon)
                        else xid >= s.filter_upto_xid end;
            state := case
                when letter.id is not null
                     and (run.after_at is null or letter.died_at > run.after_at)
                     and (s.acked_at > letter.died_at) is not true then 'dead_letter'
                when s.acked_at is not null then 'delivered'
                -- A replay may have sent it since.
                when past.dropped and c.replays > 0 then 'passed'
                when past.dropped then 'dropped'
                when is_before and run.after_checkpoint is null then
                    case when c.replays = 0 then 'before_start' else 'passed' end
                when m.channel <> all (s.read_channels) then 'not_wanted'
                when not is_same then 'passed'
                when is_wanted then 'delivered'
                else 'not_wanted' end;
            since := case state
                when 'dead_letter' then letter.died_at
                when 'delivered' then coalesce(
                    s.acked_at,
                    case when past.subscription_id is not null then past.upto_time
                         when run.after_checkpoint is not null then run.at end)
                when 'dropped' then past.upto_time
                when 'passed' then case when run.after_checkpoint is not null then run.at end
                when 'before_start' then s.created_at
                else m.created_at end;
            because := case when state = 'dead_letter' then letter.reason end;
            if state in ('before_start', 'not_wanted', 'dropped') then
                passed := null;
            end if;
        end if;

        if state = 'not_wanted' then
            since := m.created_at;
            because := case when outbox.wants(s.channels, null, m.channel, m.type) then 'types' else 'channels' end;
        elsif state in ('waiting', 'replayed', 'retrying', 'in_flight', 'redriven', 'paused', 'breaker_open',
                        'channel_waiting') then
            since := case state
                when 'breaker_open' then s.opened_at
                when 'channel_waiting' then c.waiting_since
                when 'redriven' then letter.redriven_at
                else m.created_at end;
            because := case state
                when 'paused' then s.paused_reason
                when 'channel_waiting' then c.waiting_reason
                -- Why none of the subscription's messages can go.
                when 'waiting' then s.waiting_reason
                when 'replayed' then s.waiting_reason
                else held.reason end;
            next_attempt_at := case
                when state = 'paused' then null
                when state = 'breaker_open' then greatest(s.retry_at, held.due_at)
                when row_state <> 'in_flight' then held.due_at end;
            select waits.queue, look_at - waits.looked into queue, look_at
            from outbox.trace_queue(
                coalesce(held.cursor_id, c.id), trace.message_id,
                case when s.kind <> 'kafka' then coalesce(held.group_key, m.group_key) end,
                row_state, least(20000, greatest(look_at, 100))) as waits;
        end if;
        return next;
    end loop;
end
$$;
revoke execute on function outbox.trace(bigint, bigint[]) from public;

-- The lowest id that a message of this priority and of `since` or later may have; a little lower, since ids and times are
-- drawn one after the other. By halves over the ids: each look is one into an index.
create function outbox.first_id_at(class integer, since timestamptz) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    low    bigint := outbox.first_id_since(since);
    high   bigint;
    middle bigint;
    probed record;
begin
    select m.id into high from outbox.message as m where m.priority::integer = class order by m.id + 0 desc limit 1;
    while high - low > 100 loop
        middle := (low + high) / 2;
        select m.id, m.created_at into probed from outbox.message as m
        where m.priority::integer = class and m.id + 0 >= middle and m.id >= middle
        order by m.id + 0 limit 1;
        if probed.created_at < since - interval '5 seconds' then
            low := probed.id;
        else
            high := middle;
        end if;
    end loop;
    return low;
end
$$;
revoke execute on function outbox.first_id_at(integer, timestamptz) from public;

-- The ids of the latest messages with an idempotency key, or of a group, the newest first, ten at most. No index knows
-- either: that would be one more for every publisher to write. So this looks at the latest 100,000 messages of a span of
-- time, and of a channel where one is given. Without a span: a key that outbox.uuid7 made says itself when that was;
-- otherwise the newest messages of the log. Of a group also those that wait in rows, however old they are, the heads first.
-- `looked_from`: the time of the oldest message that was looked at; `more`: the span has more than was looked at.
create function outbox.find_messages(
    idempotency_key text        default null,
    group_key       text        default null,
    channel         text        default null,
    from_time       timestamptz default null,
    upto_time       timestamptz default null
) returns table (message_ids bigint[], looked bigint, looked_from timestamptz, more boolean)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_variable
declare
    most constant bigint := 100000;
    waiting integer;
    told    timestamptz;
    walk    record;
begin
    if num_nonnulls(idempotency_key, group_key) <> 1 then
        raise exception 'find_messages takes idempotency_key or group_key, one of them'
            using errcode = 'invalid_parameter_value';
    end if;
    if num_nonnulls(from_time, upto_time) = 0
        and idempotency_key ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' then
        told := timestamptz 'epoch'
            + interval '1 millisecond' * ('x' || left(replace(idempotency_key, '-', ''), 12))::bit(48)::bigint;
        from_time := told - interval '5 seconds';
        upto_time := told + interval '5 seconds';
    end if;

    message_ids := array(
        select waits.message_id
        from outbox.cursor
        join outbox.subscription on subscription.id = cursor.subscription_id and subscription.kind <> 'kafka'
        cross join lateral (
            (select d.message_id, 0 as place from outbox.delivery as d
             where d.cursor_id = cursor.id and d.group_key = find_messages.group_key and d.due_at is not null)
            union all
            (select d.message_id, 1 from outbox.delivery as d
             where d.cursor_id = cursor.id and d.group_key = find_messages.group_key and d.due_at is null
             order by d.message_id limit 10)
        ) as waits
        where group_key is not null
          and (channel is null
               or channel = (select m.channel from outbox.trace_message(waits.message_id) as m))
        group by waits.message_id
        order by min(waits.place), waits.message_id limit 10);
    waiting := cardinality(message_ids);
    looked := 0;
    more := false;
    for class in 1..5 loop
        select count(*) as looked, min(log.created_at) as looked_from,
               array_agg(log.id order by log.id desc) filter (
                   where (log.idempotency_key = find_messages.idempotency_key
                          or log.group_key = find_messages.group_key)
                     and (channel is null or log.channel = find_messages.channel)
                     and log.created_at >= coalesce(from_time, '-infinity')
                     and log.created_at <= coalesce(upto_time, 'infinity')) as ids
        into walk
        from (
            select m.id, m.created_at, m.channel, m.group_key, m.idempotency_key
            from outbox.message as m
            where m.priority::integer = class
              and m.id + 0 >= case when from_time is null then 0 else outbox.first_id_at(class, from_time) end
              and m.id + 0 < case when upto_time is null then 9223372036854775807
                                  else outbox.first_id_at(class, upto_time + interval '10 seconds') + 101 end
            order by m.id + 0 desc limit greatest(most - looked, 1000)
        ) as log;
        more := more or walk.looked >= greatest(most - looked, 1000);
        looked := looked + walk.looked;
        looked_from := least(looked_from, walk.looked_from);
        message_ids := message_ids || walk.ids;
    end loop;
    message_ids := array(
        select known.id from unnest(message_ids) with ordinality as known (id, line)
        group by known.id
        order by min(known.line) filter (where known.line <= waiting) nulls last, known.id desc limit 10);
    return next;
end
$$;
revoke execute on function outbox.find_messages(text, text, text, timestamptz, timestamptz) from public;

insert into outbox.migration (version, name) values (29, 'trace');
