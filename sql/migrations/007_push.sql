-- Subscriptions that are pushed to an HTTP endpoint. Their cursors read the log as all others do; a row in
-- outbox.delivery exists only for a message that its run did not confirm.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- What the settings of an `http` subscription may be: numbers have bounds, words are listed.
create table outbox.http_setting (
    path   text primary key,
    kind   text not null check (kind in ('number', 'integer', 'word', 'url', 'delays')),
    lowest numeric,
    highest numeric,
    words  text[]
);
insert into outbox.http_setting (path, kind, lowest, highest, words) values
    ('endpoint',                    'url',     null, null,    null),
    ('concurrency',                 'integer', 1,    1000,    null),
    ('rate_per_second',             'number',  0.01, 100000,  null),
    ('timeout_seconds',             'number',  1,    60,      null),
    ('max_payload_bytes',           'integer', 1,    983040,  null),
    ('client_errors',               'word',    null, null,    array['retry', 'dead_letter']),
    ('on_exhausted',                'word',    null, null,    array['skip', 'park']),
    ('attempts_log',                'word',    null, null,    array['all', 'failures', 'none']),
    ('retry.initial_delay_seconds', 'number',  0,    86400,   null),
    ('retry.multiplier',            'number',  1,    100,     null),
    ('retry.max_delay_seconds',     'number',  0,    604800,  null),
    ('retry.max_attempts',          'integer', 1,    100,     null),
    ('retry.schedule_seconds',      'delays',  0,    604800,  null),
    ('retry.jitter',                'number',  0,    1,       null),
    ('breaker.window_seconds',      'number',  1,    3600,    null),
    ('breaker.minimum',             'integer', 1,    1000000, null),
    ('breaker.threshold',           'number',  0.01, 1,       null),
    ('breaker.cool_down_seconds',   'number',  1,    86400,   null);

-- What is wrong with such settings, in a sentence that names the setting and the mend; NULL: nothing.
create function outbox.http_settings_fault(settings jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
    with given as (
        select key as path, value from jsonb_each(settings) where key not in ('retry', 'breaker')
        union all
        select part.key || '.' || inner_part.key, inner_part.value
        from jsonb_each(settings) as part
        cross join lateral jsonb_each(case jsonb_typeof(part.value) when 'object' then part.value else '{}' end)
                   as inner_part
        where part.key in ('retry', 'breaker')
    ),
    fault (path, sentence) as (
        select 'endpoint', 'is required' where not settings ? 'endpoint'
        union all
        select key, 'must be an object' from jsonb_each(settings)
        where key in ('retry', 'breaker') and jsonb_typeof(value) <> 'object'
        union all
        select 'retry', 'takes schedule_seconds or the four that compute one, not both'
        where settings -> 'retry' ? 'schedule_seconds'
          and settings -> 'retry' ?| array['initial_delay_seconds', 'multiplier', 'max_delay_seconds', 'max_attempts']
        union all
        select given.path, case
            when known.path is null then
                'is not known; known are ' || (select string_agg(path, ', ' order by path) from outbox.http_setting)
            when kind = 'word' and (jsonb_typeof(value) <> 'string' or value #>> '{}' <> all (words)) then
                'must be one of ' || array_to_string(words, ', ')
            when kind = 'url' and (jsonb_typeof(value) <> 'string' or length(value #>> '{}') > 2048
                                   or value #>> '{}' !~ '^https?://[^/?#@\s[:cntrl:]]+(/[^#\s[:cntrl:]]*|\?[^#\s[:cntrl:]]*)?$') then
                'must be an http:// or https:// URL of at most 2048 characters, without user, password or fragment'
            when kind in ('number', 'integer') and (
                     jsonb_typeof(value) <> 'number'
                     or case when jsonb_typeof(value) = 'number'
                             then (value #>> '{}')::numeric not between lowest and highest
                                  or kind = 'integer' and value #>> '{}' !~ '^[0-9]+$' end) then
                format('must be %s from %s to %s', case kind when 'integer' then 'a whole number' else 'a number' end,
                       lowest, highest)
            when kind = 'delays' and (
                     jsonb_typeof(value) <> 'array'
                     or case when jsonb_typeof(value) = 'array' then
                            jsonb_array_length(value) > 100 or exists (
                                select from jsonb_array_elements(value) as delay
                                where jsonb_typeof(delay) <> 'number'
                                   or case when jsonb_typeof(delay) = 'number'
                                           then (delay #>> '{}')::numeric not between lowest and highest end) end) then
                format('must be a list of at most 100 numbers of seconds from %s to %s', lowest, highest)
        end
        from given left join outbox.http_setting as known on known.path = given.path
    )
    select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
$$;

create function outbox.check_settings() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    fault text;
begin
    if tg_op = 'UPDATE' and new.kind <> old.kind then
        raise exception 'outbox.subscription.kind is fixed at creation: make a new subscription of kind %', new.kind
            using errcode = 'check_violation', column = 'kind';
    end if;
    if new.kind = 'http' then
        fault := outbox.http_settings_fault(new.settings);
        if fault is not null then
            raise exception '%', fault using errcode = 'check_violation', column = 'settings';
        end if;
    end if;
    return new;
end
$$;
create trigger check_settings before insert or update of kind, settings on outbox.subscription
    for each row execute function outbox.check_settings();

alter table outbox.subscription
    drop constraint kind_is_kafka,
    drop constraint settings_of_kafka_are_a_topic_prefix,
    -- NULL: every type.
    add column types text[],
    -- What keeps all of it from going, as a relay noted: a secret that does not open.
    add column waiting_since  timestamptz,
    add column waiting_reason text,
    add constraint the_waiting_have_a_reason check ((waiting_since is null) = (waiting_reason is null)),
    add constraint kind_is_kafka_or_http check (kind in ('kafka', 'http')),
    add constraint exactly_once_is_for_kafka check (delivery = 'at_least_once' or kind = 'kafka'),
    add constraint types_hold_no_null check (array_position(types, null) is null),
    add constraint settings_of_kafka_are_a_topic_prefix check (
        kind <> 'kafka' or (
            settings - 'topic_prefix' = '{}'
            and coalesce(jsonb_typeof(settings -> 'topic_prefix') = 'string'
                         and settings ->> 'topic_prefix' ~ '^[A-Za-z0-9._-]{0,49}$',
                         not settings ? 'topic_prefix'))),
    -- Where the channels are not listed, the relay says it of each message.
    add constraint topics_are_not_outbox_cursors_which_is_the_relays_own check (
        kind <> 'kafka'
        or not starts_with('outbox.cursors', coalesce(settings ->> 'topic_prefix', ''))
        or (substr('outbox.cursors', length(coalesce(settings ->> 'topic_prefix', '')) + 1) = any (channels))
           is not true);

-- What an endpoint's requests are signed with. No reader sees it: not in settings, not in a view. While one is rotated
-- out, requests carry a signature by each. A key stands here as it is, or sealed by whoever has OUTBOX_SECRET_KEY: then
-- as the Fernet token of its bytes (https://github.com/fernet/spec), which says nothing to who has only the database.
create table outbox.secret (
    subscription_id bigint      not null references outbox.subscription on delete cascade,
    created_at      timestamptz not null default clock_timestamp(),
    key             bytea,
    sealed          text,
    -- NULL: until it is rotated.
    expires_at      timestamptz,

    primary key (subscription_id, created_at),
    constraint secret_is_a_key_or_sealed check (num_nonnulls(key, sealed) = 1),
    constraint key_has_24_to_64_bytes check (octet_length(key) between 24 and 64),
    constraint sealed_is_a_fernet_token check (sealed ~ '^gAAAA[A-Za-z0-9_-]{95,195}={0,2}$')
);

-- A subscription's circuit breaker, one row for all relays. Closed: `opened_at` is NULL. Open: nobody sends before
-- `retry_at`; then half-open: one relay sends one message. The row is written when its state changes, and not per message.
create table outbox.breaker (
    subscription_id bigint primary key references outbox.subscription on delete cascade,
    -- The first failure since the last success.
    failing_since   timestamptz,
    opened_at       timestamptz,
    retry_at        timestamptz,
    -- Failures from before it closed count no more.
    closed_at       timestamptz,
    -- Of the half-open state's message where it outlives its run: its outcome may still close the breaker.
    token           bigint,

    constraint the_open_say_until_when check ((opened_at is null) = (retry_at is null)),
    constraint the_open_are_failing check (opened_at is null or failing_since is not null)
);

-- How far the sends that all relays together may make of a subscription are used up.
create table outbox.rate_limit (
    subscription_id bigint      primary key references outbox.subscription on delete cascade,
    used_until      timestamptz not null default '-infinity'
);

-- How many attempts of a run failed, next to how many messages were acknowledged: what breakers are decided by.
alter table outbox.checkpoint add column failures integer not null default 0;

-- The limit that a dead letter had exhausted; NULL: it was refused for what it is.
alter table outbox.dead_letter add column exhausted text;

-- A message that its run did not confirm, or that goes to one cursor outside the log. Only the holder of the cursor
-- inserts, deletes or promotes rows; an outcome that comes after its run updates its own row, by `token`, and no other.
--   due_at in the past or future   the head of its group: to be sent then. With a token it is in flight until then, and
--                                  its group waits.
--   due_at is null                 behind a head of its group
--   due_at = 'infinity'            given up, and its group waits for it (settings.on_exhausted = 'park')
alter table outbox.delivery
    alter column dead_letter_id drop not null,
    alter column due_at drop not null,
    -- NULL as well where the sink orders by itself, as Kafka does.
    add column group_key text,
    add column attempts  integer not null default 0,
    add column token     bigint,
    -- What came after the run: the next holder finishes it.
    add column outcome   text,
    add column reason    text,
    add column detail    text,
    add column replayed  boolean not null default false,
    add constraint outcome_is_acked_or_dead check (outcome in ('acked', 'dead')),
    add constraint the_flying_are_due check (token is null or due_at is not null);
-- One head a group, and "is this group blocked?" in one step.
create unique index delivery_has_one_head on outbox.delivery (cursor_id, group_key) where due_at is not null;
create index delivery_group on outbox.delivery (cursor_id, group_key, message_id) where due_at is null;
create index delivery_due on outbox.delivery (cursor_id, due_at) where due_at is not null;
create index delivery_acked on outbox.delivery (cursor_id) where outcome = 'acked';

-- Makes the first row of each group its head, where it has none. For the holder of the cursor.
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

-- Finishes what was acknowledged after its run: takes the rows away, and makes the next of their groups heads. For the
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
        update outbox.dead_letter as letter
        set delivered_at = clock_timestamp(), attempts = letter.attempts + gone.attempts,
            redriven_at = coalesce(letter.redriven_at, clock_timestamp())
        from gone where letter.id = gone.dead_letter_id
    )
    select count(*), array_agg(group_key) filter (where group_key is not null) into cleared, group_keys from gone;
    if group_keys is not null then
        perform outbox.promote(clear_acked.cursor_id, group_keys);
    end if;
    return cleared;
end
$$;

-- Tells whoever subscribed to `outbox.events` what became of a subscription.
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

-- What has been told of a subscription lately, by its type: who pauses and resumes in a loop, or has a breaker that opens
-- and closes by design, fills neither the log nor anybody's. Each type is told under the lock of the one row that it is
-- about, so that nobody waits for one of these.
create table outbox.told (
    subscription_id bigint      not null,
    type            text        not null,
    since           timestamptz not null default clock_timestamp(),
    events          integer     not null default 1,
    left_out        integer     not null generated always as (greatest(events - 5, 0)) stored,

    primary key (subscription_id, type)
);

-- The same for what may come often: the first five in five minutes, and then how many were left out. Whether it was told.
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

-- Begins to count anew, and tells what was left out. Returns how many were.
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

-- Pauses and resumes are told, whoever makes them and how: by SQL, by a command, over HTTP, or outbox.disable.
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

-- Pauses a subscription that can't go on by itself; nothing of it is dropped. True: that was told.
create function outbox.disable(subscription_id bigint, reason text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    disabled boolean;
begin
    -- For the trigger that tells it.
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

-- Five days of nothing but failures: whoever owns the endpoint has to look.
create function outbox.disable_if_dead(subscription_id bigint) returns boolean
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select outbox.disable(b.subscription_id, 'disabled: nothing but failures since ' || date_trunc('second', b.failing_since))
    from outbox.breaker as b
    where b.subscription_id = disable_if_dead.subscription_id and b.failing_since < clock_timestamp() - interval '5 days'
$$;

-- What a run's outcomes mean for a closed breaker; its own numbers are not in a checkpoint yet. Opens at `threshold` of
-- at least `minimum` attempts within the window, counted over all relays since it last closed.
create function outbox.judge_breaker(
    subscription_id   bigint,
    acked             bigint,
    failed            bigint,
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
    b     outbox.breaker;
    since timestamptz;
begin
    opened := false;
    told := false;
    select * into b from outbox.breaker as one where one.subscription_id = judge_breaker.subscription_id for no key update;
    if not found or b.opened_at is not null then
        return;
    end if;
    if acked > 0 or failed = 0 then
        if acked > 0 and b.failing_since is not null then
            update outbox.breaker as one set failing_since = null where one.subscription_id = b.subscription_id;
        end if;
        if failed = 0 then
            return;
        end if;
    elsif b.failing_since is null then
        update outbox.breaker as one set failing_since = clock_timestamp() where one.subscription_id = b.subscription_id;
    else
        perform outbox.disable_if_dead(b.subscription_id);
    end if;
    since := greatest(clock_timestamp() - make_interval(secs => window_seconds), b.closed_at);
    select acked + coalesce(sum(k.messages), 0), failed + coalesce(sum(k.failures), 0) into acked, failed
    from outbox.cursor as c
    join outbox.checkpoint as k on k.cursor_id = c.id
    -- From the newest that is too old: the table keeps more than a window.
    where c.subscription_id = b.subscription_id and k.created_at > since
      and k.n > coalesce((select old.n from outbox.checkpoint as old
                          where old.cursor_id = c.id and old.created_at <= since
                          order by old.n desc limit 1), -1);
    if acked + failed < minimum or failed < threshold * (acked + failed) then
        return;
    end if;
    update outbox.breaker as one
    set opened_at = clock_timestamp(), retry_at = clock_timestamp() + make_interval(secs => cool_down_seconds),
        failing_since = coalesce(one.failing_since, clock_timestamp())
    where one.subscription_id = b.subscription_id;
    opened := true;
    told := outbox.tell_at_times(b.subscription_id, 'subscription.breaker_opened',
                                 json_build_object('failed', failed, 'of', acked + failed));
end
$$;

-- Whether this transaction is the one that may send the half-open breaker's one message, and holds the breaker until
-- its end. `token` names that message where it outlives its run; the next is not sent before `lease_seconds`.
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

-- What came of the half-open breaker's message, known by its token: it closes, or stays open for another cool-down.
-- NULL: nothing was sent, so that the next run may. True: it closed, and that was told.
create function outbox.judge_half_open(subscription_id bigint, token bigint, acked boolean, cool_down_seconds float8)
returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if acked then
        update outbox.breaker as b
        set failing_since = null, opened_at = null, retry_at = null, token = null, closed_at = clock_timestamp()
        where b.subscription_id = judge_half_open.subscription_id and b.token = judge_half_open.token;
        if found then
            return outbox.tell_at_times(subscription_id, 'subscription.breaker_closed', '{}');
        end if;
        return false;
    end if;
    update outbox.breaker as b
    set token = null,
        retry_at = clock_timestamp() + make_interval(secs => case when acked is null then 0 else cool_down_seconds end)
    where b.subscription_id = judge_half_open.subscription_id and b.token = judge_half_open.token;
    if found and not acked then
        perform outbox.disable_if_dead(subscription_id);
    end if;
    return false;
end
$$;

-- Takes what a relay may send of a subscription in about half a second, from what is left for all relays together; NULL:
-- there is no limit. What was not used within a second (or the time of one, where that is longer) is lost.
create function outbox.take_rate(subscription_id bigint) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    per_second float8;
    now        timestamptz;
    used       timestamptz;
    granted    integer;
begin
    select (s.settings ->> 'rate_per_second')::float8 into per_second
    from outbox.subscription as s where s.id = take_rate.subscription_id;
    if per_second is null then
        return null;
    end if;
    -- Whoever has it takes its share at this moment: waiting would keep a connection from other subscriptions.
    select r.used_until into used from outbox.rate_limit as r
    where r.subscription_id = take_rate.subscription_id for no key update skip locked;
    if not found then
        return 0;
    end if;
    now := clock_timestamp();
    used := greatest(used, now - make_interval(secs => greatest(1, 1 / per_second)));
    granted := least(greatest(round(per_second / 2), 1),
                     floor(extract(epoch from now - used)::float8 * per_second + 0.000001))::integer;
    if granted > 0 then
        update outbox.rate_limit as r
        set used_until = used + make_interval(secs => granted / per_second)
        where r.subscription_id = take_rate.subscription_id;
    end if;
    return greatest(granted, 0);
end
$$;

-- Every request that was made, in the order in which their runs ended. No foreign key: it falls away with its partition.
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
-- So that rows can be deleted where all tables are published: see outbox.message.
alter table outbox.attempt replica identity full;
create trigger stay_in_partition after truncate on outbox.attempt
    for each statement execute function outbox.stay_in_partition();

-- What of the failed answers is kept is at the endpoints' will: of each subscription so much a day (UTC) and no more.
create table outbox.answer_budget (
    subscription_id bigint primary key references outbox.subscription on delete cascade,
    day             date   not null default '-infinity',
    bytes           bigint not null default 0
);

-- How many of these failed answers, of so many bytes each, may be kept: the first ones, while the day's 10 MiB last. They
-- are counted from then on. The first that does not fit ends the day, and what comes after it writes nothing here.
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

-- Of these subscriptions those of which another session holds something that outcomes after their run write: the breaker
-- and the subscription itself where they judge it, the budget where an answer `failed`. The rest is held from here on,
-- until the transaction ends. Waits for nobody, since whoever asks writes for all subscriptions.
create function outbox.hold_for_outcomes(judged bigint[], failed bigint[]) returns bigint[]
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
    with free_subscription as materialized (
        select id from outbox.subscription where id = any (judged) for no key update skip locked
    ),
    free_breaker as materialized (
        select subscription_id as id from outbox.breaker where subscription_id = any (judged)
        for no key update skip locked
    ),
    free_budget as materialized (
        select subscription_id as id from outbox.answer_budget where subscription_id = any (failed)
        for no key update skip locked
    )
    select array(
        (select subscription_id from outbox.breaker where subscription_id = any (judged)
         except (select id from free_subscription intersect select id from free_breaker))
        union
        (select subscription_id from outbox.answer_budget where subscription_id = any (failed)
         except select id from free_budget))
$$;

-- Looks after the partitions of the attempts; see outbox.turn_by_age.
create function outbox.turn_attempts(keep_days integer default 30) returns integer
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select outbox.turn_by_age('outbox.attempt', keep_days)
$$;

-- The partitions, of the log and of the attempts, that should have been made or dropped by now and were not, since
-- other sessions held what that takes: the next one of each, and the attempts' past their time.
create function outbox.partitions_left_out(retention_days integer default 7, keep_days integer default 30) returns text[]
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    with wanted as (
        select parent, outbox.present_partition(parent) + 1 as number
        from unnest(array['outbox.message', 'outbox.attempt']) as parent
    )
    select coalesce(array_agg(partition order by partition), '{}')
    from (
        select split_part(parent, '.', 2) || '_' || number as partition from wanted
        where to_regclass(parent || '_' || number) is null
        union all
        -- It should have been left: a transaction that is older than the next one is open, somewhere in the cluster.
        select 'message_' || number from outbox.known_partition
        where parent = 'outbox.message' and number = outbox.present_partition(parent)
          and from_time < clock_timestamp() - outbox.partition_width(retention_days) - interval '1 day'
        union all
        select outbox.past_partitions('outbox.attempt', keep_days)
    ) as left_out
$$;

-- 244 random bits, in 32 bytes.
create function outbox.random_key() returns bytea
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
$$;

-- A new secret for the subscription's signatures; shown here and never again. Those before it serve for a day more, or
-- with `revoke_old` = 'now' no longer. Whoever has OUTBOX_SECRET_KEY makes the secret and gives it `sealed`; then NULL
-- is returned.
create function outbox.rotate_secret(
    subscription_id bigint,
    revoke_old      text default 'after_a_day',
    sealed          text default null
) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    key bytea := case when sealed is null then outbox.random_key() end;
begin
    if revoke_old is null or revoke_old not in ('now', 'after_a_day') then
        raise exception 'revoke_old must be now or after_a_day' using errcode = 'invalid_parameter_value';
    end if;
    perform from outbox.subscription as s where s.id = rotate_secret.subscription_id and s.kind = 'http' for no key update;
    if not found then
        raise exception 'there is no http subscription % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    -- Each that is valid is a signature in every request: three at most, whoever calls this in a loop.
    delete from outbox.secret as s
    where s.subscription_id = rotate_secret.subscription_id
      and (revoke_old = 'now'
           or s.expires_at <= clock_timestamp()
           or s.created_at not in (select kept.created_at from outbox.secret as kept
                                   where kept.subscription_id = rotate_secret.subscription_id
                                   order by kept.created_at desc limit 2));
    update outbox.secret as s
    set expires_at = least(s.expires_at, clock_timestamp() + interval '1 day')
    where s.subscription_id = rotate_secret.subscription_id;
    insert into outbox.secret (subscription_id, key, sealed) values (subscription_id, key, sealed);
    return 'whsec_' || encode(key, 'base64');
end
$$;

-- Puts a sealed secret where the same secret stood as it is, or sealed as `sealed_before`, with a key that is going out
-- of use. False: it is gone, or another relay was faster. Nobody's key goes in as it is: the server might log it.
create function outbox.seal_secret(
    subscription_id bigint,
    created_at      timestamptz,
    sealed          text,
    sealed_before   text default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update outbox.secret as s
    set key = null, sealed = seal_secret.sealed
    where s.subscription_id = seal_secret.subscription_id and s.created_at = seal_secret.created_at
      and s.sealed is not distinct from sealed_before;
    return found;
end
$$;

-- Notes what keeps a subscription waiting, or with NULL that it goes on. Writes only what is news.
create function outbox.note_waiting(subscription_id bigint, reason text) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    update outbox.subscription as s
    set waiting_since = case when reason is not null then coalesce(s.waiting_since, clock_timestamp()) end,
        waiting_reason = reason
    where s.id = note_waiting.subscription_id and s.waiting_reason is distinct from reason
$$;

create function outbox.equip_http() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into outbox.breaker (subscription_id) values (new.id);
    insert into outbox.rate_limit (subscription_id) values (new.id);
    insert into outbox.answer_budget (subscription_id) values (new.id);
    insert into outbox.secret (subscription_id, key) values (new.id, outbox.random_key());
    return null;
end
$$;
create trigger equip_http after insert on outbox.subscription
    for each row when (new.kind = 'http') execute function outbox.equip_http();

-- Subscribes an endpoint to one channel; it gets what commits from now on. Returns the secret of its signatures, which
-- is shown nowhere else. Whoever has OUTBOX_SECRET_KEY makes the secret and gives it `sealed`; then NULL is returned.
create function outbox.subscribe(
    name     text,
    channel  text,
    endpoint text,
    settings jsonb   default '{}',
    types    text[]  default null,
    shards   integer default 1,
    sealed   text    default null,
    made_by  text    default null
) returns table (subscription_id bigint, secret text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    insert into outbox.subscription as s (name, kind, channels, types, shards, settings, made_by)
    values (name, 'http', array[channel], types, shards, settings || jsonb_build_object('endpoint', endpoint), made_by)
    returning s.id into subscription_id;
    if sealed is not null then
        -- In the place of the one that every new subscription has.
        update outbox.secret as s set key = null, sealed = subscribe.sealed
        where s.subscription_id = subscribe.subscription_id;
    end if;
    select 'whsec_' || encode(s.key, 'base64') into secret
    from outbox.secret as s where s.subscription_id = subscribe.subscription_id;
    return next;
end
$$;

-- Sends one message of type `outbox.test` to this subscription, and to no other that does not name channel
-- `outbox.test`. Returns its id.
create function outbox.send_test(subscription_id bigint) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    target     outbox.subscription;
    message_id bigint;
begin
    -- Locked, so that its filter stays what it is here until the message is in the log.
    select * into target from outbox.subscription as s
    where s.id = send_test.subscription_id and s.kind = 'http' for share;
    if not found then
        raise exception 'there is no http subscription % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    message_id := outbox.publish_own('outbox.test', 'outbox.test',
                                     json_build_object('subscriptionId', target.id::text, 'name', target.name));
    -- Where it is not read from the log, it gets a row. It has no group, so no other row depends on it: the one insert
    -- that needs no hold of the cursor.
    insert into outbox.delivery (cursor_id, message_id, due_at)
    select cursor.id, message_id, clock_timestamp()
    from outbox.cursor
    where cursor.subscription_id = target.id and cursor.priority = 3 and cursor.channel is null
      and cursor.shard = outbox.shard_of(null, message_id, target.shards)
      and ('outbox.test' = any (target.channels) and (target.types is null or 'outbox.test' = any (target.types)))
          is not true;
    return message_id;
end
$$;

-- A cursor that was set back: what it had done before is sent again, marked as replayed, for as long as the delta that
-- was begun then lasts.
create table outbox.replay (
    cursor_id  bigint      not null references outbox.cursor on delete cascade,
    -- The delta's target.
    delta      pg_snapshot not null,
    -- Where the cursor stood: done was what `seen` shows, and up to `after_id` what `target` shows.
    seen       pg_snapshot not null,
    target     pg_snapshot,
    after_id   bigint,
    created_at timestamptz not null default clock_timestamp()
);
create index replay_cursor on outbox.replay (cursor_id);
alter table outbox.replay replica identity full;

-- Sets a subscription back to what was written at `from_time`, or to the message `from_message_id`: everything from
-- there on comes (again), in order, with its first idempotency key. What was pending stays pending. Returns how many
-- messages of the log that is; with `dry_run` it does nothing else. Waits for runs that are under way.
create function outbox.replay(
    subscription    text,
    from_time       timestamptz default null,
    from_message_id bigint      default null,
    dry_run         boolean     default false
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set enable_nestloop = off
set max_parallel_workers_per_gather = 0
as $$
#variable_conflict use_column
declare
    s        outbox.subscription;
    c        record;
    begun    pg_snapshot;
    first_id bigint;
    last_id  bigint;
    undone   xid8;
    start_id bigint;
    replayed bigint := 0;
begin
    if num_nonnulls(from_time, from_message_id) <> 1 then
        raise exception 'replay takes from_time or from_message_id, one of them' using errcode = 'invalid_parameter_value';
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.replay runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
    end if;
    select * into s from outbox.subscription where name = replay.subscription;
    if not found then
        raise exception 'there is no subscription %', subscription using errcode = 'no_data_found';
    end if;
    if not dry_run then
        perform from outbox.cursor where subscription_id = s.id order by id for no key update;
    end if;
    for class in 1..5 loop
        -- Before the ids are read: what commits in between has an id below them, and is not in the delta.
        begun := pg_current_snapshot();
        select min(id + 0) into first_id
        from outbox.message
        where priority::integer = class and id + 0 >= coalesce(from_message_id, outbox.first_id_since(from_time))
          and created_at >= coalesce(from_time, '-infinity');
        continue when first_id is null;
        select max(id + 0) into last_id from outbox.message where priority::integer = class;
        -- All that is not done by every cursor of the class was written at `undone` or later.
        select pg_snapshot_xmin(latest.seen) into undone
        from outbox.cursor
        cross join lateral (
            select seen from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
        ) as latest
        where cursor.subscription_id = s.id and cursor.priority = class
        order by 1 limit 1;
        select least(first_id, min(id)) into start_id
        from outbox.message where priority = class and xid >= undone and not dry_run;
        -- The log is walked once for all of them; each message belongs to one, a fork of its channel or else the
        -- unforked cursor of its shard. Without enable_nestloop = off a log without statistics, which the planner takes
        -- for an empty one, would be walked for each cursor.
        for c in
            with place as materialized (
                select cursor.id, cursor.shard, cursor.channel, latest.*
                from outbox.cursor
                cross join lateral (
                    select n, seen, target, after_id, fresh_id from outbox.checkpoint
                    where cursor_id = cursor.id order by n desc limit 1
                ) as latest
                where cursor.subscription_id = s.id and cursor.priority = class
            ), read as (
                select own.id as cursor_id,
                       count(*) filter (
                           where m.id >= first_id
                             and case when s.channels is null then not starts_with(m.channel, 'outbox.')
                                      else m.channel = any (s.channels) end
                             and (s.types is null or m.type = any (s.types))) as wanted,
                       min(m.id) filter (
                           where not pg_visible_in_snapshot(m.xid, own.seen)
                             and (own.target is null or m.id > own.after_id
                                  or not pg_visible_in_snapshot(m.xid, own.target))) as pending
                from outbox.message as m
                join place as unforked
                    on unforked.channel is null and unforked.shard = outbox.shard_of(m.group_key, m.id, s.shards)
                left join place as fork on fork.shard = unforked.shard and fork.channel = m.channel
                join place as own on own.id = coalesce(fork.id, unforked.id)
                where m.priority::integer = class and m.id + 0 >= start_id
                group by own.id
            )
            select place.*, read.wanted, least(first_id, read.pending) as first_id
            from read join place on place.id = read.cursor_id
            where read.wanted > 0
            order by place.id
        loop
            replayed := replayed + c.wanted;
            continue when dry_run;
            -- The marks of an earlier replay that is still under way go on. They say it all where nothing of it has gone
            -- yet, and those that this one contains go: whoever replays again and again has few.
            delete from outbox.replay as r
            where r.cursor_id = c.id
              and (r.delta::text is distinct from c.target::text
                   or r.seen::text = c.seen::text and r.after_id <= c.after_id and c.after_id >= c.fresh_id);
            update outbox.replay as r set delta = begun where r.cursor_id = c.id;
            if not found or c.after_id >= c.fresh_id then
                insert into outbox.replay (cursor_id, delta, seen, target, after_id)
                values (c.id, begun, c.seen, c.target, c.after_id);
            end if;
            insert into outbox.checkpoint (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
            values (c.id, c.n + 1, '3:3:', begun, c.first_id - 1, c.first_id, last_id, '');
        end loop;
    end loop;
    return replayed;
end
$$;

-- Takes away the marks of replays that are over. What others hold is left for the next call. Returns how many went.
create function outbox.trim_replays() returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    trimmed bigint;
begin
    delete from outbox.replay as r
    where r.ctid = any (array(
        select ended.ctid from outbox.replay as ended
        where ended.delta::text is distinct from (
            select latest.target::text from outbox.checkpoint as latest
            where latest.cursor_id = ended.cursor_id order by latest.n desc limit 1)
        for update skip locked));
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;

-- Letters of an http subscription go back among its rows, behind what its group has; the holder of their cursor alone
-- may do that, so this waits for a run that is under way. All else as before.
create or replace function outbox.redrive(dead_letter_ids bigint[]) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    redriven bigint;
    groups   record;
begin
    perform from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    where subscription.kind = 'http'
      and cursor.id in (select cursor_id from outbox.dead_letter where id = any (dead_letter_ids) and redriven_at is null)
    order by cursor.id
    for no key update of cursor;

    with letter as (
        update outbox.dead_letter
        set redriven_at = clock_timestamp()
        where id = any (dead_letter_ids) and redriven_at is null
        returning id, subscription_id, cursor_id, message_id, group_key
    )
    insert into outbox.delivery as d (cursor_id, message_id, dead_letter_id, group_key, due_at)
    select cursor_id, message_id, letter.id,
           case when kind = 'http' then group_key end,
           case when kind = 'http' and group_key is not null then null else clock_timestamp() end
    from letter
    join outbox.subscription on subscription.id = letter.subscription_id
    on conflict (cursor_id, message_id) do update
        set dead_letter_id = excluded.dead_letter_id, attempts = 0, outcome = null,
            due_at = case when d.due_at = 'infinity' then clock_timestamp() else d.due_at end;
    get diagnostics redriven = row_count;

    for groups in
        select letter.cursor_id, array_agg(letter.group_key) as keys
        from outbox.dead_letter as letter
        join outbox.subscription on subscription.id = letter.subscription_id and subscription.kind = 'http'
        where letter.id = any (dead_letter_ids) and letter.group_key is not null and letter.delivered_at is null
        group by letter.cursor_id
        order by letter.cursor_id
    loop
        perform outbox.promote(groups.cursor_id, groups.keys);
    end loop;
    return redriven;
end
$$;

-- As before, with the filter by type.
create or replace function outbox.unread(cursor_id bigint, look_at_most integer)
returns table (
    message_id bigint,
    created_at timestamptz,
    channel    text,
    type       text,
    group_key  text,
    wanted     boolean
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
    c record;
begin
    select cursor.shard, cursor.priority, cursor.channel as only_channel, subscription.shards, subscription.channels,
           subscription.types,
           latest.*, coalesce(latest.target, latest.seen) as horizon,
           array(
               select fork.channel from outbox.cursor as fork
               where cursor.channel is null and fork.channel is not null
                 and fork.subscription_id = cursor.subscription_id
                 and fork.shard = cursor.shard and fork.priority = cursor.priority
           ) as forked_channels
    into c
    from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    cross join lateral (
        select seen, target, after_id, fresh_id, upto_id
        from outbox.checkpoint where checkpoint.cursor_id = cursor.id order by n desc limit 1
    ) as latest
    where cursor.id = unread.cursor_id;
    if not found then
        raise exception 'there is no cursor % in outbox.cursor', unread.cursor_id using errcode = 'no_data_found';
    end if;

    return query
    select log.id, log.created_at, log.channel, log.type, log.group_key,
           (c.only_channel is null or log.channel = c.only_channel)
           and not log.channel = any (c.forked_channels)
           and (case when c.channels is null then not starts_with(log.channel, 'outbox.')
                     else log.channel = any (c.channels) end)
           and (c.types is null or log.type = any (c.types))
           and outbox.shard_of(log.group_key, log.id, c.shards) = c.shard
    from (
        -- The delta under way; without one these two find nothing. How priority and id are spelled chooses the index.
        (select 1 as phase, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.message as m
         where priority = c.priority and xid = any (array(select pg_snapshot_xip(c.seen)))
           and id > c.after_id and id < c.fresh_id and pg_visible_in_snapshot(xid, c.target)
         order by id limit look_at_most)
        union all
        (select 1, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.message as m
         where priority::integer = c.priority::integer
           and id + 0 >= greatest(c.fresh_id, c.after_id + 1) and id + 0 <= c.upto_id
           and not pg_visible_in_snapshot(xid, c.seen) and pg_visible_in_snapshot(xid, c.target)
         order by id + 0 limit look_at_most)
        union all
        -- The next delta: late transactions, then fresh ones.
        (select 2, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.message as m
         where priority = c.priority and xid = any (array(select pg_snapshot_xip(c.horizon)))
         order by id limit look_at_most)
        union all
        (select 2, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.finished_ranges(pg_snapshot_xmax(c.horizon)) as finished
         cross join lateral (
             select message.* from outbox.message
             where priority = c.priority and xid >= finished.from_xid and xid < finished.before_xid
             order by xid, id limit look_at_most
         ) as m
         limit look_at_most)
    ) as log
    order by log.phase, log.id limit look_at_most;
end
$$;

-- As before, and with what delivery rows still need.
create or replace function outbox.partition_needed_by(partition text) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    sentence text;
begin
    execute format(
        'select ''not yet passed by '' || string_agg(waiting.name || '' (priority '' || priorities || '')'', '', ''
                                                     order by waiting.name)
         from (
             select subscription.name, string_agg(distinct position.priority::text, '', '') as priorities
             from outbox.subscription
             join (
                 select cursor.id as cursor_id, cursor.subscription_id, cursor.priority, latest.seen
                 from outbox.cursor
                 cross join lateral (
                     select seen from outbox.checkpoint
                     where cursor_id = cursor.id order by n desc limit 1
                 ) as latest
             ) as position on position.subscription_id = subscription.id
             where exists (
                     select from outbox.%1$I
                     where priority = position.priority and xid >= pg_snapshot_xmax(position.seen))
                or exists (
                     select from outbox.%1$I
                     where priority = position.priority
                       and xid = any (array(select pg_snapshot_xip(position.seen))))
                -- By the range of ids: a copy of the message has only what was given up.
                or exists (
                     select from outbox.delivery
                     where cursor_id = position.cursor_id and dead_letter_id is null
                       and message_id >= (select min(id + 0) from outbox.%1$I
                                          where priority::integer = position.priority::integer)
                       and message_id <= (select max(id + 0) from outbox.%1$I
                                          where priority::integer = position.priority::integer))
             group by subscription.name
         ) as waiting', partition)
    into sentence;
    return sentence;
end
$$;

-- Rows of subscriptions: how many wait for what, and since when the oldest message of them is written.
create view outbox.delivery_summary as
select held.subscription, held.retrying, held.in_flight, held.behind, held.parked, held.next_due_at,
       coalesce(message.created_at, letter.created_at) as oldest_at
from (
    select subscription.name as subscription,
           count(*) filter (where due_at < 'infinity' and token is null and outcome is null) as retrying,
           count(*) filter (where due_at < 'infinity' and token is not null) as in_flight,
           count(*) filter (where due_at is null) as behind,
           count(*) filter (where due_at = 'infinity') as parked,
           min(due_at) filter (where due_at < 'infinity' and token is null and outcome is null) as next_due_at,
           min(message_id) filter (where outcome is null) as oldest_id
    from outbox.delivery
    join outbox.cursor on cursor.id = delivery.cursor_id
    join outbox.subscription on subscription.id = cursor.subscription_id
    group by subscription.name
) as held
left join lateral (
    select found.created_at
    from generate_series(1, 5) as class
    cross join lateral (
        select created_at from outbox.message
        where priority::integer = class and id + 0 = held.oldest_id
    ) as found
) as message on true
-- The partition of what was redriven may be gone.
left join lateral (
    select min(created_at) as created_at from outbox.dead_letter
    where message.created_at is null and dead_letter.id in (
        select dead_letter_id from outbox.delivery where message_id = held.oldest_id)
) as letter on true;

-- Breakers that are not closed, or whose endpoint has failed since its last success.
create view outbox.breaker_state as
select subscription.name as subscription,
       case when opened_at is null then 'closed'
            when retry_at > clock_timestamp() then 'open' else 'half-open' end as state,
       failing_since, opened_at, retry_at
from outbox.breaker
join outbox.subscription on subscription.id = breaker.subscription_id
where failing_since is not null;

revoke execute on function
    outbox.promote(bigint, text[]),
    outbox.clear_acked(bigint),
    outbox.tell(bigint, text, json),
    outbox.tell_at_times(bigint, text, json),
    outbox.tell_left_out(),
    outbox.tell_pause(),
    outbox.disable(bigint, text),
    outbox.disable_if_dead(bigint),
    outbox.judge_breaker(bigint, bigint, bigint, float8, bigint, float8, float8),
    outbox.hold_half_open(bigint, bigint, float8),
    outbox.judge_half_open(bigint, bigint, boolean, float8),
    outbox.take_rate(bigint),
    outbox.take_answer_budget(bigint, integer[]),
    outbox.hold_for_outcomes(bigint[], bigint[]),
    outbox.turn_attempts(integer),
    outbox.partitions_left_out(integer, integer),
    outbox.random_key(),
    outbox.note_waiting(bigint, text),
    outbox.rotate_secret(bigint, text, text),
    outbox.seal_secret(bigint, timestamptz, text, text),
    outbox.subscribe(text, text, text, jsonb, text[], integer, text, text),
    outbox.send_test(bigint),
    outbox.replay(text, timestamptz, bigint, boolean),
    outbox.trim_replays()
from public;

select outbox.turn_attempts();

insert into outbox.migration (version, name) values (7, 'push');
