-- What the migrations in sql/migrations make, as pg_dump of PostgreSQL 18 writes it.
-- It is for reading, and shows in a diff what a migration changes; nothing runs it.
-- `make schema` makes this file. Grants are in sql/roles.sql.
--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: outbox; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA outbox;


--
-- Name: sale; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA sale;


--
-- Name: money; Type: DOMAIN; Schema: sale; Owner: -
--

CREATE DOMAIN sale.money AS numeric
	CONSTRAINT amount_is_a_number_of_at_least_zero CHECK (((VALUE >= (0)::numeric) AND (VALUE < 'Infinity'::numeric)));


--
-- Name: advance_sequence(regclass, bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.advance_sequence(owner regclass, highest_id bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select setval(identity.sequence, highest_id)
    from (select pg_get_serial_sequence(owner::text, 'id')::regclass as sequence) as identity
    where highest_id > coalesce(pg_sequence_last_value(identity.sequence), 0)
$$;


SET default_tablespace = '';

--
-- Name: attempt_log; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.attempt_log (
    id bigint NOT NULL,
    subscription_id bigint NOT NULL,
    message_id bigint NOT NULL,
    last_message_id bigint,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    next_at timestamp with time zone,
    duration_seconds real NOT NULL,
    number integer NOT NULL,
    status smallint,
    idempotency_key text NOT NULL,
    relay text NOT NULL,
    error text,
    detail text,
    answer bytea,
    more_messages smallint[],
    more_at integer[],
    more_durations real[],
    more_keys text[],
    CONSTRAINT answer_is_at_most_16_kib CHECK ((octet_length(answer) <= 16384)),
    CONSTRAINT their_messages_are_within_1000 CHECK ((last_message_id < (message_id + 1000))),
    CONSTRAINT there_are_at_most_32 CHECK ((cardinality(more_messages) <= 31))
)
PARTITION BY RANGE (id);

ALTER TABLE ONLY outbox.attempt_log REPLICA IDENTITY FULL;


--
-- Name: attempt; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.attempt AS
 SELECT (log.id + one.place) AS id,
    log.subscription_id,
    one.message_id,
    one.idempotency_key,
    log.number,
    one.at,
    one.duration_seconds,
    log.status,
    log.error,
    log.detail,
    log.next_at,
    log.answer,
    log.relay,
    log.id AS log_id
   FROM (outbox.attempt_log log
     CROSS JOIN LATERAL ( SELECT 0 AS place,
            log.message_id,
            log.idempotency_key,
            log.at,
            log.duration_seconds
        UNION ALL
         SELECT generate_subscripts(log.more_messages, 1) AS generate_subscripts,
            (log.message_id + unnest(log.more_messages)),
            unnest(log.more_keys) AS unnest,
            (log.at + ((unnest(log.more_at))::double precision * '00:00:00.000001'::interval)),
            unnest(log.more_durations) AS unnest) one);


--
-- Name: attempts_at(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.attempts_at(message_id bigint) RETURNS SETOF outbox.attempt
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT attempt.id,
     attempt.subscription_id,
     attempt.message_id,
     attempt.idempotency_key,
     attempt.number,
     attempt.at,
     attempt.duration_seconds,
     attempt.status,
     attempt.error,
     attempt.detail,
     attempt.next_at,
     attempt.answer,
     attempt.relay,
     attempt.log_id
    FROM (( SELECT log.subscription_id,
             log.id
            FROM outbox.attempt_log log
           WHERE ((log.last_message_id IS NULL) AND (log.message_id = attempts_at.message_id))
         UNION ALL
          SELECT log.subscription_id,
             log.id
            FROM outbox.attempt_log log
           WHERE ((log.last_message_id >= attempts_at.message_id) AND ((log.message_id >= (attempts_at.message_id - 999)) AND (log.message_id <= attempts_at.message_id)))) found
      JOIN outbox.attempt ON (((attempt.subscription_id = found.subscription_id) AND (attempt.log_id = found.id))))
   WHERE (attempt.message_id = attempts_at.message_id);
END;


--
-- Name: begin_session(bytea, bytea); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.begin_session(key_hash bytea, session_hash bytea) RETURNS TABLE(id bigint, name text, scopes text[], channels text[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    k record;
begin
    select used.* into k from outbox.use_key(begin_session.key_hash) as used;
    if not found then
        return;
    end if;
    delete from outbox.console_session where expires_at <= clock_timestamp();
    delete from outbox.console_session where hash in (
        select hash from outbox.console_session where api_key_id = k.id order by expires_at desc offset 19);
    insert into outbox.console_session (hash, api_key_id, expires_at)
    values (begin_session.session_hash, k.id, clock_timestamp() + interval '12 hours');
    return query select k.id, k.name, k.scopes, k.channels;
end
$$;


--
-- Name: channel_allowed(text, text[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.channel_allowed(channel text, patterns text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from unnest(patterns) as pattern where outbox.channel_fits(channel, pattern))
$$;


--
-- Name: channel_cursor_target(bigint, pg_snapshot); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.channel_cursor_target(channel_cursor_id bigint, seen pg_snapshot) RETURNS pg_snapshot
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select origin.position
    from (
        select coalesce(latest.target, latest.seen) as position
        from outbox.cursor as channel_cursor
        join outbox.cursor as origin
            on origin.subscription_id = channel_cursor.subscription_id and origin.shard = channel_cursor.shard
            and origin.priority = channel_cursor.priority and origin.channel is null
        cross join lateral (
            select target, checkpoint.seen from outbox.checkpoint
            where cursor_id = origin.id order by n desc limit 1
        ) as latest
        where channel_cursor.id = channel_cursor_target.channel_cursor_id
    ) as origin
    where origin.position::text <> channel_cursor_target.seen::text
      and pg_snapshot_xmax(channel_cursor_target.seen) <= pg_snapshot_xmax(origin.position)
      and not exists (
          select from pg_snapshot_xip(origin.position) as xid
          where pg_visible_in_snapshot(xid, channel_cursor_target.seen))
$$;


--
-- Name: channel_fits(text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.channel_fits(channel text, pattern text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ("right"(pattern, 1) <> '*'::text) THEN (channel = pattern) ELSE (starts_with(channel, "left"(pattern, '-1'::integer)) AND (starts_with(pattern, 'outbox.'::text) OR (NOT starts_with(channel, 'outbox.'::text)))) END;


--
-- Name: channel_patterns_valid(text[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.channel_patterns_valid(patterns text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select cardinality(patterns) between 1 and 100
       and not exists (
            select from unnest(patterns) as pattern
            where pattern is null or pattern !~ '^[A-Za-z0-9._-]{1,200}[*]?$')
$_$;


--
-- Name: channels_allowed(text[], text[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.channels_allowed(channels text[], patterns text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select patterns is null
        or not exists (select from unnest(channels) as channel where not outbox.channel_allowed(channel, patterns))
$$;


--
-- Name: channels_with_room(bigint, text[], boolean[], bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.channels_with_room(subscription_id bigint, channels text[], temporary boolean[], most bigint) RETURNS SETOF text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with asked as materialized (
        select asked.channel, asked.temporary, asked.place
        from unnest(channels_with_room.channels, channels_with_room.temporary)
                 with ordinality as asked (channel, temporary, place)
    ), waiting as materialized (
        select cursor.id, cursor.channel from outbox.cursor
        where cursor.subscription_id = channels_with_room.subscription_id and cursor.waiting_since is not null
    ), pattern as materialized (
        select distinct api_key.name, pattern
        from outbox.api_key
        cross join unnest(api_key.channels) as pattern
        where coalesce(least(revoked_at, expires_at), 'infinity') > (
            select coalesce(min(from_time), '-infinity')
            from outbox.known_partition join outbox.attached_partition using (parent, number)
            where parent = 'outbox.message')
    ), limited as materialized (
        select distinct pattern.name, asked.channel, asked.place
        from asked join pattern on outbox.channel_fits(asked.channel, pattern.pattern)
        where not asked.temporary
    ), used as (
        select pattern.name, count(distinct waiting.id) as cursors
        from waiting join pattern on outbox.channel_fits(waiting.channel, pattern.pattern)
        where pattern.name in (select limited.name from limited)
        group by pattern.name
    ), numbered as (
        select limited.channel,
               coalesce(used.cursors, 0) + row_number() over (partition by limited.name order by limited.place) as number
        from limited left join used using (name)
    ), judged as (
        select channel, max(number) > greatest(most / 10, 1) as is_beyond from numbered group by channel
    ), admitted as (
        select asked.channel, judged.channel is not null as is_limited,
               row_number() over (order by judged.channel is not null, asked.place) as number
        from asked left join judged using (channel)
        where judged.is_beyond is not true
    )
    select channel from admitted
    where number + (select count(*) from waiting) <= most - case when is_limited then greatest(most / 10, 1) else 0 end
$$;


--
-- Name: check_event_type(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.check_event_type() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    -- By outbox.publish_checked: the column is granted to nobody.
    found_by_service constant integer := new.type_version;
    known record;
    fault record;
begin
    -- Only what is found here says which version it fits.
    new.type_version := null;
    select t.id, t.enforcement, t.channels, v.version, v.decides, v.checks,
           exists (select from outbox.published_event_type as p where p.event_type_id = t.id) as published
    into known
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id and v.version = t.version
    where t.type = new.type and t.enforcement <> 'off' and (t.of_key is null or new.channel = any (t.channels));
    -- A payload of NULL the table itself refuses.
    if not found or new.payload is null then
        return new;
    end if;
    -- Who deletes the type waits for those whose messages are the first of it, and they for nobody but him.
    if not known.published then
        perform from outbox.event_type as t where t.id = known.id for key share;
        if not found then
            return new;
        end if;
    end if;
    if known.decides is null and known.enforcement = 'report' then
        new.type_version := case found_by_service when known.version then known.version end;
    elsif new.channel = any (known.channels) and outbox.payload_fits(new.payload, known.decides, known.checks) then
        new.type_version := known.version;
    else
        select * into fault from outbox.event_faults(known.id, new.channel, new.payload, 1);
        if known.enforcement = 'refuse' then
            perform outbox.refuse_event(new.type, known.version, fault.pointer, fault.keyword, fault.detail);
        end if;
        insert into outbox.event_type_fault (event_type_id, version, message_id, channel, pointer, keyword)
        values (known.id, known.version, new.id, new.channel,
                left(coalesce(fault.pointer, ''), 1000), coalesce(fault.keyword, 'schema'));
    end if;
    if not known.published then
        insert into outbox.published_event_type (event_type_id) values (known.id);
    end if;
    return new;
end
$$;


--
-- Name: check_settings(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.check_settings() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    fault text;
begin
    if tg_op = 'UPDATE' and new.kind <> old.kind then
        raise exception 'outbox.subscription.kind is fixed at creation: make a new subscription of kind %', new.kind
            using errcode = 'check_violation', column = 'kind';
    end if;
    if jsonb_typeof(new.settings) <> 'object' then
        raise exception 'settings must be a JSON object' using errcode = 'check_violation', column = 'settings';
    end if;
    fault := case new.kind when 'http' then outbox.http_settings_fault(new.settings)
                           when 'kafka' then outbox.kafka_settings_fault(new.settings, new.channels)
                           when 'sqs' then outbox.sqs_settings_fault(new.settings)
                           when 'pubsub' then outbox.pubsub_settings_fault(new.settings, new.channels) end;
    if fault is not null then
        raise exception '%', fault using errcode = 'check_violation', column = 'settings';
    end if;
    if new.delivery = 'exactly_once' and new.kind = 'kafka' and new.settings ? 'namespace' then
        -- What a cursor notes may be longer, and is noted at every run.
        raise exception 'settings.delivery must be at_least_once: with an offset Event Hubs keep at most 1024 bytes, take'
                        ' 4 commits a second and promise no transactions'
            using errcode = 'check_violation', column = 'settings';
    end if;
    if tg_op = 'UPDATE' and (new.settings ? 'namespace') <> (old.settings ? 'namespace') then
        raise exception 'settings.namespace can not be %: make a new connector',
            case when new.settings ? 'namespace' then 'given to what goes to Kafka' else 'left out' end
            using errcode = 'check_violation', column = 'settings';
    end if;
    if tg_op = 'UPDATE' and outbox.other_cluster(new.settings) <> outbox.other_cluster(old.settings) then
        -- What it waits for was of the former cluster.
        new.waiting_since := null;
        new.waiting_reason := null;
    end if;
    return new;
end
$$;


--
-- Name: check_source(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.check_source() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    fault text := outbox.source_settings_fault(new.kind, new.settings, new.channel);
    known text;
begin
    if tg_op = 'UPDATE' and new.kind <> old.kind then
        raise exception 'outbox.source.kind is fixed at creation' using errcode = 'check_violation', column = 'kind';
    end if;
    if tg_op = 'UPDATE' and new.priority <> old.priority then
        raise exception 'outbox.source.priority is fixed at creation: what comes later could overtake what came before'
            using errcode = 'check_violation', column = 'priority';
    end if;
    if fault is not null then
        raise exception '%', fault using errcode = 'check_violation', column = 'settings';
    end if;
    foreach known in array array['topic', 'queue_url'] loop
        if tg_op = 'UPDATE' and new.settings ->> known <> old.settings ->> known then
            raise exception 'settings.% is fixed at creation, since positions, receipts and dead letters are of it: make a '
                            'new connector', known using errcode = 'check_violation', column = 'settings';
        end if;
    end loop;
    return new;
end
$$;


--
-- Name: clear_acked(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.clear_acked(cursor_id bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
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


--
-- Name: close_breaker(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.close_breaker() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update outbox.breaker
    set failing_since = null, refused = 0, refused_since = null, refused_at = null, opened_at = null,
        retry_at = null, token = null, closed_at = clock_timestamp()
    where subscription_id = new.id;
    return null;
end
$$;


--
-- Name: connect(text, text, text, jsonb, text[], integer, text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.connect(name text, channel text, type text, config jsonb, types text[] DEFAULT NULL::text[], shards integer DEFAULT 1, delivery text DEFAULT 'at_least_once'::text, made_by text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_variable
declare
    required        text;
    subscription_id bigint;
begin
    required := case type when 'kafka' then 'brokers' when 'event_hubs' then 'namespace' when 'sqs' then 'queue_url'
                          when 'pubsub' then 'project' end;
    if required is null then
        raise exception 'type must be kafka, event_hubs, sqs or pubsub'
            using errcode = 'check_violation', column = 'type';
    end if;
    if jsonb_typeof(config) <> 'object' then
        raise exception 'settings must be a JSON object' using errcode = 'check_violation', column = 'settings';
    end if;
    if config ? required is not true then
        raise exception 'settings.% is required', required using errcode = 'check_violation', column = 'settings';
    end if;
    insert into outbox.subscription as s (name, kind, channels, types, shards, delivery, settings, made_by)
    -- To Event Hubs it goes as to any other cluster.
    values (name, case type when 'event_hubs' then 'kafka' else type end, array[channel], types, shards, delivery, config,
            made_by)
    returning s.id into subscription_id;
    return subscription_id;
end
$$;


--
-- Name: connect_in(text, text, text, jsonb, integer, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.connect_in(name text, channel text, type text, config jsonb, priority integer DEFAULT 3, made_by text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_variable
declare
    source_id bigint;
begin
    if type in ('kafka', 'sqs') is not true then
        raise exception 'type must be kafka or sqs' using errcode = 'check_violation', column = 'type';
    end if;
    insert into outbox.source as s (name, kind, channel, priority, settings, made_by)
    values (name, type, channel, priority, config, made_by)
    returning s.id into source_id;
    return source_id;
end
$$;


--
-- Name: connector_topic(jsonb, text[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.connector_topic(settings jsonb, channels text[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (settings ?| ARRAY['topic'::text, 'event_hub'::text]) THEN COALESCE((settings ->> 'topic'::text), (settings ->> 'event_hub'::text)) WHEN ((settings ?| ARRAY['brokers'::text, 'namespace'::text, 'project'::text]) AND (cardinality(channels) = 1)) THEN (COALESCE((settings ->> 'topic_prefix'::text), ''::text) || (channels)[1]) ELSE ''::text END;


--
-- Name: count_deliveries(bigint, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.count_deliveries(subscription_id bigint, at_most integer) RETURNS TABLE(untried bigint, retrying bigint, in_flight bigint, behind bigint, parked bigint, next_due_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER COST 10000 ROWS 1
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
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


--
-- Name: current_snapshot(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.current_snapshot() RETURNS pg_snapshot
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (now.own < pg_snapshot_xmax(now.here)) THEN (format('%s:%s:%s'::text, LEAST(pg_snapshot_xmin(now.here), now.own), pg_snapshot_xmax(now.here), ( SELECT string_agg((in_progress.xid)::text, ','::text ORDER BY in_progress.xid) AS string_agg
                FROM ( SELECT pg_snapshot_xip(now.here) AS pg_snapshot_xip
                     UNION
                      SELECT now.own) in_progress(xid))))::pg_snapshot
             ELSE now.here
         END AS here
    FROM ( SELECT pg_current_snapshot() AS pg_current_snapshot,
             pg_current_xact_id_if_assigned() AS pg_current_xact_id_if_assigned) now(here, own);
END;


--
-- Name: delete_subscription(text, boolean); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.delete_subscription(name text, discard_undelivered boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
    -- First, since only the holder of a cursor takes messages from the log and writes dead letters.
    perform from outbox.cursor as c join outbox.subscription as s on s.id = c.subscription_id
    where s.name = delete_subscription.name order by c.id for update of c;
    -- For the trigger guard_undelivered.
    perform set_config('outbox.discards', case when discard_undelivered then 'on' else 'off' end, true);
    delete from outbox.subscription as s where s.name = delete_subscription.name;
    if not found then
        raise exception 'there is no subscription %', delete_subscription.name using errcode = 'no_data_found';
    end if;
    perform set_config('outbox.discards', 'off', true);
end
$$;


--
-- Name: delivery_state(timestamp with time zone, bigint, text, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.delivery_state(due_at timestamp with time zone, token bigint, outcome text, attempts integer DEFAULT NULL::integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (due_at IS NULL) THEN 'behind'::text WHEN (due_at = 'infinity'::timestamp with time zone) THEN 'parked'::text WHEN ((token IS NOT NULL) OR (outcome IS NOT NULL)) THEN 'in_flight'::text WHEN (attempts = 0) THEN 'untried'::text ELSE 'retrying'::text END;


--
-- Name: dependents_of(regclass); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.dependents_of(relation regclass, OUT dependents text, OUT may_go boolean) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    with recursive own as (
        select 'pg_class'::regclass::oid as classid, relation::oid as objid
        union
        select depend.classid, depend.objid
        from own join pg_depend as depend on (depend.refclassid, depend.refobjid) = (own.classid, own.objid)
        where depend.deptype <> 'n'
    ), reached as (
        select depend.classid, depend.objid, depend.classid as through_classid, depend.objid as through_objid
        from own join pg_depend as depend on (depend.refclassid, depend.refobjid) = (own.classid, own.objid)
        where depend.deptype = 'n' and (depend.classid, depend.objid) not in (select classid, objid from own)
        union
        -- What depends on it, and the whole of which it is a part, as a view is of its rule.
        select following.classid, following.objid, reached.through_classid, reached.through_objid
        from reached
        cross join lateral (
            select classid, objid from pg_depend where (refclassid, refobjid) = (reached.classid, reached.objid)
            union all
            select refclassid, refobjid from pg_depend
            where (classid, objid) = (reached.classid, reached.objid) and deptype = 'i'
        ) as following
    ), bounded as materialized (
        select * from reached limit 101
    ), named as (
        select coalesce(pg_describe_object('pg_class'::regclass, rule.ev_class, 0),
                        pg_describe_object(bounded.through_classid, bounded.through_objid, 0), 'an object that went')
                   || coalesce(' of ' || owner.refobjid::regrole, '') as name,
               bool_and(coalesce(address.object_names[1] ~ '^pg_(toast_)?temp(_[0-9]+)?(\.|$)', true)) as is_temporary
        from bounded
        cross join lateral pg_identify_object_as_address(bounded.classid, bounded.objid, 0) as address
        left join pg_rewrite as rule
            on bounded.through_classid = 'pg_rewrite'::regclass and rule.oid = bounded.through_objid
        left join pg_shdepend as owner
            on owner.dbid = (select oid from pg_database where datname = current_database())
           and (owner.classid, owner.objid) = (
                   case when rule.oid is null then bounded.through_classid else 'pg_class'::regclass end,
                   coalesce(rule.ev_class, bounded.through_objid))
           and owner.deptype = 'o'
        group by 1
    )
    select case when (select count(*) from bounded) > 100 then 'more than 100 objects, such as ' else '' end
               || left(string_agg(name, ', ' order by name), 500),
           bool_and(is_temporary) and (select count(*) from bounded) <= 100
    from named
$_$;


--
-- Name: disable(bigint, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.disable(subscription_id bigint, reason text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    disabled boolean;
begin
    -- For the trigger tell_pause.
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


--
-- Name: disable_if_dead(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.disable_if_dead(subscription_id bigint) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: discard_source_dead_letters(bigint, bigint[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.discard_source_dead_letters(source_id bigint, ids bigint[]) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    with gone as (
        delete from outbox.source_dead_letter as dead_letter
        where num_nonnulls($1, $2) > 0 and ($1 is null or dead_letter.source_id = $1)
          and ($2 is null or dead_letter.id = any ($2))
        returning 1
    )
    select count(*) from gone
$_$;


--
-- Name: drop_channel(text, text, boolean); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.drop_channel(channel text, subscription text DEFAULT NULL::text, dry_run boolean DEFAULT false) RETURNS TABLE(subscription_name text, messages bigint, more boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    channel_cursor record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.drop_channel runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
    end if;
    if not dry_run then
        perform from outbox.cursor
        where cursor.channel = drop_channel.channel and waiting_since is not null order by id for no key update;
    end if;
    for channel_cursor in
        select cursor.id, cursor.subscription_id, s.name, latest.n
        from outbox.cursor
        join outbox.subscription as s on s.id = cursor.subscription_id
        cross join lateral (
            select n from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
        ) as latest
        where cursor.channel = drop_channel.channel and cursor.waiting_since is not null
          and (drop_channel.subscription is null or s.name = drop_channel.subscription)
        order by cursor.id
    loop
        subscription_name := channel_cursor.name;
        select count(*) filter (where wanted), count(*) > 100000 into messages, more
        from outbox.unread(channel_cursor.id, 100001);
        if not dry_run then
            -- The origin may still be behind this point, and merges the channel cursor when it has come here.
            insert into outbox.checkpoint (cursor_id, n, seen, relay)
            values (channel_cursor.id, channel_cursor.n + 1, outbox.current_snapshot(), '');
            update outbox.cursor set waiting_since = null, waiting_reason = null where id = channel_cursor.id;
            perform outbox.tell(channel_cursor.subscription_id, 'subscription.channel_dropped',
                                json_build_object('channel', channel, 'messages', messages, 'more', more));
        end if;
        return next;
    end loop;
    if not found then
        raise exception 'no channel % waits for its topic', channel using errcode = 'no_data_found';
    end if;
end
$$;


--
-- Name: drop_event_check(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.drop_event_check() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '80ms'
    AS $$
declare
    now constant bigint := extract(epoch from clock_timestamp())::bigint;
begin
    if not exists (select from pg_trigger
                   where tgrelid = 'outbox.message'::regclass and tgname = 'check_event_type')
       or exists (select from outbox.event_type where enforcement <> 'off')
       or exists (select from outbox.event_check_missed where now - last_value between 0 and 5) then
        return false;
    end if;
    -- Who enforces a type meanwhile waits here, and then finds that the check is gone.
    lock table outbox.event_type in share mode;
    if exists (select from outbox.event_type where enforcement <> 'off') then
        return false;
    end if;
    drop trigger check_event_type on outbox.message;
    return true;
exception when lock_not_available then
    perform setval('outbox.event_check_missed', now);
    return false;
end
$$;


--
-- Name: drop_event_type(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.drop_event_type(type text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    known        outbox.event_type;
    is_published boolean;
begin
    select t.* into known from outbox.event_type as t where t.type = drop_event_type.type;
    if not found then
        return false;
    end if;
    is_published := exists (
        select from generate_series(1, 5) as class
        cross join lateral (
            select from outbox.message as m
            where m.priority::integer = class and m.id + 0 > known.after_id and m.type = known.type
              and (known.of_key is null or m.channel = any (known.channels))
            limit 1
        ) as published);
    if not is_published then
        -- After the log, which may take long: who publishes the first message waits for this lock, as it does for him.
        perform from outbox.event_type as t where t.id = known.id for update;
        is_published := exists (select from outbox.published_event_type as p where p.event_type_id = known.id);
    end if;
    if is_published then
        raise exception 'messages of type % were published', known.type
            using errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'type',
                  constraint = 'only_a_type_that_nobody_published_is_deleted',
                  hint = 'Let it stand, with enforcement off.';
    end if;
    delete from outbox.event_type as t where t.id = known.id;
    return found;
end
$$;


--
-- Name: drop_table(regclass); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.drop_table(relation regclass) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $$
declare
    -- NULL: nothing depends on it.
    with_them constant boolean := (select may_go from outbox.dependents_of(relation));
begin
    if not with_them then
        return false;
    end if;
    execute format('drop table %s %s', relation, case when with_them then 'cascade' end);
    return true;
exception when dependent_objects_still_exist then  -- it came since
    return false;
end
$$;


--
-- Name: end_session(bytea); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.end_session(hash bytea) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    delete from outbox.console_session as session where session.hash = end_session.hash;
end
$$;


--
-- Name: end_source(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.end_source(source_id bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- Before the source itself, as a batch locks them: its dead letters refer to the source.
    perform from outbox.source_position as p where p.source_id = end_source.source_id
    order by p.topic, p.partition for update;
    delete from outbox.source as s where s.id = end_source.source_id;
    return found;
end
$$;


--
-- Name: equip_push(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.equip_push() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into outbox.breaker (subscription_id) values (new.id);
    insert into outbox.rate_limit (subscription_id) values (new.id);
    insert into outbox.answer_budget (subscription_id) values (new.id);
    if new.kind = 'http' then
        insert into outbox.secret (subscription_id, key) values (new.id, outbox.random_key());
    end if;
    return null;
end
$$;


--
-- Name: event_channels_valid(text[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.event_channels_valid(channels text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select cardinality(channels) between 1 and 100
       and not exists (
            select from unnest(channels) as channel
            where channel is null or channel !~ '^[A-Za-z0-9._-]{1,200}$' or channel in ('.', '..')
               or starts_with(channel, 'outbox.'))
$_$;


--
-- Name: event_faults(bigint, text, bytea, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.event_faults(event_type_id bigint, channel text, payload bytea, at_most integer) RETURNS TABLE(pointer text, keyword text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select fault.pointer, fault.keyword, fault.detail
    from outbox.event_type as known
    join outbox.event_type_version as version
        on version.event_type_id = known.id and version.version = known.version
    cross join lateral (
        select '' as pointer, 'channel' as keyword,
               'the type is registered for ' || array_to_string(known.channels, ', ') as detail
        where event_faults.channel <> all (known.channels) and known.of_key is null
        union all
        select found.pointer, found.keyword, found.detail
        from outbox.payload_faults(
                 event_faults.payload, version.singles, version.checks,
                 case when outbox.payload_fits(event_faults.payload, version.decides, version.checks) then 0
                      else event_faults.at_most end) as found
    ) as fault
    where known.id = event_faults.event_type_id
    limit event_faults.at_most
$$;


--
-- Name: event_type_line(text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.event_type_line(type text, schema text) RETURNS TABLE(event_type_id bigint, version integer, written text, is_same boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select t.id, v.version, v.schema, v.schema::jsonb = event_type_line.schema::jsonb
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id
    where t.type = event_type_line.type
      and v.version >= coalesce((select max(anew.version) from outbox.event_type_version as anew
                                 where anew.event_type_id = t.id and anew.compatibility = 'none'), 1)
    order by v.version
$$;


--
-- Name: find_messages(text, text, text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.find_messages(idempotency_key text DEFAULT NULL::text, group_key text DEFAULT NULL::text, channel text DEFAULT NULL::text, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, upto_time timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(message_ids bigint[], looked bigint, looked_from timestamp with time zone, more boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $_$
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
$_$;


--
-- Name: finished_ranges(xid8); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.finished_ranges(first xid8) RETURNS TABLE(from_xid xid8, before_xid xid8)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT finished.from_xid,
     finished.before_xid
    FROM ( SELECT COALESCE((((((lag(in_progress.xid) OVER (ORDER BY in_progress.xid))::text)::bigint + 1))::text)::xid8, finished_ranges.first) AS from_xid,
             in_progress.xid AS before_xid
            FROM (( SELECT xid.xid
                    FROM pg_snapshot_xip(pg_current_snapshot()) xid(xid)
                   WHERE (xid.xid >= finished_ranges.first)
                   ORDER BY xid.xid
                  LIMIT 100)
                 UNION ALL
                  SELECT pg_snapshot_xmax(pg_current_snapshot()) AS pg_snapshot_xmax) in_progress) finished
   WHERE (finished.from_xid < finished.before_xid);
END;


--
-- Name: first_id_at(integer, timestamp with time zone); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.first_id_at(class integer, since timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: first_id_since(timestamp with time zone); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.first_id_since(since timestamp with time zone) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- A message draws its id before its time: a minute is allowed between the two.
    select coalesce(max(id), 0) from outbox.log_mark where at <= since - interval '1 minute'
$$;


--
-- Name: foreign_cluster(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.foreign_cluster() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
    -- No session can have seen a transaction of this cluster at or beyond it.
    here     xid8 := pg_snapshot_xmax(pg_current_snapshot());
    recorded bigint;
    actual   bigint;
    found_id bigint;
begin
    select system_identifier into recorded from outbox.installation;
    select system_identifier into actual from pg_control_system();
    if recorded is distinct from actual then
        return format('The database was moved to another cluster: it was made in %s, this is %s.',
                      coalesce(recorded::text, 'an unknown one'), actual);
    end if;

    select cursor.id into found_id
    from outbox.cursor
    cross join lateral (
        select coalesce(target, seen) as position
        from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
    ) as latest
    where pg_snapshot_xmax(latest.position) > here
    limit 1;
    if found then
        return format('Cursor %s has seen transactions that this cluster has not reached (%s).', found_id, here);
    end if;

    select ahead.id into found_id
    from generate_series(1, 5) as class
    cross join lateral (
        select id from outbox.message where priority = class and xid >= here limit 1
    ) as ahead
    limit 1;
    if found then
        return format('Message %s was written by a transaction that this cluster has not reached (%s).',
                      found_id, here);
    end if;
    return null;
end
$$;


--
-- Name: forget_marks(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.forget_marks() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: give_no_id_twice(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.give_no_id_twice() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform outbox.advance_sequence('outbox.message', greatest(
        (select max(message_id) from outbox.dead_letter),
        (select max(upto_id) from outbox.checkpoint),
        (select max(id) from outbox.log_mark)));
    return null;
end
$$;


--
-- Name: guard_own_channels(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.guard_own_channels() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not pg_has_role(current_user, (select relowner from pg_class where oid = 'outbox.message'::regclass),
                       'usage') then
        perform outbox.refuse_own_channel(new.channel);
    end if;
    return new;
end
$$;


--
-- Name: guard_undelivered(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.guard_undelivered() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    obstacle text;
begin
    perform from outbox.cursor where subscription_id = old.id order by id for update nowait;
    if current_setting('outbox.discards', true) is distinct from 'on' then
        -- What was acknowledged after its run is delivered, and no obstacle.
        perform outbox.clear_acked(id) from outbox.cursor where subscription_id = old.id;
        obstacle := outbox.undelivered(old.id);
    end if;
    if obstacle is not null then
        raise exception 'subscription % still has %', old.name, obstacle using
            errcode = 'dependent_objects_still_exist',
            hint = format('Let them arrive, dead letters by a redrive, or lose them: '
                          'select outbox.delete_subscription(%L, discard_undelivered => true)', old.name);
    end if;
    -- The dead letters without rows first, which are most: meanwhile an outcome can still be written to its row.
    delete from outbox.dead_letter where subscription_id = old.id
        and not exists (select from outbox.delivery where dead_letter_id = dead_letter.id);
    delete from outbox.delivery where cursor_id in (select id from outbox.cursor where subscription_id = old.id);
    delete from outbox.dead_letter where subscription_id = old.id;
    return old;
exception when lock_not_available then
    raise exception 'a relay is at work for subscription % at this moment', old.name using
        errcode = 'lock_not_available',
        hint = format('This waits for it: select outbox.delete_subscription(%L)', old.name);
end
$$;


--
-- Name: has_unread(bigint, timestamp with time zone); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.has_unread(cursor_id bigint, give_up_at timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
declare
    c      outbox.cursor_reading;
    wanted boolean;
begin
    select * into strict c from outbox.cursor_reading as reading where reading.cursor_id = has_unread.cursor_id;

    -- The first message that is wanted, or the one that it has come to when the time is over. The four ways into the
    -- log are those of outbox.unread.
    select is_wanted into wanted
    from (
        select (c.only_channel is null or log.channel = c.only_channel)
               and not log.channel = any (c.set_aside)
               and outbox.wants(c.channels, c.types, log.channel, log.type)
               and outbox.shard_of(log.group_key, log.id, c.shards) = c.shard as is_wanted
        from (
            select m.id, m.channel, m.type, m.group_key
            from outbox.message as m
            where m.priority = c.priority and m.xid = any (c.late_xids) and m.id > c.after_id and m.id < c.fresh_id
            union all
            select m.id, m.channel, m.type, m.group_key
            from outbox.message as m
            where m.priority::integer = c.priority::integer
              and m.id + 0 >= greatest(c.fresh_id, c.after_id + 1) and m.id + 0 <= c.upto_id
              and not pg_visible_in_snapshot(m.xid, c.seen) and pg_visible_in_snapshot(m.xid, c.target)
            union all
            select m.id, m.channel, m.type, m.group_key
            from outbox.message as m
            where m.priority = c.priority and m.xid = any (c.next_late_xids)
            union all
            select m.id, m.channel, m.type, m.group_key
            from outbox.finished_ranges(pg_snapshot_xmax(c.horizon)) as finished
            cross join lateral (
                select message.* from outbox.message
                where priority = c.priority and xid >= finished.from_xid and xid < finished.before_xid
                offset 0
            ) as m
        ) as log
    ) as looked_at
    where is_wanted or clock_timestamp() >= give_up_at
    limit 1;
    return case when wanted is null then false when wanted then true end;
end
$$;


--
-- Name: headers_are_plain(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.headers_are_plain(headers text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $_$
declare
    -- Of text without a backslash each fourth part between quotes is a name.
    parts text[];
    name  text;
    seen  text[] := '{}';
begin
    if octet_length(headers) > 16384
       or headers !~ ('^\{"[A-Za-z0-9_-]+": ?"[^"\\\x01-\x1f\x7f]*"'
                      '(, ?"[A-Za-z0-9_-]+": ?"[^"\\\x01-\x1f\x7f]*")*\}$') then
        return false;
    end if;
    parts := string_to_array(replace(lower(headers collate "C"), '_', '-'), '"');
    if cardinality(parts) > 4 * 100 + 1 then
        return false;
    end if;
    for place in 2..cardinality(parts) by 4 loop
        name := parts[place];
        if name = any (seen) or length(name) > 128 or outbox.is_withheld(name) then
            return false;
        end if;
        seen := seen || name;
    end loop;
    return true;
end
$_$;


--
-- Name: headers_fault(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.headers_fault(headers text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $_$
declare
    name   text;
    value  text;
    kind   text;
    folded text;
    seen   text[] := '{}';
    fault  text;
begin
    fault := case
        when octet_length(headers) > 16384 then 'headers are larger than 16384 bytes'
        when json_typeof(headers::json) <> 'object' then 'headers are no JSON object'
    end;
    if fault is not null then
        return fault;
    end if;
    -- JSON can write characters that no text can hold. The pattern keeps the costly exception block for headers that
    -- may have one.
    if headers ~* '\\u(0000|d[89a-f])' then
        begin
            perform from json_each(headers::json);
        exception when untranslatable_character or invalid_text_representation then
            return 'headers hold a NUL (\u0000) or half a surrogate pair, which is no text';
        end;
    end if;
    for name, value, kind in
        select header.name, header.value #>> '{}', json_typeof(header.value)
        from json_each(headers::json) as header (name, value)
    loop
        folded := translate(lower(name collate "C"), '!#$%&''*+.^_`|~', '--------------');
        fault := case
            when cardinality(seen) = 100 then 'headers are more than 100'
            -- By its length apart: a pattern that counts to 128 takes a hundred times as long.
            when length(name) > 128 or name !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$'
                then format('header %s: a name is a token of 1 to 128 letters, digits, dashes and the like',
                            to_json(left(name, 128)))
            when kind <> 'string' then format('header %s: its value is no string', to_json(name))
            when value ~ '[\x01-\x1f\x7f]' then format('header %s: its value has control characters', to_json(name))
            when outbox.is_withheld(folded)
                then format('header %s: this name is not a message''s own to set', to_json(name))
            when folded = any (seen)
                then format('header %s: it is there twice, where a server folds case and punctuation', to_json(name))
        end;
        if fault is not null then
            return fault;
        end if;
        seen := seen || folded;
    end loop;
    return null;
end
$_$;


--
-- Name: hold_for_outcomes(bigint[], bigint[], bigint[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.hold_for_outcomes(probed bigint[], gone bigint[], failed bigint[]) RETURNS bigint[]
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
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


--
-- Name: hold_half_open(bigint, bigint, double precision); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.hold_half_open(subscription_id bigint, token bigint, lease_seconds double precision) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: hold_maintenance(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.hold_maintenance() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '1s'
    AS $$
begin
    begin
        lock table outbox.maintenance in row exclusive mode;
    exception when lock_not_available then
        return false;
    end;
    -- Not within the block above: by the transaction that locks the row its session is found.
    perform from outbox.maintenance for update skip locked;
    return found;
end
$$;


--
-- Name: hold_source(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.hold_source(source_id bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
begin
    perform from outbox.source as s where s.id = hold_source.source_id for no key update;
end
$$;


--
-- Name: http_settings_fault(jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.http_settings_fault(settings jsonb) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $_$
    with given as (
        select array[key] as names, value from jsonb_each(settings) where key not in ('retry', 'breaker')
        union all
        select array[part.key, inner_part.key], inner_part.value
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
        select array_to_string(given.names, '.'), case
            when given.names[1] in (select path from outbox.http_setting where path like '%.%') then
                format('is one name: put %s into the object %s', split_part(given.names[1], '.', 2),
                       split_part(given.names[1], '.', 1))
            when known.path is null then
                'is not known; known are ' || (select string_agg(path, ', ' order by path) from outbox.http_setting)
            when kind = 'word' and (jsonb_typeof(value) <> 'string' or value #>> '{}' <> all (words)) then
                'must be one of ' || array_to_string(words, ', ')
            when kind = 'url' and (jsonb_typeof(value) <> 'string' or length(value #>> '{}') > 2048
                                   or value #>> '{}' !~ ('^https?://[^/?#@\s[:cntrl:]]+'
                                                         '(/[^#\s[:cntrl:]]*|\?[^#\s[:cntrl:]]*)?$')) then
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
        from given left join outbox.http_setting as known on string_to_array(known.path, '.') = given.names
    )
    select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
$_$;


--
-- Name: is_done(xid8, bigint, pg_snapshot, pg_snapshot, bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.is_done(xid xid8, message_id bigint, seen pg_snapshot, target pg_snapshot, after_id bigint) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (pg_visible_in_snapshot(xid, seen) OR (((message_id <= after_id) AND pg_visible_in_snapshot(xid, target)) IS TRUE));


--
-- Name: is_withheld(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.is_withheld(folded text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (((folded || '-'::text) ~~ ANY ('{ce-%,webhook-%,proxy-%,sec-%,x-forwarded-%,x-original-%,x-rewrite-%,x-http-method-%}'::text[])) OR (folded = ANY ('{idempotency-key,content-type,replayed,connection,keep-alive,te,trailer,trailers,transfer-encoding,upgrade,http2-settings,content-length,expect,accept,accept-encoding,user-agent,host,x-host,forwarded,via,x-method-override,authorization,cookie,cookie2,set-cookie,set-cookie2,x-real-ip,x-client-ip,x-cluster-client-ip,client-ip,true-client-ip,cf-connecting-ip}'::text[])));


--
-- Name: judge_breaker(bigint, bigint, bigint, bigint, double precision, bigint, double precision, double precision); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.judge_breaker(subscription_id bigint, acked bigint, failed bigint, refused bigint, window_seconds double precision, minimum bigint, threshold double precision, cool_down_seconds double precision, OUT opened boolean, OUT told boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
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


--
-- Name: judge_half_open(bigint, bigint, boolean, boolean, double precision, double precision); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.judge_half_open(subscription_id bigint, token bigint, acked boolean, refused boolean, cool_down_seconds double precision, asked_seconds double precision) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: kafka_settings_fault(jsonb, text[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.kafka_settings_fault(settings jsonb, channels text[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $$
    with security (word) as (
        select case when settings ? 'namespace' then '' else coalesce(settings ->> 'security', 'plaintext') end),
    fault (path, sentence) as (
        select given.key, case
            when known.path is null then
                'is not known; known are ' || (select string_agg(path, ', ' order by path) from outbox.kafka_setting)
            when jsonb_typeof(value) <> 'string' or length(value #>> '{}') > known.longest
                 or value #>> '{}' !~ known.pattern then 'must be ' || known.must_be
            when settings ? 'namespace' and known.path not in ('namespace', 'event_hub', 'credentials') then
                'is not of Event Hubs, which take namespace, event_hub and credentials'
            when known.path = 'event_hub' and not settings ? 'namespace' then
                'is of Event Hubs, which namespace has to name'
            when not settings ?| array['brokers', 'namespace'] and known.path <> 'topic_prefix' then
                'is of another cluster, which brokers have to name'
        end
        from jsonb_each(settings) as given left join outbox.kafka_setting as known on known.path = given.key
        union all
        select 'topic', 'takes no topic_prefix besides' where settings ?& array['topic', 'topic_prefix']
        union all
        select 'topic', 'takes exactly one channel' where settings ? 'topic' and cardinality(channels) is distinct from 1
        union all
        select 'topic', 'is required for a channel with __ in front of its name: such topics are Kafka''s own'
        where settings ? 'brokers' and not settings ? 'topic'
          and exists (select from unnest(channels) as channel
                      where starts_with(coalesce(settings ->> 'topic_prefix', '') || channel, '__'))
        union all
        select name, 'must not be the topic of the relay''s own cursors' from unnest(array['topic', 'event_hub']) as name
        where settings ->> name = 'outbox.cursors'
        union all
        select 'namespace', 'takes exactly one channel'
        where settings ? 'namespace' and cardinality(channels) is distinct from 1
        union all
        select 'credentials', 'is required with a namespace: it names the connection string'
        where settings ? 'namespace' and not settings ? 'credentials'
        union all
        select 'sasl_mechanism', 'is required with security ' || word from security
        where word like 'sasl%' and not settings ? 'sasl_mechanism'
        union all
        select 'sasl_mechanism', 'is for security sasl_plaintext and sasl_ssl' from security
        where word not like 'sasl%' and settings ? 'sasl_mechanism'
        union all
        select 'credentials', 'is required with security ' || word from security
        where word like 'sasl%' and not settings ? 'credentials'
        union all
        select 'credentials', 'is of no use with security plaintext' from security
        where word = 'plaintext' and settings ? 'credentials'
    )
    select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
$$;


--
-- Name: other_cluster(jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.other_cluster(settings jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (settings ?| ARRAY['brokers'::text, 'namespace'::text]) THEN ((((settings - 'topic'::text) - 'topic_prefix'::text) - 'event_hub'::text))::text WHEN (settings ? 'project'::text) THEN ((COALESCE((settings ->> 'endpoint'::text), ''::text) || '/projects/'::text) || COALESCE((settings ->> 'project'::text), ''::text)) ELSE COALESCE((settings ->> 'queue_url'::text), ''::text) END;


--
-- Name: source_cluster(jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.source_cluster(settings jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN outbox.other_cluster(((settings - 'from'::text) - 'unwrap'::text));


SET default_table_access_method = heap;

--
-- Name: subscription; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.subscription (
    id bigint NOT NULL,
    name text NOT NULL,
    kind text DEFAULT 'kafka'::text NOT NULL,
    channels text[],
    read_channels text[],
    types text[],
    delivery text DEFAULT 'at_least_once'::text NOT NULL,
    shards smallint DEFAULT 1 NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    paused_reason text,
    waiting_since timestamp with time zone,
    waiting_reason text,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    made_by text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT channels_are_at_most_1000 CHECK (((cardinality(channels) <= 1000) AND (length(array_to_string(channels, ','::text)) <= 262144))),
    CONSTRAINT channels_hold_no_null CHECK ((array_position(channels, NULL::text) IS NULL)),
    CONSTRAINT delivery_is_at_least_once_or_exactly_once CHECK ((delivery = ANY (ARRAY['at_least_once'::text, 'exactly_once'::text]))),
    CONSTRAINT exactly_once_is_for_kafka CHECK (((delivery = 'at_least_once'::text) OR (kind = 'kafka'::text))),
    CONSTRAINT kind_is_kafka_http_sqs_or_pubsub CHECK ((kind = ANY (ARRAY['kafka'::text, 'http'::text, 'sqs'::text, 'pubsub'::text]))),
    CONSTRAINT made_by_is_at_most_100_characters CHECK ((length(made_by) <= 100)),
    CONSTRAINT name_begins_with_a_letter_or_digit_and_is_no_number CHECK (((name ~ '^[A-Za-z0-9]'::text) AND (name !~ '^[0-9]+$'::text))),
    CONSTRAINT name_is_1_to_100_letters_digits_dots_dashes CHECK (((name ~ '^[A-Za-z0-9._-]+$'::text) AND (length(name) <= 100))),
    CONSTRAINT only_the_paused_have_a_reason CHECK ((paused OR (paused_reason IS NULL))),
    CONSTRAINT queues_and_topics_are_not_for_limited_keys CHECK (((kind <> ALL (ARRAY['sqs'::text, 'pubsub'::text])) OR (made_by IS NULL))),
    CONSTRAINT settings_are_an_object CHECK ((jsonb_typeof(settings) = 'object'::text)),
    CONSTRAINT shards_are_1_to_64 CHECK (((shards >= 1) AND (shards <= 64))),
    CONSTRAINT the_waiting_have_a_reason CHECK (((waiting_since IS NULL) = (waiting_reason IS NULL))),
    CONSTRAINT topics_are_not_outbox_cursors_which_is_the_relays_own CHECK (((kind <> 'kafka'::text) OR (NOT starts_with('outbox.cursors'::text, COALESCE((settings ->> 'topic_prefix'::text), ''::text))) OR ((substr('outbox.cursors'::text, (length(COALESCE((settings ->> 'topic_prefix'::text), ''::text)) + 1)) = ANY (channels)) IS NOT TRUE))),
    CONSTRAINT types_are_at_most_1000 CHECK (((cardinality(types) <= 1000) AND (length(array_to_string(types, ','::text)) <= 262144))),
    CONSTRAINT types_hold_no_null CHECK ((array_position(types, NULL::text) IS NULL))
);


--
-- Name: subscription_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.subscription ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.subscription_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: source; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.source (
    id bigint DEFAULT nextval('outbox.subscription_id_seq'::regclass) NOT NULL,
    name text NOT NULL,
    kind text DEFAULT 'kafka'::text NOT NULL,
    channel text NOT NULL,
    priority smallint DEFAULT 3 NOT NULL,
    settings jsonb NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    paused_reason text,
    waiting_since timestamp with time zone,
    waiting_reason text,
    made_by text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT only_paused_sources_have_a_reason CHECK ((paused OR (paused_reason IS NULL))),
    CONSTRAINT source_channel_is_a_topic_name_and_not_the_platforms_own CHECK (((channel ~ '^[A-Za-z0-9._-]+$'::text) AND (channel <> ALL (ARRAY['.'::text, '..'::text])) AND (length(channel) <= 200) AND (NOT starts_with(channel, 'outbox.'::text)))),
    CONSTRAINT source_kind_is_kafka_or_sqs CHECK ((kind = ANY (ARRAY['kafka'::text, 'sqs'::text]))),
    CONSTRAINT source_made_by_is_at_most_100_characters CHECK ((length(made_by) <= 100)),
    CONSTRAINT source_name_is_1_to_100_letters_digits_dots_dashes CHECK (((name ~ '^[A-Za-z0-9][A-Za-z0-9._-]*$'::text) AND (length(name) <= 100) AND (name !~ '^[0-9]+$'::text))),
    CONSTRAINT source_priority_is_1_to_5 CHECK (((priority >= 1) AND (priority <= 5))),
    CONSTRAINT waiting_sources_have_a_reason CHECK (((waiting_since IS NULL) = (waiting_reason IS NULL)))
);


--
-- Name: leads_round(outbox.subscription, outbox.source); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.leads_round(subscription outbox.subscription, source outbox.source) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN ((outbox.source_cluster((source).settings) <> ''::text) AND (outbox.source_cluster((source).settings) = outbox.other_cluster((subscription).settings)) AND (((subscription).channels IS NULL) OR ((source).channel = ANY ((subscription).channels))) AND (((source).kind = 'sqs'::text) OR (((source).settings ->> 'topic'::text) = COALESCE(((subscription).settings ->> 'topic'::text), ((subscription).settings ->> 'event_hub'::text), (COALESCE(((subscription).settings ->> 'topic_prefix'::text), ''::text) || (source).channel)))));


--
-- Name: make_ahead(text, integer, timestamp with time zone); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.make_ahead(parent text, present integer, upto_time timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    room constant bigint      := outbox.partition_room();
    now  constant timestamptz := clock_timestamp();
    made integer := 0;
    name text;
begin
    -- What lies before is over, also where an operator moved the sequence on.
    update outbox.known_partition as known
    set from_time = least(from_time, make_ahead.upto_time), upto_time = make_ahead.upto_time
    where known.parent = make_ahead.parent and number < present and known.upto_time is null;

    insert into outbox.known_partition (parent, number, from_time, upto_time)
    select attached.parent, number, now, now from outbox.attached_partition as attached
    where attached.parent = make_ahead.parent and number < present
    on conflict do nothing;
    for ahead in present .. present + 1 loop
        if not exists (select from outbox.attached_partition as attached
                       where attached.parent = make_ahead.parent and number = ahead) then
            name := parent || '_' || ahead;
            execute format('create table %s (like %s including defaults including constraints)', name, parent);
            -- LIKE does not copy this.
            if (select relreplident from pg_class where oid = parent::regclass) = 'f' then
                execute format('alter table %s replica identity full', name);
            end if;
            execute format('alter table %s attach partition %s for values from (%s) to (%s)',
                           parent, name, ahead * room, (ahead + 1) * room);
            delete from outbox.known_partition as known where known.parent = make_ahead.parent and number = ahead;
            made := made + 1;
        end if;
        insert into outbox.known_partition (parent, number) values (make_ahead.parent, ahead) on conflict do nothing;
    end loop;
    update outbox.known_partition as known set from_time = coalesce(from_time, now), upto_time = null
    where known.parent = make_ahead.parent and number = present;
    return made;
end
$$;


--
-- Name: make_cursors(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.make_cursors() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    here pg_snapshot := outbox.current_snapshot();
begin
    perform outbox.require_room(new.shards, new.made_by);
    with made as (
        insert into outbox.cursor (subscription_id, shard, priority)
        select new.id, shard, priority
        from generate_series(0, new.shards - 1) as shard, generate_series(1, 5) as priority
        returning id
    )
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select made.id, 0, here, '' from made;
    return null;
end
$$;


--
-- Name: make_key_use(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.make_key_use() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into outbox.api_key_use (api_key_id) values (new.id);
    return null;
end
$$;


--
-- Name: make_partitions(integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.make_partitions(retention_days integer DEFAULT 7) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '200ms'
    AS $$
declare
    log     constant text        := 'outbox.message';
    now     constant timestamptz := clock_timestamp();
    written timestamptz          := now;
    present integer;
begin
    present := outbox.turn_partition(log, retention_days);
    -- A clock may have been ahead when the last messages were written. A day at most is believed, since the owner of
    -- the log may write any time.
    if exists (select from outbox.known_partition where parent = log and number < present and upto_time is null)
        or not exists (select from outbox.log_mark where at > now - interval '1 hour')
    then
        select greatest(now, least(coalesce(max(last.created_at), now), now + interval '1 day')) into written
        from generate_series(1, 5) as class
        cross join lateral (
            select created_at from outbox.message where priority::integer = class order by id + 0 desc limit 1
        ) as last;
        insert into outbox.log_mark (at, id)
        values (written, coalesce(pg_sequence_last_value(pg_get_serial_sequence(log, 'id')::regclass), 0))
        on conflict do nothing;
        delete from outbox.log_mark
        where id < (select coalesce(min(number), 0) * outbox.partition_room()
                    from outbox.attached_partition where parent = log)
          and at < (select max(at) from outbox.log_mark);
    end if;
    return outbox.make_ahead(log, present, written);
exception when lock_not_available then
    return 0;
end
$$;


--
-- Name: merge_channel_cursors(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.merge_channel_cursors(cursor_id bigint) RETURNS bigint[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    origin            outbox.cursor;
    position          text;
    channel_cursor_id bigint;
    merged            bigint[] := '{}';
begin
    select * into origin from outbox.cursor
    where id = merge_channel_cursors.cursor_id and channel is null for no key update;
    select seen::text into position
    from (select seen, target from outbox.checkpoint where cursor_id = origin.id order by n desc limit 1) as latest
    where target is null;
    -- A redrive refers to the channel cursor until its commit: FOR UPDATE skips the cursor then, and makes a later
    -- redrive wait. Of hundreds that stand elsewhere none is locked. Where the others stand is asked again, since the
    -- statement that locks them may not see it.
    for channel_cursor_id in
        select id from outbox.cursor
        where subscription_id = origin.subscription_id and shard = origin.shard and priority = origin.priority
          and channel is not null and waiting_since is null
          and exists (
              select from (
                  select seen, target from outbox.checkpoint
                  where checkpoint.cursor_id = cursor.id order by n desc limit 1
              ) as latest
              where latest.target is null and latest.seen::text = position)
        order by id
        for update skip locked
    loop
        continue when not exists (
            select from (
                select seen, target from outbox.checkpoint
                where checkpoint.cursor_id = channel_cursor_id order by n desc limit 1
            ) as latest
            where latest.target is null and latest.seen::text = position);
        continue when exists (select from outbox.delivery where delivery.cursor_id = channel_cursor_id);
        -- A session that is about to redrive a dead letter holds it, and would wait for the channel cursor.
        continue when (select count(*) from outbox.dead_letter where dead_letter.cursor_id = channel_cursor_id) <>
                      (select count(*) from (
                          select from outbox.dead_letter where dead_letter.cursor_id = channel_cursor_id
                          for update skip locked) as free);
        -- After a replay both may have given up one message. The channel cursor's dead letter is the later one.
        begin
            delete from outbox.dead_letter as former
            using outbox.dead_letter as latter
            where latter.cursor_id = channel_cursor_id and former.cursor_id = origin.id
              and former.message_id = latter.message_id
              and not exists (select from outbox.delivery where dead_letter_id = former.id);
            update outbox.dead_letter set cursor_id = origin.id where dead_letter.cursor_id = channel_cursor_id;
            delete from outbox.cursor where id = channel_cursor_id;
            merged := merged || channel_cursor_id;
        exception when unique_violation then
            -- The origin's dead letter is on its way again.
            null;
        end;
    end loop;
    return merged;
end
$$;


--
-- Name: note_drop(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.note_drop() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: note_filter(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.note_filter() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into outbox.subscription_mark as mark (subscription_id, filter_xid, filter_upto_xid)
    select id, pg_current_xact_id(), greatest(pg_current_xact_id(), pg_snapshot_xmax(pg_current_snapshot()))
    from outbox.subscription where id = new.id
    on conflict (subscription_id) do update
    set filter_xid = excluded.filter_xid, filter_upto_xid = excluded.filter_upto_xid;
    return null;
end
$$;


--
-- Name: note_maintenance(text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.note_maintenance(relay text, fault text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    update outbox.maintenance as m
    set done_at = case when note_maintenance.fault is null then clock_timestamp() else m.done_at end,
        relay = case when note_maintenance.fault is null then note_maintenance.relay else m.relay end,
        fault = left(note_maintenance.fault, 1000)
    where m.fault is distinct from left(note_maintenance.fault, 1000)
       or (note_maintenance.fault is null and m.done_at < clock_timestamp() - interval '2 minutes')
$$;


--
-- Name: note_merge(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.note_merge() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: note_new_schedule(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.note_new_schedule() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform outbox.note_rescheduling(new.id, old.settings -> 'retry', coalesce(new.settings -> 'retry', '{}'));
    return null;
end
$$;


--
-- Name: note_rescheduling(bigint, jsonb, jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.note_rescheduling(subscription_id bigint, former jsonb, retry jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: note_source_waiting(bigint, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.note_source_waiting(source_id bigint, reason text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
    update outbox.source as s
    set waiting_since = case when reason is not null then coalesce(s.waiting_since, clock_timestamp()) end,
        waiting_reason = reason
    where s.id = note_source_waiting.source_id and s.waiting_reason is distinct from reason
$$;


--
-- Name: note_start(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.note_start() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: note_waiting(bigint, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.note_waiting(subscription_id bigint, reason text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    update outbox.subscription as s
    set waiting_since = case when reason is not null then coalesce(s.waiting_since, clock_timestamp()) end,
        waiting_reason = reason
    where s.id = note_waiting.subscription_id and s.waiting_reason is distinct from reason
$$;


--
-- Name: open_transactions(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.open_transactions() RETURNS TABLE(pid integer, database name, user_name name, application_name text, state text, started_at timestamp with time zone, xid xid, xmin xid, remark text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select pid, datname, usename, application_name, state, xact_start, backend_xid, backend_xmin,
           case when not pg_has_role('pg_read_all_stats', 'usage') and xact_start is null
                then format('insufficient privilege: grant pg_read_all_stats to %I', current_user) end
    from pg_stat_activity
    where pid <> pg_backend_pid()
      and (backend_xid is not null or backend_xmin is not null or xact_start is not null
           or application_name like 'outbox-relay %')
$$;


--
-- Name: partition_needed_by(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.partition_needed_by(partition text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    AS $_$
declare
    first_id constant bigint := substring(partition from '_([0-9]+)$')::bigint * outbox.partition_room();
    sentence text;
begin
    execute format(
        'with standing as materialized (
             select cursor.id, subscription.name, cursor.priority, latest.seen
             from outbox.subscription
             join outbox.cursor on cursor.subscription_id = subscription.id
             cross join lateral (
                 select seen from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
             ) as latest
         ), newest as materialized (
             select class.priority, fresh.xid
             from generate_series(1, 5) as class (priority)
             cross join lateral (
                 select found.xid
                 from outbox.finished_ranges((
                     select pg_snapshot_xmax(seen) as xmax from standing order by xmax limit 1)) as finished
                 cross join lateral (
                     select xid from outbox.%1$I
                     where priority = class.priority::smallint
                       and xid >= finished.from_xid and xid < finished.before_xid
                     order by xid desc limit 1
                 ) as found
                 order by found.xid desc limit 1
             ) as fresh
         )
         select ''not yet passed by '' || string_agg(waiting.name || '' (priority '' || priorities || '')'', '', ''
                                                     order by waiting.name)
         from (
             select name, string_agg(distinct priority::text, '', '') as priorities
             from standing
             where exists (
                     select from newest
                     where newest.priority = standing.priority and newest.xid >= pg_snapshot_xmax(standing.seen))
                or exists (
                     select from outbox.%1$I
                     where priority = standing.priority
                       and xid = any (array(
                           select x from pg_snapshot_xip(standing.seen) as x
                           where pg_visible_in_snapshot(x, (select pg_current_snapshot())))))
                -- A row with a dead letter has a copy of its message.
                or exists (
                     select from outbox.delivery
                     join outbox.%1$I as m on m.priority::integer = standing.priority::integer
                                          and m.id + 0 = delivery.message_id
                     where delivery.cursor_id = standing.id and delivery.dead_letter_id is null
                       and delivery.message_id >= $1 and delivery.message_id < $1 + outbox.partition_room())
             group by name
         ) as waiting', partition)
    into sentence using first_id;
    return sentence;
end
$_$;


--
-- Name: partition_room(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.partition_room() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '100000000000'::bigint;


--
-- Name: partition_state(integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.partition_state(retention_days integer DEFAULT 7) RETURNS TABLE(partition text, from_time timestamp with time zone, upto_time timestamp with time zone, estimated_rows bigint, bytes bigint, past_retention boolean, needed_by text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select attached.partition, known.from_time, known.upto_time,
           nullif(attached.reltuples, -1)::bigint,
           pg_total_relation_size(attached.oid),
           age.past_retention,
           case when age.past_retention then outbox.partition_needed_by(attached.partition) end
    from outbox.known_partition as known
    join outbox.attached_partition as attached using (parent, number)
    cross join lateral (
        select coalesce(known.upto_time <= clock_timestamp() - make_interval(days => retention_days), false)
    ) as age (past_retention)
    where attached.parent = 'outbox.message'
    order by known.number
$$;


--
-- Name: partition_width(integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.partition_width(keep_days integer) RETURNS interval
    LANGUAGE sql IMMUTABLE
    RETURN ((GREATEST(((keep_days)::numeric / 4.0), (1)::numeric))::double precision * '1 day'::interval);


--
-- Name: partitions_left_out(integer, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.partitions_left_out(retention_days integer DEFAULT 7, keep_days integer DEFAULT 30) RETURNS text[]
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with wanted as (
        select parent, outbox.present_partition(parent) + 1 as number
        from (select distinct parent from outbox.known_partition) as partitioned
    )
    select coalesce(array_agg(partition order by partition), '{}')
    from (
        select split_part(parent, '.', 2) || '_' || number as partition from wanted
        where to_regclass(parent || '_' || number) is null
        union all
        -- The log should have left it: a transaction that is older than the next one is open, somewhere in the cluster.
        select 'message_' || number from outbox.known_partition
        where parent = 'outbox.message' and number = outbox.present_partition(parent)
          and from_time < clock_timestamp() - outbox.partition_width(retention_days) - interval '1 day'
        union all
        select past.partition from outbox.past_partitions('outbox.attempt_log', keep_days) as past (partition)
        where past.partition not in (select pinned.partition from outbox.pinned_partitions() as pinned)
    ) as left_out
$$;


--
-- Name: passage(bigint, xid8, bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.passage(cursor_id bigint, xid xid8, message_id bigint) RETURNS TABLE(after_checkpoint bigint, after_at timestamp with time zone, checkpoint bigint, at timestamp with time zone, relay text, horizon pg_snapshot)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: past_partitions(text, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.past_partitions(parent text, keep_days integer) RETURNS SETOF text
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select attached.partition
    from outbox.known_partition as known
    join outbox.attached_partition as attached using (parent, number)
    where attached.parent = past_partitions.parent
      and known.upto_time <= clock_timestamp() - make_interval(days => keep_days)
    order by number
$$;


--
-- Name: payload_children(jsonb, text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.payload_children(document jsonb, kind text, which text) RETURNS TABLE(name text, value jsonb)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    named jsonpath;
    first bigint;
begin
    case kind
        when 'member' then
            return query select which, document -> which;
        when 'members' then
            named := which::jsonpath;
            return query
            select one.key, one.value from jsonb_each(document) as one
            where jsonb_path_match(to_jsonb(one.key), named, '{}', true);
        when 'item' then
            return query select which, document -> which::integer;
        when 'items' then
            first := which::bigint;
            return query
            select (one.number - 1)::text, one.item
            from jsonb_array_elements(document) with ordinality as one (item, number)
            where one.number > first;
    end case;
end
$$;


--
-- Name: payload_faults(bytea, jsonb, jsonb, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.payload_faults(payload bytea, singles jsonb, checks jsonb, at_most integer) RETURNS TABLE(pointer text, keyword text, detail text)
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $_$
declare
    document jsonb;
    rule     jsonb;
    told     integer := 0;
    places   record;
    -- How many values are looked at for a pointer, one by one, in all of the payload.
    room     bigint := 100000;
begin
    if at_most <= 0 then
        return;
    end if;
    begin
        document := convert_from(payload, 'UTF8')::jsonb;
        if jsonb_path_exists(document, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")') then
            raise statement_too_complex;
        end if;
    exception
        when untranslatable_character then
            detail := 'holds a NUL (\u0000), which is no text for Postgres';
        when numeric_value_out_of_range then
            detail := 'holds a number with more digits than Postgres has';
        when program_limit_exceeded then
            detail := 'is nested deeper than 64 levels';
        when data_exception then
            detail := 'is no JSON in UTF-8';
    end;
    if detail is not null then
        pointer := '';
        keyword := 'json';
        return next;
        return;
    end if;
    for rule in select one from jsonb_array_elements(singles || checks) as one loop
        select * into places from outbox.payload_places(document, rule, at_most - told, room);
        room := places.room;
        foreach pointer in array places.pointers loop
            pointer := pointer || coalesce(rule ->> 'tail', '');
            keyword := rule ->> 'keyword';
            detail := rule ->> 'detail';
            return next;
            told := told + 1;
        end loop;
        if told >= at_most then
            return;
        end if;
    end loop;
end
$_$;


--
-- Name: payload_fits(bytea, jsonpath, jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.payload_fits(payload bytea, decides jsonpath, checks jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    document jsonb;
    rule     jsonb;
begin
    document := convert_from(payload, 'UTF8')::jsonb;
    if jsonb_path_match(document, decides, '{}', true) is not true then
        return false;
    end if;
    for i in 0 .. jsonb_array_length(checks) - 1 loop
        rule := checks -> i;
        continue when octet_length(payload) <= (rule ->> 'holds_up_to')::bigint;
        if not outbox.payload_keeps(document, (rule ->> 'path')::jsonpath, rule) then
            return false;
        end if;
    end loop;
    return true;
exception when data_exception or program_limit_exceeded then
    return false;
end
$$;


--
-- Name: payload_keeps(jsonb, jsonpath, jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.payload_keeps(document jsonb, path jsonpath, rule jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    places jsonb;
begin
    if not rule ? 'measure' then
        return jsonb_path_exists(document, path, '{}', true) is not true;
    end if;
    places := jsonb_path_query_array(document, path, '{}', true);
    -- Of all arrays at once: a document may hold hundreds of thousands, and each query costs more than a short one.
    if rule ->> 'measure' = 'repeats' then
        -- As most are of which nothing is to be asked.
        if jsonb_array_length(places) = 0
           or jsonb_array_length(places) = 1 and jsonb_array_length(places -> 0) < 2 then
            return true;
        end if;
        return not exists (
            select from jsonb_array_elements(places) with ordinality as place (items, number)
            cross join lateral jsonb_array_elements(items) as item
            where jsonb_array_length(items) > 1
            group by number, item having count(*) > 1);
    end if;
    for n in 0 .. jsonb_array_length(places) - 1 loop
        if not outbox.payload_measures(places -> n, rule) then
            return false;
        end if;
    end loop;
    return true;
end
$$;


--
-- Name: payload_measures(jsonb, jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.payload_measures(value jsonb, rule jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    measured bigint;
begin
    case rule ->> 'measure'
        when 'length' then
            measured := length(value #>> '{}');
        when 'members' then
            measured := jsonb_array_length(jsonb_path_query_array(value, 'strict $.*'));
        when 'matches' then
            measured := jsonb_array_length(jsonb_path_query_array(value, (rule ->> 'matches')::jsonpath));
    end case;
    return measured >= (rule ->> 'least')::bigint and measured <= coalesce((rule ->> 'most')::bigint, measured);
end
$_$;


--
-- Name: payload_places(jsonb, jsonb, integer, bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.payload_places(document jsonb, rule jsonb, at_most integer, INOUT room bigint, OUT pointers text[]) RETURNS record
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    step   jsonb;
    -- What leads from a value to what fails in it.
    rest   text;
    fails  jsonpath;
    inside jsonb[] := array[document];
    many   bigint;
    nearer record;
begin
    select string_agg(one.step ->> 0, '' order by one.number) into rest
    from jsonb_array_elements(rule -> 'at') with ordinality as one (step, number);
    rest := coalesce(rest, '') || coalesce(' ? (!(' || (rule ->> 'holds') || '))', '');
    pointers := '{}';
    if outbox.payload_keeps(document, ('strict $' || rest)::jsonpath, rule) then
        return;
    end if;
    pointers := array[''];
    for step in select one from jsonb_array_elements(rule -> 'at') as one loop
        rest := substr(rest, length(step ->> 0) + 1);
        continue when step ->> 1 is null;
        if step ->> 1 in ('members', 'items') then
            select sum(case jsonb_typeof(value)
                           when 'array' then jsonb_array_length(value)
                           else jsonb_array_length(jsonb_path_query_array(value, 'strict $.*'))
                       end)
            into many from unnest(inside) as value;
            exit when many > room;
            room := room - many;
        end if;
        fails := ('strict $' || rest)::jsonpath;
        select array_agg(failing.pointer) as pointers, array_agg(failing.value) as inside
        into nearer
        from (
            select place.pointer || '/' || replace(replace(child.name, '~', '~0'), '/', '~1') as pointer, child.value
            from unnest(pointers, inside) as place (pointer, value)
            cross join lateral outbox.payload_children(place.value, step ->> 1, step ->> 2) as child
            where not outbox.payload_keeps(child.value, fails, rule)
            limit at_most
        ) as failing;
        exit when nearer.pointers is null;
        pointers := nearer.pointers;
        inside := nearer.inside;
    end loop;
end
$_$;


--
-- Name: pending(bigint, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.pending(cursor_id bigint, at_most integer DEFAULT 100) RETURNS TABLE(place bigint, message_id bigint, created_at timestamp with time zone, channel text, type text, group_key text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select row_number() over (order by unread.line), unread.message_id, unread.created_at, unread.channel,
           unread.type, unread.group_key
    from outbox.unread(pending.cursor_id, 100000) with ordinality
         as unread (message_id, created_at, channel, type, group_key, wanted, line)
    where unread.wanted
    order by unread.line
    limit at_most
$$;


--
-- Name: pinned_partitions(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.pinned_partitions() RETURNS TABLE(partition text, pinned_by text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select attached.partition, dependents || ' depends on it'
    from outbox.known_partition as known
    join outbox.attached_partition as attached using (parent, number)
    cross join lateral outbox.dependents_of(attached.oid::regclass)
    where known.upto_time is not null and pg_relation_size(attached.oid) = 0 and dependents is not null
    order by attached.partition
$$;


--
-- Name: present_partition(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.present_partition(parent text) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select greatest(
        coalesce(pg_sequence_last_value(pg_get_serial_sequence(parent, 'id')::regclass), 0) / outbox.partition_room(),
        (select max(number) from outbox.known_partition as known
         where known.parent = present_partition.parent and from_time is not null))::integer
$$;


--
-- Name: promote(bigint, text[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.promote(cursor_id bigint, group_keys text[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
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


--
-- Name: publish(text, text, text, text, integer, text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.publish(channel text, type text, payload text, group_key text DEFAULT NULL::text, priority integer DEFAULT 3, idempotency_key text DEFAULT NULL::text, headers text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    message_id bigint;
begin
    if starts_with(publish.channel, 'outbox.') then
        perform outbox.refuse_own_channel(publish.channel);
    end if;
    -- By way of json, which refuses what is none; a CHECK asks the same of the headers.
    insert into outbox.message as m (channel, type, group_key, priority, idempotency_key, headers, payload)
    values (publish.channel, publish.type, publish.group_key, publish.priority,
            coalesce(publish.idempotency_key, outbox.uuid7()::text),
            publish.headers, convert_to(publish.payload::json::text, 'UTF8'))
    returning m.id into message_id;
    return message_id;
end
$$;


--
-- Name: publish(text, text, json, text, integer, text, json); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.publish(channel text, type text, payload json, group_key text DEFAULT NULL::text, priority integer DEFAULT 3, idempotency_key text DEFAULT NULL::text, headers json DEFAULT NULL::json) RETURNS bigint
    LANGUAGE sql
    RETURN outbox.publish(channel, type, (payload)::text, group_key, priority, idempotency_key, (headers)::text);


--
-- Name: publish(text, text, jsonb, text, integer, text, jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.publish(channel text, type text, payload jsonb, group_key text DEFAULT NULL::text, priority integer DEFAULT 3, idempotency_key text DEFAULT NULL::text, headers jsonb DEFAULT NULL::jsonb) RETURNS bigint
    LANGUAGE sql
    RETURN outbox.publish(channel, type, (payload)::text, group_key, priority, idempotency_key, (headers)::text);


--
-- Name: publish_bytes(text, text, bytea, text, text, integer, text, json); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.publish_bytes(channel text, type text, payload bytea, content_type text, group_key text DEFAULT NULL::text, priority integer DEFAULT 3, idempotency_key text DEFAULT NULL::text, headers json DEFAULT NULL::json) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    message_id bigint;
begin
    if starts_with(publish_bytes.channel, 'outbox.') then
        perform outbox.refuse_own_channel(publish_bytes.channel);
    end if;
    insert into outbox.message as m
        (channel, type, group_key, priority, idempotency_key, headers, content_type, payload)
    values (publish_bytes.channel, publish_bytes.type, publish_bytes.group_key, publish_bytes.priority,
            coalesce(publish_bytes.idempotency_key, outbox.uuid7()::text),
            publish_bytes.headers::text, publish_bytes.content_type, publish_bytes.payload)
    returning m.id into message_id;
    return message_id;
end
$$;


--
-- Name: publish_checked(text, text, bytea, integer, text, text, text, integer, text, json); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.publish_checked(channel text, type text, payload bytea, version integer, pointer text, keyword text, group_key text, priority integer, idempotency_key text, headers json) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    known_id   bigint;
    in_force   integer;
    message_id bigint;
begin
    if starts_with(publish_checked.channel, 'outbox.') then
        perform outbox.refuse_own_channel(publish_checked.channel);
    end if;
    select t.id, v.version into known_id, in_force
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id and v.version = t.version
    where t.type = publish_checked.type and t.enforcement = 'report' and v.decides is null
      and (t.of_key is null or publish_checked.channel = any (t.channels));
    if in_force is distinct from publish_checked.version then
        raise exception using
            errcode = 'OB409', schema = 'outbox', table = 'event_type', column = 'version',
            message = format('a message of type %s is to be held to another version', publish_checked.type);
    end if;
    insert into outbox.message as m
        (channel, type, group_key, priority, idempotency_key, headers, payload, type_version)
    values (publish_checked.channel, publish_checked.type, publish_checked.group_key, publish_checked.priority,
            publish_checked.idempotency_key, publish_checked.headers::text, publish_checked.payload,
            case when publish_checked.keyword is null then publish_checked.version end)
    returning m.id into message_id;
    if publish_checked.keyword is not null then
        -- The check on the log has waited for whoever deletes the type.
        insert into outbox.event_type_fault (event_type_id, version, message_id, channel, pointer, keyword)
        select t.id, publish_checked.version, message_id, publish_checked.channel,
               left(publish_checked.pointer, 1000), publish_checked.keyword
        from outbox.event_type as t where t.id = known_id;
    end if;
    return message_id;
end
$$;


--
-- Name: publish_own(text, text, json, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.publish_own(channel text, type text, payload json, group_key text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    message_id bigint;
begin
    insert into outbox.message as m (channel, type, group_key, payload)
    values (publish_own.channel, publish_own.type, publish_own.group_key,
            convert_to(publish_own.payload::text, 'UTF8'))
    returning m.id into message_id;
    return message_id;
end
$$;


--
-- Name: published_here(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.published_here() RETURNS TABLE(id bigint, channel text, type text, group_key text, payload bytea, content_type text, priority integer, idempotency_key text, headers json)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    AS $$
declare
    here constant xid8 := pg_current_xact_id_if_assigned();
begin
    if here is null then
        return;
    end if;
    return query
    select m.id, m.channel, m.type, m.group_key, m.payload, m.content_type, m.priority::integer, m.idempotency_key,
           m.headers::json
    from outbox.message as m
    where m.priority = any ('{1,2,3,4,5}'::smallint[]) and m.xid = here and m.created_at >= transaction_timestamp()
    order by m.id;
end
$$;


--
-- Name: pubsub_settings_fault(jsonb, text[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.pubsub_settings_fault(settings jsonb, channels text[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $$
    with known (path) as (
        select path from outbox.pubsub_setting
        union all
        select path from outbox.http_setting where path not in ('endpoint', 'client_errors')
    ),
    fault (path, sentence) as (
        select 'project', 'is required' where not settings ? 'project'
        union all
        select given.key, case
            when own.path is not null and (jsonb_typeof(value) <> own.type or length(value #>> '{}') > own.longest
                                           or value #>> '{}' !~ own.pattern) then 'must be ' || own.must_be
            when own.path is null and given.key not in ('retry', 'breaker')
                 and not exists (select from known where known.path = given.key and known.path !~ '[.]') then
                'is not known; known are ' || (select string_agg(path, ', ' order by path) from known)
        end
        from jsonb_each(settings) as given left join outbox.pubsub_setting as own on own.path = given.key
        union all
        select 'topic', 'takes exactly one channel' where cardinality(channels) is distinct from 1
        union all
        -- Another name might be another channel's.
        select 'topic', format('is required: the channel %s has no name of a topic, which is %s', channels[1],
                               replace(must_be, 'the name of a topic: ', ''))
        from outbox.pubsub_setting
        where path = 'topic' and not settings ? 'topic' and cardinality(channels) = 1 and channels[1] !~ pattern
        union all
        select 'credentials', 'is of no use with an endpoint of http://, where nothing is signed'
        where settings ? 'credentials' and starts_with(settings ->> 'endpoint', 'http://')
    ),
    own_fault (sentence) as (
        select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
    )
    select coalesce(
        (select sentence from own_fault),
        -- The rest is as an endpoint's.
        outbox.http_settings_fault(settings - array(select path from outbox.pubsub_setting)
                                   || '{"endpoint": "https://topic/"}'))
$$;


--
-- Name: put_event_type(text, text[], text, text, text, text, text, integer, bigint, text, text, jsonpath, jsonb, jsonb, text, text, text, date, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.put_event_type(type text, channels text[], description text, owner text, enforcement text, compatibility text, example text, expected integer, expected_id bigint, schema text, closed text, decides jsonpath, checks jsonb, singles jsonb, not_in_sql text, made_by text, of_key text DEFAULT NULL::text, deprecated_on date DEFAULT NULL::date, successor text DEFAULT NULL::text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_variable
declare
    known    outbox.event_type;
    in_force text;
    is_same  boolean;
    fault    record;
begin
    if expected = 0 then
        perform outbox.require_room_for_event_type(of_key);
        insert into outbox.event_type as t
            (type, channels, description, owner, enforcement, compatibility, example, deprecated_on, successor, of_key,
             version, after_id)
        values (type, channels, description, owner, enforcement, compatibility, example, deprecated_on, successor, of_key, 0,
                coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox.message', 'id')::regclass), 0))
        on conflict on constraint event_type_type_key do nothing
        returning t.* into known;
    else
        select t.* into known from outbox.event_type as t where t.type = put_event_type.type for no key update;
    end if;
    if known.version is distinct from expected or expected > 0 and known.id is distinct from expected_id then
        raise exception 'another version of type % was registered meanwhile', type
            using errcode = 'serialization_failure', schema = 'outbox', table = 'event_type', column = 'version',
                  hint = 'Check the schema against the versions that there are now, and try again.';
    end if;
    if enforcement = 'refuse' and decides is null then
        raise exception 'what SQL can not keep is not refused: %', not_in_sql
            using errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'enforcement';
    end if;
    -- Where SQL can't tell, the caller has.
    if example is not null and decides is not null and not outbox.payload_fits(convert_to(example, 'UTF8'), decides, checks) then
        select * into fault from outbox.payload_faults(convert_to(example, 'UTF8'), singles, checks, 1);
        raise exception using
            errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'example',
            message = format('the example does not fit the schema: at "%s" (%s): %s',
                             fault.pointer, fault.keyword, fault.detail);
    end if;
    -- Who is limited to channels does not limit what another made.
    known.of_key := case when of_key is not null then known.of_key end;
    -- Blanks are no other example.
    if known.example::jsonb = example::jsonb then
        example := known.example;
    end if;
    select v.schema into in_force from outbox.event_type_version as v
    where v.event_type_id = known.id and v.version = expected;
    -- As values: neither blanks nor the order of names make a version.
    is_same := coalesce(in_force::jsonb = schema::jsonb, false);
    if is_same then
        -- A newer release may say the same schema otherwise.
        update outbox.event_type_version as v
        set closed = put_event_type.closed, decides = put_event_type.decides, checks = put_event_type.checks,
            singles = put_event_type.singles, not_in_sql = put_event_type.not_in_sql
        where v.event_type_id = known.id and v.version = expected
          and (v.closed, v.decides::text, v.checks, v.singles, v.not_in_sql)
              is distinct from (put_event_type.closed, put_event_type.decides::text, put_event_type.checks,
                                put_event_type.singles, put_event_type.not_in_sql);
    else
        known.version := expected + 1;
        perform outbox.require_room_for_version(of_key);
        insert into outbox.event_type_version
            (event_type_id, version, compatibility, schema, closed, decides, checks, singles, not_in_sql, made_by)
        values (known.id, known.version, compatibility, schema, closed, decides, checks, singles, not_in_sql, made_by);
    end if;
    update outbox.event_type as t
    set channels = put_event_type.channels, description = put_event_type.description, owner = put_event_type.owner,
        enforcement = put_event_type.enforcement, compatibility = put_event_type.compatibility,
        example = put_event_type.example, deprecated_on = put_event_type.deprecated_on,
        successor = put_event_type.successor, of_key = known.of_key, version = known.version,
        changed_at = clock_timestamp()
    where t.id = known.id
      and (t.channels, t.description, t.owner, t.enforcement, t.compatibility, t.example, t.deprecated_on, t.successor,
           t.of_key, t.version)
          is distinct from (put_event_type.channels, put_event_type.description, put_event_type.owner,
                            put_event_type.enforcement, put_event_type.compatibility, put_event_type.example,
                            put_event_type.deprecated_on, put_event_type.successor, known.of_key, known.version);
    if enforcement <> 'off' then
        perform outbox.require_event_check();
    end if;
    return known.version;
end
$$;


--
-- Name: queue_source_fault(jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.queue_source_fault(settings jsonb) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(
        (select format('settings.%s is not known; known are queue_url, region, role_arn, credentials, unwrap', min(key))
         from jsonb_object_keys(settings) as key
         where key <> 'unwrap' and key not in (select path from outbox.sqs_setting)
         having count(*) > 0),
        case when settings ? 'unwrap' and settings -> 'unwrap' <> '"sns"' then 'settings.unwrap must be sns' end,
        outbox.sqs_settings_fault(settings - 'unwrap'))
$$;


--
-- Name: random_key(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.random_key() RETURNS bytea
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
$$;


--
-- Name: rebase(timestamp with time zone); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.rebase(repeat_from timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(subscription text, priority smallint, cursor_id bigint, pending_from_id bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
declare
    parent text;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.rebase runs in READ COMMITTED only' using errcode = 'invalid_transaction_state';
    end if;
    begin
        -- At first, as those lock it that make partitions: else make_partitions would give up below.
        perform from outbox.installation for update;
        -- In the order in which a relay's run takes them.
        lock table outbox.subscription, outbox.cursor, outbox.checkpoint, outbox.message in access exclusive mode;
    exception when lock_not_available then
        raise exception 'writers or relays are still busy with the log: stop them, then rebase'
            using errcode = 'lock_not_available';
    end;

    -- From the old transaction ids alone, while they are still there.
    insert into outbox.checkpoint (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
    select cursor.id, latest.n + 1,
           case when start.id is null then outbox.current_snapshot() else '3:3:' end,
           case when start.id is not null then outbox.current_snapshot() end,
           start.id - 1, start.id, last.id, ''
    from outbox.cursor
    cross join lateral (
        select * from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
    ) as latest
    cross join lateral (
        select min(id + 0) as id
        from outbox.message
        where priority = cursor.priority
          and (xid >= pg_snapshot_xmax(latest.seen) or xid = any (array(select pg_snapshot_xip(latest.seen))))
          and (latest.target is null or id > latest.after_id or not pg_visible_in_snapshot(xid, latest.target))
    ) as pending
    left join (
        select priority, min(id) as id from outbox.message
        where id >= outbox.first_id_since(repeat_from) and created_at >= repeat_from group by priority
    ) as repeated on repeated.priority = cursor.priority
    cross join lateral (select least(pending.id, repeated.id) as id) as start
    cross join lateral (
        select max(id + 0) as id from outbox.message
        where start.id is not null and priority::integer = cursor.priority::integer
    ) as last;

    -- Any id of a transaction that is over everywhere: '3:3:' has not seen it, every other snapshot has.
    update outbox.message set xid = '3' where xid <> '3';
    update outbox.known_partition set xid = '3';

    -- A logical copy brings no sequences. A message's id must also be new among those that dead letters remember.
    perform outbox.advance_sequence('outbox.message', greatest(
        (select max(id) from outbox.message),
        (select max(message_id) from outbox.dead_letter),
        (select max(upto_id) from outbox.checkpoint)));
    perform outbox.make_partitions();
    for parent in select distinct known.parent from outbox.known_partition as known where known.parent <> 'outbox.message'
    loop
        execute format('select outbox.advance_sequence(%L, (select max(id) from %s))', parent, parent);
        -- Nothing is dropped here: for how long its rows are kept is the business of those that turn it regularly.
        perform outbox.turn_by_age(parent, 36500);
    end loop;
    perform outbox.advance_sequence('outbox.subscription', (select max(id) from (select id from outbox.subscription
                                                                          union all select id from outbox.source) as taken));
    perform outbox.advance_sequence('outbox.source_dead_letter', (select max(id) from outbox.source_dead_letter));
    perform outbox.advance_sequence('outbox.cursor', (select max(id) from outbox.cursor));
    perform outbox.advance_sequence('outbox.dead_letter', (select max(id) from outbox.dead_letter));
    perform outbox.advance_sequence('outbox.rescheduling', (select max(id) from outbox.rescheduling));
    perform outbox.advance_sequence('outbox.api_key', (select max(id) from outbox.api_key));
    perform outbox.advance_sequence('outbox.event_type', (select max(id) from outbox.event_type));
    perform outbox.advance_sequence('outbox.event_type_fault', (select max(id) from outbox.event_type_fault));
    perform outbox.advance_sequence('outbox.published_event_type', (select max(id) from outbox.published_event_type));
    perform outbox.advance_sequence('outbox.audit', (select max(id) from outbox.audit));

    -- Under the new id Kafka holds no note of any cursor.
    update outbox.cursor set noted_in = null where noted_in is not null;
    -- A dump of some tables may have come without its row.
    insert into outbox.installation (system_identifier)
    select system_identifier from pg_control_system()
    on conflict (single) do update
        set id = excluded.id, system_identifier = excluded.system_identifier, note_key = excluded.note_key;

    return query
    select subscription.name, cursor.priority, cursor.id, latest.fresh_id
    from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    cross join lateral (
        select fresh_id from outbox.checkpoint where checkpoint.cursor_id = cursor.id order by n desc limit 1
    ) as latest
    order by subscription.name, cursor.priority, cursor.id;
end
$$;


--
-- Name: redrive(bigint[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.redrive(dead_letter_ids bigint[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: refuse_event(text, integer, text, text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.refuse_event(type text, version integer, pointer text, keyword text, detail text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception using
        errcode = 'OB422', schema = 'outbox', table = 'message', datatype = type,
        column = case when keyword = 'channel' then 'channel' else 'payload' end,
        message = format('a message of type %s does not fit version %s', type, version),
        detail = format('at "%s" (%s): %s', coalesce(pointer, ''), coalesce(keyword, 'schema'),
                        coalesce(detail, 'it does not fit the schema')),
        hint = 'Publish what the version asks for, or register one that allows this: outbox-relay catalogue apply.';
end
$$;


--
-- Name: refuse_headers(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.refuse_headers(headers text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception '%', outbox.headers_fault(headers) using
        errcode = 'check_violation', schema = 'outbox', table = 'message', column = 'headers',
        constraint = 'headers_are_an_object_of_strings';
end
$$;


--
-- Name: refuse_loop(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.refuse_loop() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    other text;
begin
    if tg_table_name = 'source' then
        select min(s.name) into other from outbox.subscription as s where outbox.leads_round(s, new);
    else
        select min(s.name) into other from outbox.source as s where outbox.leads_round(new, s);
    end if;
    if other is not null then
        raise exception 'settings.% leads round: what % takes in would go out to where it came from',
                case when new.settings ? 'queue_url' then 'queue_url' else 'topic' end,
                case when tg_table_name = 'source' then new.name else other end
            using errcode = 'check_violation', column = 'settings',
                  detail = format('The other connector is %s.', other);
    end if;
    return new;
end
$$;


--
-- Name: refuse_new_shards(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.refuse_new_shards() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception 'outbox.subscription.shards is fixed at creation: make a new subscription with % shards instead',
        new.shards using errcode = 'check_violation';
end
$$;


--
-- Name: refuse_own_channel(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.refuse_own_channel(channel text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception 'channel % is the platform''s own: publish to one that does not begin with "outbox."', channel
        using errcode = 'insufficient_privilege', schema = 'outbox', table = 'message', column = 'channel';
end
$$;


--
-- Name: refuse_taken_name(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.refuse_taken_name() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tg_op = 'UPDATE' and lower(new.name collate "C") = lower(old.name collate "C") then
        return new;
    end if;
    -- One after the other, as in outbox.require_room: two that are made at the same moment see each other.
    update outbox.quota set cursors = cursors;
    if (case tg_table_name
           when 'source' then exists (select from outbox.subscription
                                      where lower(name collate "C") = lower(new.name collate "C"))
           else exists (select from outbox.source where lower(name collate "C") = lower(new.name collate "C"))
       end) then
        raise exception 'name % is taken', new.name
            using errcode = 'unique_violation', schema = 'outbox', table = tg_table_name, column = 'name',
                  constraint = tg_table_name || '_name_in_any_case';
    end if;
    return new;
end
$$;


--
-- Name: relays(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.relays() RETURNS TABLE(relay text, since timestamp with time zone, sessions integer, runs integer)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select split_part(application_name, ' ', 2), min(backend_start), count(*)::integer,
           (count(*) filter (where application_name ~ ' (cursor [0-9]+( [+]?[0-9]*)?|source [0-9]+)$'))::integer
    from pg_stat_activity as session
    join pg_roles as login on login.oid = session.usesysid
    where session.datname = current_database() and application_name like 'outbox-relay %'
      and (pg_has_role(login.oid, to_regrole('outbox_relay'), 'member')
           or pg_has_role(login.oid, (select relowner from pg_class where oid = 'outbox.cursor'::regclass), 'member'))
    group by 1
    order by 1
    limit 100
$_$;


--
-- Name: remember_channels(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.remember_channels() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    new.read_channels := new.channels;
    if tg_op = 'UPDATE' then
        new.read_channels := (
            select array_agg(distinct channel) from unnest(old.read_channels || new.channels) as channel
            where old.read_channels is not null and new.channels is not null
            having count(distinct channel) <= 100);
    end if;
    return new;
end
$$;


--
-- Name: replay(text, timestamp with time zone, bigint, boolean); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.replay(subscription text, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, from_message_id bigint DEFAULT NULL::bigint, dry_run boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET enable_nestloop TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    AS $$
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
        raise exception 'replay takes from_time or from_message_id, one of them'
            using errcode = 'invalid_parameter_value';
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
        begun := outbox.current_snapshot();
        select min(id + 0) into first_id
        from outbox.message
        where priority::integer = class and id + 0 >= coalesce(from_message_id, outbox.first_id_since(from_time))
          and created_at >= coalesce(from_time, '-infinity');
        continue when first_id is null;
        select max(id + 0) into last_id from outbox.message where priority::integer = class;
        -- What any cursor of the class has not done was written by transaction `undone` or a later one.
        select pg_snapshot_xmin(latest.seen) into undone
        from outbox.cursor
        cross join lateral (
            select seen from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
        ) as latest
        where cursor.subscription_id = s.id and cursor.priority = class
        order by 1 limit 1;
        select least(first_id, min(id)) into start_id
        from outbox.message where priority = class and xid >= undone and not dry_run;
        -- The log is walked once for all cursors. Each message belongs to one of them: to the channel cursor of its
        -- channel, or else to the origin of its shard. Without enable_nestloop = off, a log without statistics, which
        -- the planner takes for an empty one, would be walked for each cursor.
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
                             and outbox.wants(s.channels, s.types, m.channel, m.type)) as wanted,
                       min(m.id) filter (
                           where not pg_visible_in_snapshot(m.xid, own.seen)
                             and (own.target is null or m.id > own.after_id
                                  or not pg_visible_in_snapshot(m.xid, own.target))) as pending
                from outbox.message as m
                join place as origin
                    on origin.channel is null and origin.shard = outbox.shard_of(m.group_key, m.id, s.shards)
                left join place as channel_cursor
                    on channel_cursor.shard = origin.shard and channel_cursor.channel = m.channel
                join place as own on own.id = coalesce(channel_cursor.id, origin.id)
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
            -- The marks of an earlier replay that is still under way go on. Where nothing of it has gone yet, they say
            -- it all. Those that this replay contains are deleted, so that repeated replays leave few.
            delete from outbox.replay as r
            where r.cursor_id = c.id
              and (r.delta::text is distinct from c.target::text
                   or r.seen::text = c.seen::text and r.after_id <= c.after_id and c.after_id >= c.fresh_id);
            update outbox.replay as r set delta = begun where r.cursor_id = c.id;
            if not found or c.after_id >= c.fresh_id then
                insert into outbox.replay (cursor_id, delta, seen, target, after_id)
                values (c.id, begun, c.seen, c.target, c.after_id);
            end if;
            update outbox.cursor set replays = replays + 1 where id = c.id;
            insert into outbox.checkpoint (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
            values (c.id, c.n + 1, '3:3:', begun, c.first_id - 1, c.first_id, last_id, '');
        end loop;
    end loop;
    return replayed;
end
$$;


--
-- Name: require_event_check(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.require_event_check() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '200ms'
    AS $$
declare
    now     constant bigint := extract(epoch from clock_timestamp())::bigint;
    missed  bigint;
    holders text;
begin
    -- Any other would not see what is put on the log or taken off it meanwhile.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'the check of event types is put on the log in a transaction that is read committed'
            using errcode = 'invalid_transaction_state', schema = 'outbox', table = 'message',
                  hint = 'begin isolation level read committed';
    end if;
    if exists (select from pg_trigger where tgrelid = 'outbox.message'::regclass and tgname = 'check_event_type') then
        return;
    end if;
    select last_value into missed from outbox.event_check_missed;
    if now - missed not between 0 and 5 then
        begin
            -- Events of the platform's own are nobody's to define.
            create trigger check_event_type before insert on outbox.message
                for each row when (not starts_with(new.channel, 'outbox.'))
                execute function outbox.check_event_type();
            return;
        exception when lock_not_available then
            perform setval('outbox.event_check_missed', now);
        end;
    end if;
    -- Whatever stands in its way on the log or on a partition; who waits to have it alone does so as well.
    select string_agg(distinct format('%s (%s)', coalesce('pid ' || pid, 'a prepared one'), mode), ', ') into holders
    from pg_locks
    where locktype = 'relation' and mode not in ('AccessShareLock', 'RowShareLock')
      and (granted or mode = 'AccessExclusiveLock')
      and database = (select oid from pg_database where datname = current_database())
      and (relation = 'outbox.message'::regclass
           or relation in (select inhrelid from pg_inherits where inhparent = 'outbox.message'::regclass))
      and pid is distinct from pg_backend_pid();
    raise exception 'the first type that is enforced puts a check on the log, and other transactions hold the log'
        using errcode = 'lock_not_available', schema = 'outbox', table = 'message',
              detail = 'They are: ' || coalesce(holders, 'over, and it was tried a moment ago') || '.',
              hint = 'Try again in five seconds. Who writes has RowExclusiveLock: where one stays open for long, see '
                     'sql/inspect/horizon.sql, and end it: select pg_terminate_backend(PID). Maintenance, as a VACUUM '
                     'with ShareUpdateExclusiveLock, ends by itself: let it.';
end
$$;


--
-- Name: require_room(integer, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.require_room(shards integer, made_by text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    takes   constant integer := 5 * require_room.shards;
    most    integer;
    share   integer;
    had     bigint;
    own     bigint;
    refusal text;
begin
    -- One subscription after the other: the row stays locked until the commit, so the count includes what was made
    -- meanwhile. It is an update so that a transaction with an older snapshot fails instead of counting by that
    -- snapshot.
    update outbox.quota set cursors = cursors
    returning cursors, cursors::bigint * limited_percent / 100 into most, share;
    select count(*) into had from outbox.cursor where channel is null;
    if require_room.made_by is null then
        if had + takes > most then
            refusal := format('of at most %s there are %s already: take fewer shards, delete a subscription that '
                              'is not needed, or raise outbox.quota.cursors as the owner', most, had);
        end if;
    else
        -- A limited key does not learn how many cursors others have.
        select count(*) into own
        from outbox.cursor join outbox.subscription on subscription.id = cursor.subscription_id
        where cursor.channel is null and subscription.made_by = require_room.made_by;
        if own + takes > share then
            refusal := format('of at most %s for what API keys named %s make there are %s already: take fewer shards, '
                              'delete a subscription that is not needed, or ask who gave you the key',
                              share, require_room.made_by, own);
        elsif had + takes > most - share then
            refusal := 'there is no room for them: take fewer shards, or ask who gave you the API key';
        end if;
    end if;
    if refusal is not null then
        raise exception 'shards = % takes % cursors, and %', require_room.shards, takes, refusal
            using errcode = 'check_violation', schema = 'outbox', table = 'subscription', column = 'shards',
                  constraint = 'cursors_are_within_the_quota';
    end if;
end
$$;


--
-- Name: require_room_for_connector(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.require_room_for_connector() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    word    constant text := case when new.settings ? 'namespace' then 'namespace' else 'brokers' end;
    most    integer;
    share   integer;
    had     bigint;
    own     bigint;
    refusal text;
begin
    -- One after the other, as in outbox.require_room.
    update outbox.quota set connectors = connectors returning connectors, connectors_of_a_key into most, share;
    select count(*) - 1, count(*) filter (where s.made_by = new.made_by) - 1 into had, own
    from outbox.subscription s
    where s.kind = 'kafka' and outbox.other_cluster(s.settings) <> '';
    if new.made_by is null then
        if had >= most then
            refusal := format('of at most %s connectors that do there are %s already: delete one that is not needed, or '
                              'raise outbox.quota.connectors as the owner', most, had);
        end if;
    elsif own >= share then
        refusal := format('of at most %s connectors that do, of what API keys named %s make, there are %s already: '
                          'delete one that is not needed, or ask who gave you the key', share, new.made_by, own);
    elsif had >= most - share then
        refusal := 'there is no room for it: ask who gave you the API key';
    end if;
    if refusal is not null then
        raise exception '% names another cluster, and %', word, refusal
            using errcode = 'check_violation', schema = 'outbox', table = 'subscription', column = word,
                  constraint = 'connectors_are_within_the_quota';
    end if;
    return null;
end
$$;


--
-- Name: require_room_for_event_type(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.require_room_for_event_type(of_key text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    most    integer;
    share   integer;
    had     bigint;
    own     bigint;
    refusal text;
begin
    -- One after the other, as in outbox.require_room.
    update outbox.quota set event_types = event_types returning event_types into most;
    select count(*), count(*) filter (where t.of_key = require_room_for_event_type.of_key) into had, own
    from outbox.event_type as t;
    share := greatest(most / 10, 1);
    if require_room_for_event_type.of_key is null then
        if had >= most then
            refusal := format('of at most %s event types there are %s already: delete one that is not needed, or raise '
                              'outbox.quota.event_types as the owner', most, had);
        end if;
    -- A limited key does not learn how many types others have.
    elsif own >= share then
        refusal := format('of at most %s event types that API keys named %s register there are %s already: delete one '
                          'that is not needed, or ask who gave you the key',
                          share, require_room_for_event_type.of_key, own);
    elsif had >= most - share then
        refusal := 'there is no room for one more event type: ask who gave you the API key';
    end if;
    if refusal is not null then
        raise exception '%', refusal
            using errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'type',
                  constraint = 'event_types_are_within_the_quota';
    end if;
end
$$;


--
-- Name: require_room_for_source(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.require_room_for_source() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    most integer;
    had  bigint;
begin
    -- One after the other, as in outbox.require_room.
    update outbox.quota set sources = sources returning sources into most;
    select count(*) into had from outbox.source;
    if had >= most then
        raise exception 'of at most % inward connectors there are % already: delete one that is not needed, or raise '
                        'outbox.quota.sources as the owner', most, had
            using errcode = 'check_violation', schema = 'outbox', table = 'source', column = 'direction',
                  constraint = 'sources_are_within_the_quota';
    end if;
    return new;
end
$$;


--
-- Name: require_room_for_version(text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.require_room_for_version(of_key text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    most bigint;
    own  bigint;
begin
    if require_room_for_version.of_key is null then
        return;
    end if;
    select event_type_bytes_of_a_key into most from outbox.quota;
    -- As they are on the disk: none is unpacked for that.
    select coalesce(sum(pg_column_size(v.schema) + pg_column_size(v.closed)
                        + coalesce(pg_column_size(v.decides) + pg_column_size(v.checks) + pg_column_size(v.singles), 0)), 0)
    into own
    from outbox.event_type_version as v where v.made_by = require_room_for_version.of_key;
    if own >= most then
        raise exception 'of at most % bytes that API keys named % register as event types there are % already: delete a '
                        'type that is not needed, or ask who gave you the key', most, require_room_for_version.of_key, own
            using errcode = 'check_violation', schema = 'outbox', table = 'event_type', column = 'schema',
                  constraint = 'event_types_are_within_the_quota';
    end if;
end
$$;


--
-- Name: reschedule(bigint, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.reschedule(cursor_id bigint, at_most integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
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


--
-- Name: retire_partition(text, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.retire_partition(partition text, retention_days integer) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '80ms'
    AS $$
declare
    known    outbox.known_partition;
    occupied boolean;
begin
    -- A snapshot from before the lock would miss what was committed while this waited for it.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.retire_partition runs in READ COMMITTED only'
            using errcode = 'invalid_transaction_state';
    end if;
    select found.* into known from outbox.known_partition as found
    join outbox.attached_partition as attached using (parent, number)
    where attached.parent = 'outbox.message' and attached.partition = retire_partition.partition;
    if not found then
        raise exception 'outbox.% is no partition of outbox.message', partition using errcode = 'undefined_table';
    end if;
    if known.number >= outbox.present_partition(known.parent) or known.upto_time is null
        or known.upto_time > clock_timestamp() - make_interval(days => retention_days) then
        return 'kept';
    end if;
    if outbox.partition_needed_by(partition) is not null then
        return 'needed';
    end if;
    execute format('select exists (select from outbox.%I)', partition) into occupied;
    -- Before any lock, for which writers would wait in each round.
    if not occupied and (select not may_go from outbox.dependents_of(format('outbox.%I', partition)::regclass)) then
        return 'pinned';
    end if;
    begin
        if not occupied then
            -- Parent first, as every session locks them: a reader that holds it and waits for the partition would
            -- deadlock.
            lock table only outbox.message in access exclusive mode;
            -- Writers wait from here on.
            perform set_config('lock_timeout', '10ms', true);
        end if;
        execute format('lock table outbox.%I in access exclusive mode', partition);
        -- From here on no session writes into it, and this sees what was written while it waited.
        if outbox.partition_needed_by(partition) is not null then
            return 'needed';
        end if;
        if occupied then
            execute format('truncate outbox.%I', partition);
            return 'truncated';
        end if;
        if not outbox.drop_table(format('outbox.%I', partition)::regclass) then
            return 'pinned';
        end if;
        delete from outbox.known_partition where parent = known.parent and number = known.number;
        return 'dropped';
    exception when lock_not_available or deadlock_detected then  -- the latter from a second call at the same moment
        return 'locked';
    end;
end
$$;


--
-- Name: retry(text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.retry(subscription text, group_key text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: retry_delay(jsonb, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.retry_delay(retry jsonb, attempts integer) RETURNS interval
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: rotate_secret(bigint, text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.rotate_secret(subscription_id bigint, revoke_old text DEFAULT 'after_a_day'::text, sealed text DEFAULT NULL::text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    key bytea := case when sealed is null then outbox.random_key() end;
begin
    if revoke_old is null or revoke_old not in ('now', 'after_a_day') then
        raise exception 'revoke_old must be now or after_a_day' using errcode = 'invalid_parameter_value';
    end if;
    perform from outbox.subscription as s
    where s.id = rotate_secret.subscription_id and s.kind = 'http' for no key update;
    if not found then
        raise exception 'there is no http subscription % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    -- Every valid secret is a signature in every request: three at most, even if a caller rotates in a loop.
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


--
-- Name: seal_secret(bigint, timestamp with time zone, text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.seal_secret(subscription_id bigint, created_at timestamp with time zone, sealed text, sealed_before text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update outbox.secret as s
    set key = null, sealed = seal_secret.sealed
    where s.subscription_id = seal_secret.subscription_id and s.created_at = seal_secret.created_at
      and s.sealed is not distinct from sealed_before;
    return found;
end
$$;


--
-- Name: seek_source(bigint, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.seek_source(source_id bigint, start text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- A relay that is about to begin by former settings has begun before, or sees these.
    perform outbox.hold_source(seek_source.source_id);
    if exists (select from outbox.source as s where s.id = seek_source.source_id and s.kind <> 'kafka') then
        raise exception 'settings.from is of topics: a queue has no place to begin with'
            using errcode = 'check_violation', column = 'settings';
    end if;
    update outbox.source as s
    set settings = s.settings || jsonb_build_object('from', seek_source.start),
        paused = false, paused_reason = null, waiting_since = null, waiting_reason = null
    where s.id = seek_source.source_id;
    delete from outbox.source_position as p where p.source_id = seek_source.source_id;
end
$$;


--
-- Name: send_test(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.send_test(subscription_id bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    target  outbox.subscription;
    sent_id bigint;
    taker   bigint;
    copy_id bigint;
begin
    -- Locked, so that its filter stays as it is here until the message is in the log.
    select * into target from outbox.subscription as s
    where s.id = send_test.subscription_id
      and (s.kind <> 'kafka' or outbox.connector_topic(s.settings, s.channels) <> '') for share;
    if not found then
        raise exception 'there is no http subscription and no connector % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    sent_id := outbox.publish_own('outbox.test', 'outbox.test',
                                  json_build_object('subscriptionId', target.id::text, 'name', target.name));
    if 'outbox.test' = any (target.channels) and (target.types is null or 'outbox.test' = any (target.types)) then
        return sent_id;
    end if;
    -- Its filter leaves the message out, so it gets a row. The row has no group, so no other row depends on it: it is
    -- the one insert that needs no hold of the cursor.
    select cursor.id into taker from outbox.cursor
    where cursor.subscription_id = target.id and cursor.priority = 3 and cursor.channel is null
      and cursor.shard = outbox.shard_of(null, sent_id, target.shards);
    if target.kind = 'kafka' then
        -- Besides the log, runs to Kafka send dead letters that were redriven, and nothing else.
        insert into outbox.dead_letter
            (subscription_id, cursor_id, message_id, priority, channel, type, idempotency_key, content_type, payload,
             created_at, reason, detail, attempts, redriven_at)
        select target.id, taker, m.id, m.priority, m.channel, m.type, m.idempotency_key, m.content_type, m.payload,
               m.created_at, 'test', 'a test message', 0, clock_timestamp()
        from outbox.message as m where m.priority::integer = 3 and m.id + 0 = sent_id
        returning dead_letter.id into copy_id;
    end if;
    insert into outbox.delivery (cursor_id, message_id, dead_letter_id, due_at)
    values (taker, sent_id, copy_id, clock_timestamp());
    return sent_id;
end
$$;


--
-- Name: shard_of(text, bigint, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.shard_of(group_key text, message_id bigint, shards integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (((COALESCE(hashtextextended((group_key COLLATE "C"), (0)::bigint), message_id) & '9223372036854775807'::bigint) % (shards)::bigint))::integer;


--
-- Name: source_settings_fault(text, jsonb, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.source_settings_fault(kind text, settings jsonb, channel text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case
        when jsonb_typeof(settings) <> 'object' then 'settings must be an object'
        when kind = 'sqs' then outbox.queue_source_fault(settings)
        else outbox.topic_source_fault(settings, channel) end
$$;


--
-- Name: sqs_settings_fault(jsonb); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.sqs_settings_fault(settings jsonb) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $$
    with known (path) as (
        select path from outbox.sqs_setting
        union all
        select path from outbox.http_setting where path not in ('endpoint', 'client_errors')
    ),
    fault (path, sentence) as (
        select 'queue_url', 'is required' where not settings ? 'queue_url'
        union all
        select given.key, case
            when own.path is not null and (jsonb_typeof(value) <> 'string' or length(value #>> '{}') > own.longest
                                           or value #>> '{}' !~ own.pattern) then 'must be ' || own.must_be
            when own.path is null and given.key not in ('retry', 'breaker')
                 and not exists (select from known where known.path = given.key and known.path !~ '[.]') then
                'is not known; known are ' || (select string_agg(path, ', ' order by path) from known)
        end
        from jsonb_each(settings) as given left join outbox.sqs_setting as own on own.path = given.key
        union all
        select 'region', 'is required where queue_url does not begin with https://sqs.REGION.amazonaws.com/'
        where not settings ? 'region'
          and settings ->> 'queue_url' !~ '^https://sqs\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/'
    ),
    own_fault (sentence) as (
        select format('settings.%s %s', path, sentence) from fault where sentence is not null order by path limit 1
    )
    select coalesce(
        (select sentence from own_fault),
        -- The rest is as an endpoint's.
        outbox.http_settings_fault(settings - 'queue_url' - 'region' - 'role_arn' - 'credentials'
                                   || '{"endpoint": "https://queue/"}'))
$$;


--
-- Name: stay_in_partition(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.stay_in_partition() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    parent constant text := tg_table_schema || '.' || tg_table_name;
begin
    perform outbox.advance_sequence(parent::regclass, outbox.present_partition(parent) * outbox.partition_room());
    return null;
end
$$;


--
-- Name: stop_source(bigint, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.stop_source(source_id bigint, reason text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
    update outbox.source as s
    set paused = true, paused_reason = stop_source.reason, waiting_since = null, waiting_reason = null
    where s.id = stop_source.source_id and not s.paused
$$;


--
-- Name: subscribe(text, text, text, jsonb, text[], integer, text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.subscribe(name text, channel text, endpoint text, settings jsonb DEFAULT '{}'::jsonb, types text[] DEFAULT NULL::text[], shards integer DEFAULT 1, sealed text DEFAULT NULL::text, made_by text DEFAULT NULL::text) RETURNS TABLE(subscription_id bigint, secret text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_variable
begin
    insert into outbox.subscription as s (name, kind, channels, types, shards, settings, made_by)
    values (name, 'http', array[channel], types, shards, settings || jsonb_build_object('endpoint', endpoint), made_by)
    returning s.id into subscription_id;
    if sealed is not null then
        -- In the place of the secret that equip_push has made.
        update outbox.secret as s set key = null, sealed = subscribe.sealed
        where s.subscription_id = subscribe.subscription_id;
    end if;
    select 'whsec_' || encode(s.key, 'base64') into secret
    from outbox.secret as s where s.subscription_id = subscribe.subscription_id;
    return next;
end
$$;


--
-- Name: take_answer_budget(bigint, integer[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.take_answer_budget(subscription_id bigint, sizes integer[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: take_rate(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.take_rate(subscription_id bigint) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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
    -- A relay that holds it takes its share at this moment. Waiting for that would keep a connection from other
    -- subscriptions.
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


--
-- Name: tell(bigint, text, json); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.tell(subscription_id bigint, type text, detail json) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select outbox.publish_own('outbox.events', tell.type,
                              json_build_object('subscriptionId', s.id::text, 'name', s.name, 'at', clock_timestamp(),
                                                'detail', detail),
                              group_key => s.name)
    from outbox.subscription as s where s.id = tell.subscription_id
$$;


--
-- Name: tell_at_times(bigint, text, json); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.tell_at_times(subscription_id bigint, type text, detail json) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: tell_left_out(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.tell_left_out() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: tell_pause(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.tell_pause() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: topic_source_fault(jsonb, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.topic_source_fault(settings jsonb, channel text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $_$
declare
    cluster jsonb := settings - 'from';
    start   text := settings ->> 'from';
begin
    if not settings ? 'topic' then
        return 'settings.topic is required';
    elsif settings ? 'from' and (jsonb_typeof(settings -> 'from') <> 'string'
            or start !~ ('^(earliest|latest|[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]'
                         '(:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))$')) then
        return 'settings.from must be earliest, latest or a time with its offset, as 2026-03-01T09:00:00Z';
    elsif start ~ '^[0-9]' then
        begin
            perform start::timestamptz;
        exception when datetime_field_overflow or invalid_datetime_format or invalid_time_zone_displacement_value then
            return 'settings.from is no time';
        end;
    end if;
    if not settings ? 'brokers' then
        if cluster - 'topic' <> '{}' then
            return format('settings.%s is of another cluster, which brokers have to name',
                          (select min(key) from jsonb_object_keys(cluster - 'topic') as key));
        end if;
        cluster := cluster || '{"brokers": "own:1"}';
    end if;
    return outbox.kafka_settings_fault(cluster, array[channel]);
end
$_$;


--
-- Name: trace(bigint, bigint[]); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trace(message_id bigint, subscription_ids bigint[] DEFAULT NULL::bigint[]) RETURNS TABLE(subscription_id bigint, subscription text, kind text, state text, since timestamp with time zone, because text, next_attempt_at timestamp with time zone, passed json, queue json, dead_letter json, attempts json)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
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


--
-- Name: trace_message(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trace_message(message_id bigint) RETURNS TABLE(state text, xid xid8, priority smallint, channel text, type text, group_key text, idempotency_key text, created_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
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


--
-- Name: trace_queue(bigint, bigint, text, text, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trace_queue(cursor_id bigint, message_id bigint, group_key text, row_state text, look_at_most integer) RETURNS TABLE(queue json, looked integer)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: trim_audit(integer, integer, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trim_audit(keep_days integer, keep_at_most integer DEFAULT 100000, at_once integer DEFAULT 100000) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with beyond as (
        (select id from outbox.audit where at < clock_timestamp() - make_interval(days => keep_days)
         order by at limit at_once)
        union
        (select further.id
         from (select distinct name from outbox.api_key) as known
         cross join lateral (
             select last_kept.id from outbox.audit as last_kept
             where last_kept.key_name = known.name order by last_kept.id desc offset keep_at_most limit 1
         ) as first_beyond
         cross join lateral (
             select audit.id from outbox.audit
             where audit.key_name = known.name and audit.id <= first_beyond.id order by audit.id limit at_once
         ) as further
         limit at_once)
    ), gone as (
        delete from outbox.audit using beyond where audit.id = beyond.id returning 1
    )
    select count(*) from gone
$$;


--
-- Name: trim_checkpoints(interval, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trim_checkpoints(keep interval DEFAULT '01:00:00'::interval, keep_at_least integer DEFAULT 100) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    trimmed bigint;
begin
    delete from outbox.checkpoint as old
    using outbox.cursor
    cross join lateral (
        select n from outbox.checkpoint
        where cursor_id = cursor.id
        order by n desc offset greatest(keep_at_least, 1) - 1 limit 1
    ) as last_kept
    cross join lateral (
        select n from outbox.checkpoint
        where cursor_id = cursor.id and (created_at >= clock_timestamp() - keep or n >= last_kept.n)
        order by n limit 1
    ) as first_kept
    where old.cursor_id = cursor.id and old.n < first_kept.n;
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;


--
-- Name: trim_dead_letters(integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trim_dead_letters(retention_days integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: trim_event_faults(integer, bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trim_event_faults(keep_days integer, at_most bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    known     bigint;
    forgotten bigint;
    total     bigint := 0;
begin
    for known in select id from outbox.event_type order by id loop
        exit when total >= at_most;
        delete from outbox.event_type_fault as old
        where old.event_type_id = known
          and old.id in (
              select f.id from outbox.event_type_fault as f
              where f.event_type_id = known
                and (f.at < clock_timestamp() - make_interval(days => keep_days)
                     or f.id <= (select kept.id from outbox.event_type_fault as kept
                                 where kept.event_type_id = known order by kept.id desc offset 100 limit 1))
              order by f.id limit at_most - total);
        get diagnostics forgotten = row_count;
        continue when forgotten = 0;
        update outbox.event_type as t set forgotten_faults = forgotten_faults + forgotten where t.id = known;
        total := total + forgotten;
    end loop;
    return total;
end
$$;


--
-- Name: trim_idempotency(integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trim_idempotency(at_most integer DEFAULT 1000) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    trimmed integer;
begin
    delete from outbox.idempotent_request as old
    using (
        select api_key_id, key from outbox.idempotent_request
        where created_at < (select clock_timestamp() - interval '1 day')
        order by created_at limit at_most
        -- A request that uses an expired key anew, and another session that trims, are not waited for.
        for update skip locked
    ) as expired
    where old.api_key_id = expired.api_key_id and old.key = expired.key;
    get diagnostics trimmed = row_count;
    return trimmed;
end
$$;


--
-- Name: trim_receipts(integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trim_receipts(at_most integer DEFAULT 100000) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with trimmed as (
        delete from outbox.source_receipt
        where ctid = any (array(select ctid from outbox.source_receipt
                                where received_at < clock_timestamp() - interval '15 days'
                                limit at_most))
        returning 1
    )
    select count(*)::integer from trimmed
$$;


--
-- Name: trim_replays(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.trim_replays() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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


--
-- Name: turn_attempts(integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.turn_attempts(keep_days integer DEFAULT 30) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select outbox.turn_by_age('outbox.attempt_log', keep_days)
$$;


--
-- Name: turn_by_age(text, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.turn_by_age(parent text, keep_days integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '80ms'
    AS $$
#variable_conflict use_variable
declare
    schema constant text    := split_part(parent, '.', 1);
    turned          integer := 0;
    old             text;
    pinned          boolean;
    occupied        boolean;
begin
    begin
        perform from outbox.installation for update;
    exception when lock_not_available then
        return 0;
    end;
    begin
        turned := outbox.make_ahead(parent, outbox.turn_partition(parent, keep_days), clock_timestamp());
    exception when lock_not_available then
        null;
    end;
    for old in select outbox.past_partitions(parent, keep_days) loop
        begin
            select may_go is false into pinned from outbox.dependents_of(format('%I.%I', schema, old)::regclass);
            -- Parent first, as every session locks them. For a partition that stays nobody has to wait.
            if not pinned then
                perform set_config('lock_timeout', '80ms', true);
                execute format('lock table only %s in access exclusive mode', parent);
            end if;
            -- Whoever waits for the table has waited since then.
            perform set_config('lock_timeout', '10ms', true);
            execute format('lock table %I.%I in access exclusive mode', schema, old);
            if not pinned and outbox.drop_table(format('%I.%I', schema, old)::regclass) then
                turned := turned + 1;
                continue;
            end if;
            execute format('select exists (select from %I.%I)', schema, old) into occupied;
            if occupied then
                execute format('truncate %I.%I', schema, old);
            end if;
        exception when lock_not_available or out_of_memory then  -- the latter where no room for locks is left
            null;
        end;
    end loop;
    perform set_config('lock_timeout', '80ms', true);
    delete from outbox.known_partition as known
    where known.parent = turn_by_age.parent and known.upto_time is not null
      and not exists (select from outbox.attached_partition as attached
                      where attached.parent = known.parent and attached.number = known.number);
    return turned;
end
$$;


--
-- Name: turn_partition(text, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.turn_partition(parent text, keep_days integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    room  constant bigint      := outbox.partition_room();
    ids   constant regclass    := pg_get_serial_sequence(parent, 'id');
    now   constant timestamptz := clock_timestamp();
    present integer;
begin
    perform from outbox.installation for update;
    present := outbox.present_partition(turn_partition.parent);
    -- The clock may have been ahead when it was begun.
    update outbox.known_partition as known set from_time = now
    where known.parent = turn_partition.parent and number = present and from_time > now;
    -- A transaction that has written to the table takes no notice of a partition that is made meanwhile, and its next
    -- row would be refused. So the table is turned only after all transactions that were open when the next partition
    -- was made are over. The hour is for transactions that hold the table and have written nothing, which have no id to
    -- wait for.
    if exists (select from outbox.known_partition as known
               where known.parent = turn_partition.parent and number = present
                 and from_time <= now - outbox.partition_width(keep_days))
        and exists (select from outbox.known_partition as known join outbox.attached_partition using (parent, number)
                    where known.parent = turn_partition.parent and number = present + 1
                      and made_at < now - interval '1 hour' and xid < pg_snapshot_xmin(pg_current_snapshot()))
    then
        present := present + 1;
    end if;
    if present > coalesce(pg_sequence_last_value(ids), 0) / room then
        -- A rollback of this transaction does not undo it: the next call then finds it done.
        perform setval(ids, present * room);
    end if;
    return present;
end
$$;


--
-- Name: undelivered(bigint); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.undelivered(subscription_id bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    give_up_at constant timestamptz := clock_timestamp() + interval '20 seconds';
    cursors    constant bigint[] := array(select id from outbox.cursor as c
                                          where c.subscription_id = undelivered.subscription_id);
    reasons    text[];
begin
    with kind (place, sentence) as (
        select 1, format('unread messages (%s%s)',
                         case when bool_or(unread.more) or sum(unread.messages) = 0 then 'at least ' end,
                         greatest(sum(unread.messages), 1))
        from unnest(cursors) as c
        cross join lateral (
            select count(*) filter (where wanted) as messages, count(*) > 100000 as more
            from outbox.unread(c, 100001)
        ) as unread
        where exists (select from unnest(cursors) as c where outbox.has_unread(c, give_up_at))
        having count(*) > 0
        union all
        select 2, format('messages on their way (%s)', count(*))
        from outbox.delivery where cursor_id = any (cursors) and dead_letter_id is null
        having count(*) > 0
        union all
        select 3, format('undelivered dead letters (%s)', count(*))
        from outbox.dead_letter
        where dead_letter.subscription_id = undelivered.subscription_id and delivered_at is null
        having count(*) > 0
        union all
        select 4, 'more to read than could be looked through in 20 s' where clock_timestamp() >= give_up_at
    )
    select array_agg(sentence order by place) into reasons from kind;
    return array_to_string(reasons, ', ');
end
$$;


--
-- Name: unequip_push(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.unequip_push() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    delete from outbox.breaker where subscription_id = old.id;
    delete from outbox.rate_limit where subscription_id = old.id;
    delete from outbox.answer_budget where subscription_id = old.id;
    return null;
end
$$;


--
-- Name: unread(bigint, integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.unread(cursor_id bigint, look_at_most integer) RETURNS TABLE(message_id bigint, created_at timestamp with time zone, channel text, type text, group_key text, wanted boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
declare
    c outbox.cursor_reading;
begin
    select * into c from outbox.cursor_reading as reading where reading.cursor_id = unread.cursor_id;
    if not found then
        raise exception 'there is no cursor % in outbox.cursor', unread.cursor_id using errcode = 'no_data_found';
    end if;

    return query
    select log.id, log.created_at, log.channel, log.type, log.group_key,
           (c.only_channel is null or log.channel = c.only_channel)
           and not log.channel = any (c.set_aside)
           and outbox.wants(c.channels, c.types, log.channel, log.type)
           and outbox.shard_of(log.group_key, log.id, c.shards) = c.shard
    from (
        -- The delta under way; without one these two find nothing. How priority and id are spelled chooses the index.
        (select 1 as phase, id, m.created_at, m.channel, m.type, m.group_key
         from outbox.message as m
         where priority = c.priority and xid = any (c.late_xids) and id > c.after_id and id < c.fresh_id
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
         where priority = c.priority and xid = any (c.next_late_xids)
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


--
-- Name: unsubscribe(bigint, boolean); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.unsubscribe(subscription_id bigint, discard_undelivered boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    s outbox.subscription;
begin
    select * into s from outbox.subscription as one
    where one.id = subscription_id and (one.kind = 'http' or outbox.other_cluster(one.settings) <> '');
    if not found then
        raise exception 'there is no endpoint or connector % in outbox.subscription', subscription_id
            using errcode = 'no_data_found';
    end if;
    perform outbox.delete_subscription(s.name, discard_undelivered);
end
$$;


--
-- Name: use_key(bytea); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.use_key(hash bytea) RETURNS TABLE(id bigint, name text, scopes text[], channels text[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    k record;
begin
    select known.*, used.last_used_at into k
    from outbox.api_key as known left join outbox.api_key_use as used on used.api_key_id = known.id
    where known.hash = use_key.hash and known.revoked_at is null
      and (known.expires_at is null or known.expires_at > clock_timestamp());
    if not found then
        return;
    end if;
    -- Not a write per request, none that waits for another request's, and none where the database is read-only.
    if coalesce(k.last_used_at, '-infinity') < clock_timestamp() - interval '1 minute'
       and current_setting('transaction_read_only') = 'off' then
        update outbox.api_key_use as used set last_used_at = clock_timestamp()
        where used.api_key_id = (
            select unused.api_key_id from outbox.api_key_use as unused
            where unused.api_key_id = k.id and unused.last_used_at is not distinct from k.last_used_at
            for no key update skip locked);
    end if;
    return query select k.id, k.name, k.scopes, k.channels;
end
$$;


--
-- Name: use_session(bytea); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.use_session(hash bytea) RETURNS TABLE(id bigint, name text, scopes text[], channels text[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
    return query
    select used.*
    from outbox.console_session as session
    join outbox.api_key on api_key.id = session.api_key_id
    cross join lateral outbox.use_key(api_key.hash) as used
    where session.hash = use_session.hash and session.expires_at > clock_timestamp();
end
$$;


--
-- Name: uuid7(); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.uuid7() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    RETURN (encode(set_bit(set_bit(OVERLAY(uuid_send(gen_random_uuid()) PLACING SUBSTRING(int8send(((EXTRACT(epoch FROM clock_timestamp()) * (1000)::numeric))::bigint) FROM 3) FROM 1 FOR 6), (52)::bigint, 1), (53)::bigint, 1), 'hex'::text))::uuid;


--
-- Name: waiting_channels(integer); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.waiting_channels(look_at_most integer DEFAULT 100000) RETURNS TABLE(subscription text, channel text, waiting_since timestamp with time zone, waiting_reason text, messages bigint, more boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    AS $$
    with channel_cursor as materialized (
        select cursor.*, latest.seen, latest.target, latest.after_id,
               coalesce(latest.after_id + 1, (
                   select min(fresh.id)
                   from outbox.finished_ranges(pg_snapshot_xmax(latest.seen)) as finished
                   cross join lateral (
                       select min(id) as id from outbox.message
                       where priority = cursor.priority and xid >= finished.from_xid and xid < finished.before_xid
                   ) as fresh)) as first_id
        from outbox.cursor
        cross join lateral (
            select seen, target, after_id from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1
        ) as latest
        where cursor.waiting_since is not null
    ),
    looked as materialized (
        select walk.subscription_id, walk.shard, walk.priority, m.id, m.xid, m.channel, m.group_key
        from (
            select subscription_id, shard, priority, min(first_id) as first_id
            from channel_cursor group by subscription_id, shard, priority
        ) as walk
        cross join lateral (
            select id, xid, message.channel, group_key from outbox.message
            where priority::integer = walk.priority::integer and id + 0 >= walk.first_id
            order by id + 0 limit look_at_most
        ) as m
    ),
    cut as (
        select subscription_id, shard, priority from looked
        group by subscription_id, shard, priority having count(*) >= look_at_most
    ),
    counted as (
        select channel_cursor.id, count(*) as messages
        from channel_cursor
        join outbox.subscription on subscription.id = channel_cursor.subscription_id
        join looked using (subscription_id, shard, priority, channel)
        where not pg_visible_in_snapshot(looked.xid, channel_cursor.seen)
          and (channel_cursor.target is null or looked.id > channel_cursor.after_id
               or not pg_visible_in_snapshot(looked.xid, channel_cursor.target))
          and outbox.shard_of(looked.group_key, looked.id, subscription.shards) = channel_cursor.shard
        group by channel_cursor.id
    )
    select subscription.name, channel_cursor.channel,
           min(channel_cursor.waiting_since), min(channel_cursor.waiting_reason),
           coalesce(sum(counted.messages), 0)::bigint, bool_or(cut.subscription_id is not null)
    from channel_cursor
    join outbox.subscription on subscription.id = channel_cursor.subscription_id
    left join counted on counted.id = channel_cursor.id
    left join cut using (subscription_id, shard, priority)
    group by subscription.name, channel_cursor.channel
    order by min(channel_cursor.waiting_since), subscription.name, channel_cursor.channel
$$;


--
-- Name: wants(text[], text[], text, text); Type: FUNCTION; Schema: outbox; Owner: -
--

CREATE FUNCTION outbox.wants(channels text[], types text[], channel text, type text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (CASE WHEN (channels IS NULL) THEN (NOT starts_with(channel, 'outbox.'::text)) ELSE (channel = ANY (channels)) END AND ((types IS NULL) OR (type = ANY (types))));


--
-- Name: publish_update(uuid, json, json); Type: FUNCTION; Schema: sale; Owner: -
--

CREATE FUNCTION sale.publish_update(order_id uuid, update json, headers json DEFAULT NULL::json) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into outbox.message (channel, type, group_key, priority, headers, payload)
    values ('outbox.live', 'ORDER_PAYMENT_UPDATED', order_id::text, 1, headers::text, convert_to(update::text, 'UTF8'));
end
$$;


--
-- Name: turn_received(integer); Type: FUNCTION; Schema: sale; Owner: -
--

CREATE FUNCTION sale.turn_received(received_days integer DEFAULT 180) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if received_days < 1 then
        raise exception 'received_days is %, and must be at least 1', received_days
            using errcode = 'invalid_parameter_value';
    end if;
    return outbox.turn_by_age('sale.received_webhook', received_days);
end
$$;


--
-- Name: answer_budget; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.answer_budget (
    subscription_id bigint NOT NULL,
    day date DEFAULT '-infinity'::date NOT NULL,
    bytes bigint DEFAULT 0 NOT NULL
);


--
-- Name: api_key; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.api_key (
    id bigint NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    channels text[],
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT a_channel_is_a_topic_name_or_its_beginning_and_an_asterisk CHECK (((channels IS NULL) OR outbox.channel_patterns_valid(channels))),
    CONSTRAINT a_key_expires_after_it_was_made_and_before_9999 CHECK (((expires_at > created_at) AND (expires_at < '9999-01-01 00:00:00+00'::timestamp with time zone))),
    CONSTRAINT hash_is_a_sha_256 CHECK ((octet_length(hash) = 32)),
    CONSTRAINT name_begins_with_no_dash_or_dot_and_is_no_number CHECK ((name !~ '^([-.]|[0-9]+$)'::text)),
    CONSTRAINT name_is_1_to_100_printable_characters CHECK (((name ~ '^[^\x01-\x1f\x7f]+$'::text) AND (length(name) <= 100))),
    CONSTRAINT scopes_are_some_of_publish_manage_operate_read_payloads CHECK (((scopes <@ ARRAY['publish'::text, 'manage'::text, 'operate'::text, 'read'::text, 'payloads'::text]) AND (cardinality(scopes) > 0)))
);


--
-- Name: api_key_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.api_key ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.api_key_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: api_key_use; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.api_key_use (
    api_key_id bigint NOT NULL,
    last_used_at timestamp with time zone
);


--
-- Name: attached_partition; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.attached_partition AS
 SELECT (((namespace.nspname)::text || '.'::text) || (whole.relname)::text) AS parent,
    (given.number)::integer AS number,
    class.oid,
    (class.relname)::text AS partition,
    class.reltuples
   FROM ((((pg_inherits
     JOIN pg_class class ON ((class.oid = pg_inherits.inhrelid)))
     JOIN pg_class whole ON ((whole.oid = pg_inherits.inhparent)))
     JOIN pg_namespace namespace ON ((namespace.oid = whole.relnamespace)))
     CROSS JOIN LATERAL ( SELECT "substring"(substr((class.relname)::text, (length((whole.relname)::text) + 2)), '^[0-9]{1,8}$'::text) AS number) given)
  WHERE ((whole.relkind = 'p'::"char") AND starts_with((class.relname)::text, ((whole.relname)::text || '_'::text)) AND (given.number IS NOT NULL));


--
-- Name: attempt_log_0; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.attempt_log_0 (
    id bigint CONSTRAINT attempt_log_id_not_null NOT NULL,
    subscription_id bigint CONSTRAINT attempt_log_subscription_id_not_null NOT NULL,
    message_id bigint CONSTRAINT attempt_log_message_id_not_null NOT NULL,
    last_message_id bigint,
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT attempt_log_at_not_null NOT NULL,
    next_at timestamp with time zone,
    duration_seconds real CONSTRAINT attempt_log_duration_seconds_not_null NOT NULL,
    number integer CONSTRAINT attempt_log_number_not_null NOT NULL,
    status smallint,
    idempotency_key text CONSTRAINT attempt_log_idempotency_key_not_null NOT NULL,
    relay text CONSTRAINT attempt_log_relay_not_null NOT NULL,
    error text,
    detail text,
    answer bytea,
    more_messages smallint[],
    more_at integer[],
    more_durations real[],
    more_keys text[],
    CONSTRAINT answer_is_at_most_16_kib CHECK ((octet_length(answer) <= 16384)),
    CONSTRAINT their_messages_are_within_1000 CHECK ((last_message_id < (message_id + 1000))),
    CONSTRAINT there_are_at_most_32 CHECK ((cardinality(more_messages) <= 31))
);

ALTER TABLE ONLY outbox.attempt_log_0 REPLICA IDENTITY FULL;


--
-- Name: attempt_log_1; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.attempt_log_1 (
    id bigint CONSTRAINT attempt_log_id_not_null NOT NULL,
    subscription_id bigint CONSTRAINT attempt_log_subscription_id_not_null NOT NULL,
    message_id bigint CONSTRAINT attempt_log_message_id_not_null NOT NULL,
    last_message_id bigint,
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT attempt_log_at_not_null NOT NULL,
    next_at timestamp with time zone,
    duration_seconds real CONSTRAINT attempt_log_duration_seconds_not_null NOT NULL,
    number integer CONSTRAINT attempt_log_number_not_null NOT NULL,
    status smallint,
    idempotency_key text CONSTRAINT attempt_log_idempotency_key_not_null NOT NULL,
    relay text CONSTRAINT attempt_log_relay_not_null NOT NULL,
    error text,
    detail text,
    answer bytea,
    more_messages smallint[],
    more_at integer[],
    more_durations real[],
    more_keys text[],
    CONSTRAINT answer_is_at_most_16_kib CHECK ((octet_length(answer) <= 16384)),
    CONSTRAINT their_messages_are_within_1000 CHECK ((last_message_id < (message_id + 1000))),
    CONSTRAINT there_are_at_most_32 CHECK ((cardinality(more_messages) <= 31))
);

ALTER TABLE ONLY outbox.attempt_log_1 REPLICA IDENTITY FULL;


--
-- Name: attempt_log_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.attempt_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.attempt_log_id_seq
    START WITH 1
    INCREMENT BY 32
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: audit; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.audit (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    api_key_id bigint NOT NULL,
    key_name text NOT NULL,
    by_console boolean NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    subject_id bigint,
    summary text DEFAULT ''::text NOT NULL,
    CONSTRAINT action_is_a_noun_and_a_verb CHECK ((action ~ '^[a-z_]{1,40}[.][a-z_]{1,40}$'::text)),
    CONSTRAINT key_name_is_at_most_100_characters CHECK ((length(key_name) <= 100)),
    CONSTRAINT subject_is_at_most_255_characters CHECK ((length(subject) <= 255)),
    CONSTRAINT summary_is_at_most_1000_characters CHECK ((length(summary) <= 1000))
);


--
-- Name: audit_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: breaker; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.breaker (
    subscription_id bigint NOT NULL,
    failing_since timestamp with time zone,
    refused bigint DEFAULT 0 NOT NULL,
    refused_since timestamp with time zone,
    refused_at timestamp with time zone,
    opened_at timestamp with time zone,
    retry_at timestamp with time zone,
    closed_at timestamp with time zone,
    token bigint,
    CONSTRAINT the_open_are_failing CHECK (((opened_at IS NULL) OR (failing_since IS NOT NULL))),
    CONSTRAINT the_open_say_until_when CHECK (((opened_at IS NULL) = (retry_at IS NULL))),
    CONSTRAINT the_refusing_are_failing CHECK (((refused = 0) OR (failing_since IS NOT NULL)))
);


--
-- Name: breaker_state; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.breaker_state AS
 SELECT subscription.name AS subscription,
        CASE
            WHEN (breaker.opened_at IS NULL) THEN 'closed'::text
            WHEN (breaker.retry_at > clock_timestamp()) THEN 'open'::text
            ELSE 'half-open'::text
        END AS state,
    breaker.failing_since,
    breaker.opened_at,
    breaker.retry_at
   FROM (outbox.breaker
     JOIN outbox.subscription ON ((subscription.id = breaker.subscription_id)))
  WHERE (breaker.failing_since IS NOT NULL);


--
-- Name: channel_past; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.channel_past (
    subscription_id bigint NOT NULL,
    shard smallint NOT NULL,
    priority smallint NOT NULL,
    channel text NOT NULL,
    dropped boolean NOT NULL,
    seen pg_snapshot NOT NULL,
    target pg_snapshot,
    after_id bigint,
    upto pg_snapshot NOT NULL,
    from_time timestamp with time zone NOT NULL,
    upto_time timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY outbox.channel_past REPLICA IDENTITY FULL;


--
-- Name: checkpoint; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.checkpoint (
    cursor_id bigint NOT NULL,
    n bigint NOT NULL,
    seen pg_snapshot NOT NULL,
    target pg_snapshot,
    after_id bigint,
    fresh_id bigint,
    upto_id bigint,
    relay text NOT NULL,
    messages integer DEFAULT 0 NOT NULL,
    bytes bigint DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    token bigint DEFAULT hashtextextended((gen_random_uuid())::text, (0)::bigint) NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT a_delta_is_whole CHECK ((num_nulls(target, after_id, fresh_id, upto_id) = ANY (ARRAY[0, 4])))
);


--
-- Name: connector; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.connector WITH (security_barrier='true') AS
 SELECT id,
    name,
        CASE
            WHEN (settings ? 'namespace'::text) THEN 'event_hubs'::text
            ELSE kind
        END AS type,
    channels,
    types,
    settings AS config,
    delivery,
    shards,
    paused,
    paused_reason,
    waiting_since,
    waiting_reason
   FROM outbox.subscription
  WHERE ((kind <> 'http'::text) AND ((kind <> 'kafka'::text) OR (settings ?| ARRAY['brokers'::text, 'namespace'::text])));


--
-- Name: quota; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.quota (
    single boolean DEFAULT true NOT NULL,
    cursors integer DEFAULT 5000 NOT NULL,
    limited_percent smallint DEFAULT 10 NOT NULL,
    connectors integer DEFAULT 20 NOT NULL,
    connectors_of_a_key integer DEFAULT 5 NOT NULL,
    sources integer DEFAULT 16 NOT NULL,
    event_types integer DEFAULT 1000 NOT NULL,
    event_type_bytes_of_a_key bigint DEFAULT 104857600 NOT NULL,
    CONSTRAINT connectors_are_at_least_0 CHECK ((connectors >= 0)),
    CONSTRAINT connectors_of_a_key_are_at_least_0 CHECK ((connectors_of_a_key >= 0)),
    CONSTRAINT cursors_are_at_least_5 CHECK ((cursors >= 5)),
    CONSTRAINT event_type_bytes_of_a_key_are_at_least_0 CHECK ((event_type_bytes_of_a_key >= 0)),
    CONSTRAINT event_types_are_at_least_0 CHECK ((event_types >= 0)),
    CONSTRAINT limited_percent_is_0_to_50 CHECK (((limited_percent >= 0) AND (limited_percent <= 50))),
    CONSTRAINT quota_single_check CHECK (single),
    CONSTRAINT sources_are_at_least_0 CHECK ((sources >= 0))
);


--
-- Name: connector_beyond_quota; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.connector_beyond_quota AS
 WITH of_key AS (
         SELECT subscription.id,
            ((subscription.made_by IS NOT NULL) AND (row_number() OVER (PARTITION BY subscription.made_by ORDER BY subscription.id) > quota.connectors_of_a_key)) AS beyond
           FROM (outbox.subscription
             CROSS JOIN outbox.quota)
          WHERE ((subscription.kind = 'kafka'::text) AND (outbox.other_cluster(subscription.settings) <> ''::text))
        ), within AS (
         SELECT of_key.id,
            row_number() OVER (ORDER BY of_key.id) AS n
           FROM of_key
          WHERE (NOT of_key.beyond)
        )
 SELECT of_key.id
   FROM of_key
  WHERE of_key.beyond
UNION ALL
 SELECT within.id
   FROM (within
     CROSS JOIN outbox.quota)
  WHERE (within.n > quota.connectors);


--
-- Name: console_session; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.console_session (
    hash bytea NOT NULL,
    api_key_id bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT hash_is_a_sha_256 CHECK ((octet_length(hash) = 32))
);


--
-- Name: cursor; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.cursor (
    id bigint NOT NULL,
    subscription_id bigint NOT NULL,
    shard smallint NOT NULL,
    priority smallint NOT NULL,
    channel text,
    waiting_since timestamp with time zone,
    waiting_reason text,
    generation integer DEFAULT 0 NOT NULL,
    noted_in text,
    replays integer DEFAULT 0 NOT NULL,
    CONSTRAINT priority_is_1_to_5 CHECK (((priority >= 1) AND (priority <= 5))),
    CONSTRAINT the_waiting_have_a_reason CHECK (((waiting_since IS NULL) = (waiting_reason IS NULL)))
);


--
-- Name: cursor_position; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.cursor_position AS
 SELECT cursor.id AS cursor_id,
    subscription.name AS subscription,
    cursor.priority,
    cursor.shard,
    cursor.channel,
    subscription.paused,
    subscription.paused_reason,
    cursor.waiting_since,
    cursor.waiting_reason,
    latest.n AS checkpoint,
    (latest.target IS NOT NULL) AS in_delta,
    latest.after_id,
    latest.upto_id,
    NULLIF(latest.relay, ''::text) AS last_relay,
    latest.created_at AS last_checkpoint_at
   FROM ((outbox.cursor
     JOIN outbox.subscription ON ((subscription.id = cursor.subscription_id)))
     CROSS JOIN LATERAL ( SELECT checkpoint.cursor_id,
            checkpoint.n,
            checkpoint.seen,
            checkpoint.target,
            checkpoint.after_id,
            checkpoint.fresh_id,
            checkpoint.upto_id,
            checkpoint.relay,
            checkpoint.messages,
            checkpoint.bytes,
            checkpoint.failures,
            checkpoint.token,
            checkpoint.created_at
           FROM outbox.checkpoint
          WHERE (checkpoint.cursor_id = cursor.id)
          ORDER BY checkpoint.n DESC
         LIMIT 1) latest);


--
-- Name: cursor_backlog; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.cursor_backlog AS
 SELECT behind.cursor_id,
    behind.subscription,
    behind.priority,
    behind.shard,
    behind.channel,
    waiting.messages,
    waiting.more,
    waiting.oldest_at
   FROM ((( SELECT "position".cursor_id,
            "position".subscription,
            "position".priority,
            "position".shard,
            "position".channel,
            "position".paused,
            "position".paused_reason,
            "position".waiting_since,
            "position".waiting_reason,
            "position".checkpoint,
            "position".in_delta,
            "position".after_id,
            "position".upto_id,
            "position".last_relay,
            "position".last_checkpoint_at,
            count(*) FILTER (WHERE first.is_there) OVER () AS cursors_behind
           FROM (outbox.cursor_position "position"
             CROSS JOIN LATERAL ( SELECT (EXISTS ( SELECT
                           FROM outbox.unread("position".cursor_id, 1) unread(message_id, created_at, channel, type, group_key, wanted))) AS is_there) first)) behind
     CROSS JOIN LATERAL ( SELECT (LEAST((
                CASE
                    WHEN (behind.waiting_since IS NULL) THEN 100001
                    ELSE 1001
                END)::bigint, GREATEST((1000000 / GREATEST(behind.cursors_behind, (1)::bigint)), (1001)::bigint)))::integer AS messages) look_at)
     CROSS JOIN LATERAL ( SELECT count(*) FILTER (WHERE unread.wanted) AS messages,
            (count(*) >= look_at.messages) AS more,
            min(unread.created_at) FILTER (WHERE unread.wanted) AS oldest_at
           FROM outbox.unread(behind.cursor_id, look_at.messages) unread(message_id, created_at, channel, type, group_key, wanted)) waiting);


--
-- Name: cursor_holder; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.cursor_holder AS
 SELECT ("substring"(session.application_name, ' cursor ([0-9]+)(?: [+]?[0-9]*)?$'::text))::bigint AS cursor_id,
    "substring"(session.application_name, '^outbox-relay (.*) cursor [0-9]+(?: [+]?[0-9]*)?$'::text) AS relay,
    session.pid,
    session.started_at AS since,
    session.state,
    session.remark
   FROM (outbox.open_transactions() session(pid, database, user_name, application_name, state, started_at, xid, xmin, remark)
     JOIN pg_roles login ON ((login.rolname = session.user_name)))
  WHERE ((session.database = current_database()) AND (session.application_name ~ '^outbox-relay .* cursor [0-9]{1,18}( [+]?[0-9]*)?$'::text) AND (pg_has_role(login.oid, (to_regrole('outbox_relay'::text))::oid, 'member'::text) OR pg_has_role(login.oid, ( SELECT pg_class.relowner
           FROM pg_class
          WHERE (pg_class.oid = ('outbox.cursor'::regclass)::oid)), 'member'::text)));


--
-- Name: cursor_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.cursor ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.cursor_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: cursor_reading; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.cursor_reading AS
 SELECT cursor.id AS cursor_id,
    cursor.shard,
    cursor.priority,
    cursor.channel AS only_channel,
    subscription.shards,
    subscription.channels,
    subscription.types,
    latest.seen,
    latest.target,
    latest.after_id,
    latest.fresh_id,
    latest.upto_id,
    COALESCE(latest.target, latest.seen) AS horizon,
    ARRAY( SELECT xid.xid
           FROM pg_snapshot_xip(latest.seen) xid(xid)
          WHERE pg_visible_in_snapshot(xid.xid, latest.target)) AS late_xids,
    ARRAY( SELECT xid.xid
           FROM pg_snapshot_xip(COALESCE(latest.target, latest.seen)) xid(xid)
          WHERE pg_visible_in_snapshot(xid.xid, ( SELECT pg_current_snapshot() AS pg_current_snapshot))) AS next_late_xids,
    ARRAY( SELECT channel_cursor.channel
           FROM outbox.cursor channel_cursor
          WHERE ((cursor.channel IS NULL) AND (channel_cursor.channel IS NOT NULL) AND (channel_cursor.subscription_id = cursor.subscription_id) AND (channel_cursor.shard = cursor.shard) AND (channel_cursor.priority = cursor.priority))) AS set_aside
   FROM ((outbox.cursor
     JOIN outbox.subscription ON ((subscription.id = cursor.subscription_id)))
     CROSS JOIN LATERAL ( SELECT checkpoint.seen,
            checkpoint.target,
            checkpoint.after_id,
            checkpoint.fresh_id,
            checkpoint.upto_id
           FROM outbox.checkpoint
          WHERE (checkpoint.cursor_id = cursor.id)
          ORDER BY checkpoint.n DESC
         LIMIT 1) latest);


--
-- Name: dead_letter; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.dead_letter (
    id bigint NOT NULL,
    subscription_id bigint NOT NULL,
    cursor_id bigint NOT NULL,
    message_id bigint NOT NULL,
    priority smallint NOT NULL,
    channel text NOT NULL,
    type text NOT NULL,
    group_key text,
    idempotency_key text NOT NULL,
    headers text,
    content_type text NOT NULL,
    payload bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    exhausted text,
    attempts integer NOT NULL,
    died_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    redriven_at timestamp with time zone,
    delivered_at timestamp with time zone,
    type_version integer,
    CONSTRAINT only_the_redriven_are_delivered CHECK (((delivered_at IS NULL) OR (redriven_at IS NOT NULL)))
);


--
-- Name: dead_letter_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.dead_letter ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: dead_letter_summary; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.dead_letter_summary AS
 SELECT subscription.name AS subscription,
    dead_letter.channel,
    dead_letter.reason,
    count(*) FILTER (WHERE (dead_letter.redriven_at IS NULL)) AS waiting,
    count(*) FILTER (WHERE ((dead_letter.redriven_at IS NOT NULL) AND (dead_letter.delivered_at IS NULL))) AS redriven,
    count(*) FILTER (WHERE (dead_letter.delivered_at IS NOT NULL)) AS delivered,
    min(dead_letter.died_at) AS first_died_at,
    max(dead_letter.died_at) AS last_died_at
   FROM (outbox.dead_letter
     JOIN outbox.subscription ON ((subscription.id = dead_letter.subscription_id)))
  GROUP BY subscription.name, dead_letter.channel, dead_letter.reason;


--
-- Name: delivery; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.delivery (
    cursor_id bigint NOT NULL,
    message_id bigint NOT NULL,
    dead_letter_id bigint,
    group_key text,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT clock_timestamp(),
    token bigint,
    outcome text,
    reason text,
    detail text,
    replayed boolean DEFAULT false NOT NULL,
    CONSTRAINT a_request_under_way_has_a_time CHECK (((token IS NULL) OR (due_at IS NOT NULL))),
    CONSTRAINT outcome_is_acked_or_dead CHECK ((outcome = ANY (ARRAY['acked'::text, 'dead'::text])))
);


--
-- Name: delivery_head; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.delivery_head AS
 SELECT subscription.name AS subscription,
    cursor.priority,
    cursor.shard,
    head.message_id,
    head.group_key,
    outbox.delivery_state(head.due_at, head.token, head.outcome, head.attempts) AS state,
    head.attempts,
    NULLIF(head.due_at, 'infinity'::timestamp with time zone) AS due_at,
    ( SELECT count(*) AS count
           FROM outbox.delivery behind
          WHERE ((behind.cursor_id = head.cursor_id) AND (behind.group_key = head.group_key) AND (behind.due_at IS NULL))) AS behind,
    head.reason AS last_error,
    ((head.dead_letter_id IS NOT NULL) AND (head.due_at < 'infinity'::timestamp with time zone)) AS redriven,
    head.replayed
   FROM ((outbox.delivery head
     JOIN outbox.cursor ON ((cursor.id = head.cursor_id)))
     JOIN outbox.subscription ON ((subscription.id = cursor.subscription_id)))
  WHERE (head.due_at IS NOT NULL);


--
-- Name: message; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.message (
    id bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    priority smallint DEFAULT 3 NOT NULL,
    channel text NOT NULL,
    type text NOT NULL,
    group_key text,
    idempotency_key text DEFAULT outbox.uuid7() NOT NULL,
    headers text,
    content_type text DEFAULT 'application/json'::text NOT NULL,
    payload bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    type_version integer,
    CONSTRAINT channel_is_a_topic_name_of_at_most_200_characters CHECK (((channel ~ '^[A-Za-z0-9._-]+$'::text) AND (channel <> ALL (ARRAY['.'::text, '..'::text])) AND (length(channel) <= 200))),
    CONSTRAINT content_type_is_1_to_255_printable_characters CHECK (((content_type ~ '^[ -~]+$'::text) AND (length(content_type) <= 255))),
    CONSTRAINT group_key_is_at_most_1024_bytes CHECK ((octet_length(group_key) <= 1024)),
    CONSTRAINT headers_are_an_object_of_strings CHECK (((headers IS NULL) OR outbox.headers_are_plain(headers) OR (outbox.headers_fault(headers) IS NULL) OR outbox.refuse_headers(headers))),
    CONSTRAINT idempotency_key_is_1_to_128_printable_characters_without_a_dot CHECK (((idempotency_key ~ '^[!-\-/-~]+$'::text) AND (length(idempotency_key) <= 128))),
    CONSTRAINT message_is_at_most_983040_bytes CHECK ((((octet_length(payload) + COALESCE(octet_length(group_key), 0)) + COALESCE(octet_length(headers), 0)) <= 983040)),
    CONSTRAINT priority_is_1_to_5 CHECK (((priority >= 1) AND (priority <= 5))),
    CONSTRAINT type_is_1_to_255_printable_characters CHECK (((type ~ '^[^\x01-\x1f\x7f]+$'::text) AND (length(type) <= 255)))
)
PARTITION BY RANGE (id);

ALTER TABLE ONLY outbox.message REPLICA IDENTITY FULL;


--
-- Name: delivery_summary; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.delivery_summary AS
 SELECT subscription.name AS subscription,
    held.untried,
    held.retrying,
    held.in_flight,
    held.behind,
    held.parked,
    held.next_due_at,
    COALESCE(message.created_at, dead_letter.created_at) AS oldest_at
   FROM ((((outbox.subscription
     CROSS JOIN LATERAL outbox.count_deliveries(subscription.id, 100000) held(untried, retrying, in_flight, behind, parked, next_due_at))
     LEFT JOIN LATERAL ( SELECT first.message_id,
            first.dead_letter_id
           FROM (outbox.cursor
             CROSS JOIN LATERAL ( SELECT delivery.message_id,
                    delivery.dead_letter_id
                   FROM outbox.delivery
                  WHERE ((delivery.cursor_id = cursor.id) AND (delivery.outcome IS DISTINCT FROM 'acked'::text))
                  ORDER BY delivery.message_id
                 LIMIT 1) first)
          WHERE (cursor.subscription_id = subscription.id)
          ORDER BY first.message_id
         LIMIT 1) oldest ON (true))
     LEFT JOIN LATERAL ( SELECT found.created_at
           FROM (generate_series(1, 5) class(class)
             CROSS JOIN LATERAL ( SELECT message_1.created_at
                   FROM outbox.message message_1
                  WHERE (((message_1.priority)::integer = class.class) AND ((message_1.id + 0) = oldest.message_id))) found)) message ON (true))
     LEFT JOIN outbox.dead_letter ON ((dead_letter.id = oldest.dead_letter_id)))
  WHERE (((((held.untried + held.retrying) + held.in_flight) + held.behind) + held.parked) > 0);


--
-- Name: event_check_missed; Type: SEQUENCE; Schema: outbox; Owner: -
--

CREATE SEQUENCE outbox.event_check_missed
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;


--
-- Name: event_type; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.event_type (
    id bigint NOT NULL,
    type text NOT NULL,
    channels text[] NOT NULL,
    description text NOT NULL,
    owner text NOT NULL,
    enforcement text NOT NULL,
    compatibility text NOT NULL,
    example text,
    deprecated_on date,
    successor text,
    of_key text,
    version integer NOT NULL,
    forgotten_faults bigint DEFAULT 0 NOT NULL,
    after_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT channels_are_1_to_100_names_and_none_of_the_platform CHECK (outbox.event_channels_valid(channels)),
    CONSTRAINT compatibility_is_full_backward_forward_or_none CHECK ((compatibility = ANY (ARRAY['full'::text, 'backward'::text, 'forward'::text, 'none'::text]))),
    CONSTRAINT description_is_at_most_4000_characters CHECK ((length(description) <= 4000)),
    CONSTRAINT enforcement_is_off_report_or_refuse CHECK ((enforcement = ANY (ARRAY['off'::text, 'report'::text, 'refuse'::text]))),
    CONSTRAINT example_is_at_most_65536_bytes CHECK ((octet_length(example) <= 65536)),
    CONSTRAINT owner_is_at_most_200_printable_characters CHECK (((owner !~ '[\x01-\x1f\x7f]'::text) AND (length(owner) <= 200))),
    CONSTRAINT successor_is_another_type_of_one_that_is_deprecated CHECK (((successor IS NULL) OR ((successor ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$'::text) AND (successor <> type) AND (deprecated_on IS NOT NULL)))),
    CONSTRAINT type_is_1_to_200_letters_digits_dots_dashes_and_underscores CHECK (((type ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$'::text) AND (NOT starts_with(type, 'outbox.'::text))))
);


--
-- Name: event_type_fault; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.event_type_fault (
    event_type_id bigint NOT NULL,
    id bigint NOT NULL,
    version integer NOT NULL,
    message_id bigint NOT NULL,
    channel text NOT NULL,
    pointer text NOT NULL,
    keyword text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: event_type_fault_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.event_type_fault ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.event_type_fault_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: event_type_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.event_type ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.event_type_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: event_type_version; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.event_type_version (
    event_type_id bigint NOT NULL,
    version integer NOT NULL,
    compatibility text NOT NULL,
    schema text NOT NULL,
    closed text NOT NULL,
    decides jsonpath,
    checks jsonb,
    singles jsonb,
    not_in_sql text,
    made_by text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT sql_keeps_it_or_it_is_told_why_not CHECK ((num_nulls(decides, checks, singles) =
CASE
    WHEN (not_in_sql IS NULL) THEN 0
    ELSE 3
END)),
    CONSTRAINT version_is_1_to_1000 CHECK (((version >= 1) AND (version <= 1000)))
);


--
-- Name: event_type_state; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.event_type_state AS
 SELECT t.id,
    t.type,
    t.channels,
    t.owner,
    t.enforcement,
    t.compatibility,
    t.version,
    t.created_at,
    t.changed_at,
    (t.forgotten_faults + recent.faults) AS faults,
    latest.at AS last_fault_at,
    latest.pointer AS last_pointer,
    latest.keyword AS last_keyword,
    in_force.not_in_sql
   FROM (((outbox.event_type t
     JOIN outbox.event_type_version in_force ON (((in_force.event_type_id = t.id) AND (in_force.version = t.version))))
     CROSS JOIN LATERAL ( SELECT count(*) AS faults
           FROM ( SELECT
                   FROM outbox.event_type_fault f
                  WHERE (f.event_type_id = t.id)
                 LIMIT 100001) counted) recent)
     LEFT JOIN LATERAL ( SELECT f.at,
            f.pointer,
            f.keyword
           FROM outbox.event_type_fault f
          WHERE (f.event_type_id = t.id)
          ORDER BY f.id DESC
         LIMIT 1) latest ON (true));


--
-- Name: horizon; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.horizon AS
 SELECT kind,
    name,
    database,
    user_name,
    application_name,
    state,
    held_since,
    transactions_ago,
    remark
   FROM ( SELECT 'session'::text AS kind,
            ('pid '::text || open_transactions.pid) AS name,
            (open_transactions.database)::text AS database,
            (open_transactions.user_name)::text AS user_name,
            open_transactions.application_name,
            open_transactions.state,
            open_transactions.started_at AS held_since,
            GREATEST(age(open_transactions.xid), age(open_transactions.xmin)) AS transactions_ago,
            open_transactions.remark
           FROM outbox.open_transactions() open_transactions(pid, database, user_name, application_name, state, started_at, xid, xmin, remark)
          WHERE ((open_transactions.xid IS NOT NULL) OR (open_transactions.xmin IS NOT NULL))
        UNION ALL
         SELECT 'prepared transaction'::text,
            pg_prepared_xacts.gid,
            (pg_prepared_xacts.database)::text AS database,
            (pg_prepared_xacts.owner)::text AS owner,
            NULL::text,
            NULL::text,
            pg_prepared_xacts.prepared,
            age(pg_prepared_xacts.transaction) AS age,
            NULL::text
           FROM pg_prepared_xacts
        UNION ALL
         SELECT 'replication slot'::text,
            (pg_replication_slots.slot_name)::text AS slot_name,
            (pg_replication_slots.database)::text AS database,
            NULL::text,
            NULL::text,
                CASE
                    WHEN pg_replication_slots.active THEN 'active'::text
                    ELSE 'inactive'::text
                END AS "case",
            NULL::timestamp with time zone,
            GREATEST(age(pg_replication_slots.xmin), age(pg_replication_slots.catalog_xmin)) AS "greatest",
            NULL::text
           FROM pg_replication_slots
          WHERE ((pg_replication_slots.xmin IS NOT NULL) OR (pg_replication_slots.catalog_xmin IS NOT NULL))) holder
  ORDER BY transactions_ago DESC, held_since;


--
-- Name: http_setting; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.http_setting (
    path text NOT NULL,
    kind text NOT NULL,
    lowest numeric,
    highest numeric,
    words text[],
    CONSTRAINT http_setting_kind_check CHECK ((kind = ANY (ARRAY['number'::text, 'integer'::text, 'word'::text, 'url'::text, 'delays'::text])))
);


--
-- Name: idempotent_request; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.idempotent_request (
    api_key_id bigint NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    answer bytea,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT key_is_1_to_255_printable_characters CHECK (((key ~ '^[!-~]+$'::text) AND (length(key) <= 255)))
);


--
-- Name: installation; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.installation (
    single boolean DEFAULT true NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    system_identifier bigint NOT NULL,
    note_key bytea DEFAULT (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) NOT NULL,
    CONSTRAINT installation_single_check CHECK (single)
);


--
-- Name: kafka_setting; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.kafka_setting (
    path text NOT NULL,
    longest integer NOT NULL,
    pattern text NOT NULL,
    must_be text NOT NULL
);


--
-- Name: known_partition; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.known_partition (
    parent text NOT NULL,
    number integer NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    made_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    from_time timestamp with time zone,
    upto_time timestamp with time zone,
    CONSTRAINT it_is_begun_before_it_ends CHECK (((upto_time IS NULL) OR (from_time <= upto_time))),
    CONSTRAINT known_partition_number_check CHECK ((number >= 0))
);


--
-- Name: log_mark; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.log_mark (
    at timestamp with time zone NOT NULL,
    id bigint NOT NULL
);


--
-- Name: maintenance; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.maintenance (
    single boolean DEFAULT true NOT NULL,
    done_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    relay text DEFAULT ''::text NOT NULL,
    fault text,
    CONSTRAINT fault_is_at_most_1000_characters CHECK ((length(fault) <= 1000)),
    CONSTRAINT maintenance_single_check CHECK (single)
)
WITH (fillfactor='50');


--
-- Name: message_0; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.message_0 (
    id bigint CONSTRAINT message_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT message_xid_not_null NOT NULL,
    priority smallint DEFAULT 3 CONSTRAINT message_priority_not_null NOT NULL,
    channel text CONSTRAINT message_channel_not_null NOT NULL,
    type text CONSTRAINT message_type_not_null NOT NULL,
    group_key text,
    idempotency_key text DEFAULT outbox.uuid7() CONSTRAINT message_idempotency_key_not_null NOT NULL,
    headers text,
    content_type text DEFAULT 'application/json'::text CONSTRAINT message_content_type_not_null NOT NULL,
    payload bytea CONSTRAINT message_payload_not_null NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT message_created_at_not_null NOT NULL,
    type_version integer,
    CONSTRAINT channel_is_a_topic_name_of_at_most_200_characters CHECK (((channel ~ '^[A-Za-z0-9._-]+$'::text) AND (channel <> ALL (ARRAY['.'::text, '..'::text])) AND (length(channel) <= 200))),
    CONSTRAINT content_type_is_1_to_255_printable_characters CHECK (((content_type ~ '^[ -~]+$'::text) AND (length(content_type) <= 255))),
    CONSTRAINT group_key_is_at_most_1024_bytes CHECK ((octet_length(group_key) <= 1024)),
    CONSTRAINT headers_are_an_object_of_strings CHECK (((headers IS NULL) OR outbox.headers_are_plain(headers) OR (outbox.headers_fault(headers) IS NULL) OR outbox.refuse_headers(headers))),
    CONSTRAINT idempotency_key_is_1_to_128_printable_characters_without_a_dot CHECK (((idempotency_key ~ '^[!-\-/-~]+$'::text) AND (length(idempotency_key) <= 128))),
    CONSTRAINT message_is_at_most_983040_bytes CHECK ((((octet_length(payload) + COALESCE(octet_length(group_key), 0)) + COALESCE(octet_length(headers), 0)) <= 983040)),
    CONSTRAINT priority_is_1_to_5 CHECK (((priority >= 1) AND (priority <= 5))),
    CONSTRAINT type_is_1_to_255_printable_characters CHECK (((type ~ '^[^\x01-\x1f\x7f]+$'::text) AND (length(type) <= 255)))
);

ALTER TABLE ONLY outbox.message_0 REPLICA IDENTITY FULL;


--
-- Name: message_1; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.message_1 (
    id bigint CONSTRAINT message_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT message_xid_not_null NOT NULL,
    priority smallint DEFAULT 3 CONSTRAINT message_priority_not_null NOT NULL,
    channel text CONSTRAINT message_channel_not_null NOT NULL,
    type text CONSTRAINT message_type_not_null NOT NULL,
    group_key text,
    idempotency_key text DEFAULT outbox.uuid7() CONSTRAINT message_idempotency_key_not_null NOT NULL,
    headers text,
    content_type text DEFAULT 'application/json'::text CONSTRAINT message_content_type_not_null NOT NULL,
    payload bytea CONSTRAINT message_payload_not_null NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT message_created_at_not_null NOT NULL,
    type_version integer,
    CONSTRAINT channel_is_a_topic_name_of_at_most_200_characters CHECK (((channel ~ '^[A-Za-z0-9._-]+$'::text) AND (channel <> ALL (ARRAY['.'::text, '..'::text])) AND (length(channel) <= 200))),
    CONSTRAINT content_type_is_1_to_255_printable_characters CHECK (((content_type ~ '^[ -~]+$'::text) AND (length(content_type) <= 255))),
    CONSTRAINT group_key_is_at_most_1024_bytes CHECK ((octet_length(group_key) <= 1024)),
    CONSTRAINT headers_are_an_object_of_strings CHECK (((headers IS NULL) OR outbox.headers_are_plain(headers) OR (outbox.headers_fault(headers) IS NULL) OR outbox.refuse_headers(headers))),
    CONSTRAINT idempotency_key_is_1_to_128_printable_characters_without_a_dot CHECK (((idempotency_key ~ '^[!-\-/-~]+$'::text) AND (length(idempotency_key) <= 128))),
    CONSTRAINT message_is_at_most_983040_bytes CHECK ((((octet_length(payload) + COALESCE(octet_length(group_key), 0)) + COALESCE(octet_length(headers), 0)) <= 983040)),
    CONSTRAINT priority_is_1_to_5 CHECK (((priority >= 1) AND (priority <= 5))),
    CONSTRAINT type_is_1_to_255_printable_characters CHECK (((type ~ '^[^\x01-\x1f\x7f]+$'::text) AND (length(type) <= 255)))
);

ALTER TABLE ONLY outbox.message_1 REPLICA IDENTITY FULL;


--
-- Name: message_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.message ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.message_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: migration; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.migration (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    compatible_from integer,
    CONSTRAINT migration_check CHECK ((compatible_from < version))
);


--
-- Name: published_event_type; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.published_event_type (
    event_type_id bigint NOT NULL,
    id bigint NOT NULL
);


--
-- Name: published_event_type_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.published_event_type ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.published_event_type_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: pubsub_setting; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.pubsub_setting (
    path text NOT NULL,
    type text NOT NULL,
    longest integer NOT NULL,
    pattern text NOT NULL,
    must_be text NOT NULL,
    CONSTRAINT pubsub_setting_type_check CHECK ((type = ANY (ARRAY['string'::text, 'boolean'::text])))
);


--
-- Name: rate_limit; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.rate_limit (
    subscription_id bigint NOT NULL,
    used_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL
);


--
-- Name: recent_attempt; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.recent_attempt AS
 SELECT subscription.name AS subscription,
    latest.id,
    latest.message_id,
    latest.number,
    latest.at,
    latest.duration_seconds,
    latest.status,
    latest.error,
    latest.next_at,
    latest.relay
   FROM (outbox.subscription
     CROSS JOIN LATERAL ( SELECT attempt.id,
            attempt.subscription_id,
            attempt.message_id,
            attempt.idempotency_key,
            attempt.number,
            attempt.at,
            attempt.duration_seconds,
            attempt.status,
            attempt.error,
            attempt.detail,
            attempt.next_at,
            attempt.answer,
            attempt.relay,
            attempt.log_id
           FROM outbox.attempt
          WHERE (attempt.subscription_id = subscription.id)
          ORDER BY attempt.log_id DESC, attempt.id DESC
         LIMIT 100000) latest)
  WHERE ((subscription.kind <> 'kafka'::text) AND (latest.at >= (date_trunc('day'::text, statement_timestamp(), 'UTC'::text) - '1 day'::interval)));


--
-- Name: replay; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.replay (
    cursor_id bigint NOT NULL,
    delta pg_snapshot NOT NULL,
    seen pg_snapshot NOT NULL,
    target pg_snapshot,
    after_id bigint,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY outbox.replay REPLICA IDENTITY FULL;


--
-- Name: rescheduling; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.rescheduling (
    id bigint NOT NULL,
    cursor_id bigint NOT NULL,
    former_delays double precision[] NOT NULL,
    delays double precision[],
    done_id bigint DEFAULT 0 NOT NULL
);


--
-- Name: rescheduling_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.rescheduling ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.rescheduling_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: secret; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.secret (
    subscription_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    key bytea,
    sealed text,
    expires_at timestamp with time zone,
    CONSTRAINT key_has_24_to_64_bytes CHECK (((octet_length(key) >= 24) AND (octet_length(key) <= 64))),
    CONSTRAINT sealed_is_a_fernet_token CHECK ((sealed ~ '^gAAAA[A-Za-z0-9_-]{95,195}={0,2}$'::text)),
    CONSTRAINT secret_is_a_key_or_sealed CHECK ((num_nonnulls(key, sealed) = 1))
);


--
-- Name: source_dead_letter; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.source_dead_letter (
    id bigint NOT NULL,
    source_id bigint NOT NULL,
    topic text NOT NULL,
    partition integer,
    record_offset bigint,
    message_id text,
    key bytea,
    value bytea,
    header_names text[] NOT NULL,
    header_values bytea[] NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    due boolean DEFAULT false NOT NULL,
    died_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT source_dead_letter_is_of_a_topic_or_of_a_queue CHECK (((message_id IS NULL) = ((partition IS NOT NULL) AND (record_offset IS NOT NULL))))
);


--
-- Name: source_dead_letter_id_seq; Type: SEQUENCE; Schema: outbox; Owner: -
--

ALTER TABLE outbox.source_dead_letter ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.source_dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: source_position; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.source_position (
    source_id bigint NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    topic_id text NOT NULL,
    next_offset bigint NOT NULL,
    end_offset bigint NOT NULL,
    relay text,
    entered bigint DEFAULT 0 NOT NULL,
    passed bigint DEFAULT 0 NOT NULL,
    moved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    readers uuid[] DEFAULT '{}'::uuid[] NOT NULL
)
WITH (fillfactor='50');


--
-- Name: source_queue; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.source_queue (
    source_id bigint NOT NULL,
    waiting bigint DEFAULT 0 NOT NULL,
    entered bigint DEFAULT 0 NOT NULL,
    passed bigint DEFAULT 0 NOT NULL,
    moved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (fillfactor='50');


--
-- Name: source_receipt; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.source_receipt (
    source_id bigint NOT NULL,
    message_id text NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: source_state; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.source_state AS
 SELECT source.id,
    source.name,
    source.kind,
    source.channel,
    source.priority,
    COALESCE((source.settings ->> 'topic'::text), regexp_replace((source.settings ->> 'queue_url'::text), '^.*/'::text, ''::text)) AS topic,
    COALESCE((source.settings ->> 'brokers'::text), (source.settings ->> 'queue_url'::text), ''::text) AS brokers,
    source.paused,
    source.paused_reason,
    source.waiting_since,
    source.waiting_reason,
    (LEAST(COALESCE(at.lag, (0)::numeric), ('9223372036854775807'::bigint)::numeric))::bigint AS lag,
    (COALESCE(at.entered, (0)::numeric))::bigint AS entered,
    (COALESCE(at.passed, (0)::numeric))::bigint AS passed,
    COALESCE(at.partitions, (0)::bigint) AS partitions,
    at.moved_at,
    ( SELECT count(*) AS count
           FROM ( SELECT
                   FROM outbox.source_dead_letter letter
                  WHERE (letter.source_id = source.id)
                 LIMIT 100001) letters) AS dead_letters
   FROM (outbox.source
     LEFT JOIN LATERAL ( SELECT sum(part.lag) AS lag,
            sum(part.entered) AS entered,
            sum(part.passed) AS passed,
            count(*) AS partitions,
            max(part.moved_at) AS moved_at
           FROM ( SELECT GREATEST(("position".end_offset - "position".next_offset), (0)::bigint) AS lag,
                    "position".entered,
                    "position".passed,
                    "position".moved_at
                   FROM outbox.source_position "position"
                  WHERE (("position".source_id = source.id) AND ("position".topic = (source.settings ->> 'topic'::text)))
                UNION ALL
                 SELECT queue.waiting,
                    queue.entered,
                    queue.passed,
                    queue.moved_at
                   FROM outbox.source_queue queue
                  WHERE (queue.source_id = source.id)) part) at ON (true));


--
-- Name: sqs_setting; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.sqs_setting (
    path text NOT NULL,
    longest integer NOT NULL,
    pattern text NOT NULL,
    must_be text NOT NULL
);


--
-- Name: subscription_backlog; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.subscription_backlog AS
 SELECT subscription,
    priority,
    (sum(messages))::bigint AS messages,
    bool_or(more) AS more,
    min(oldest_at) AS oldest_at
   FROM outbox.cursor_backlog
  GROUP BY subscription, priority;


--
-- Name: subscription_endpoint; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.subscription_endpoint AS
 SELECT name AS subscription,
    regexp_replace((settings ->> 'endpoint'::text), '^([a-z]+://[^/?#]*)/?(.*)$'::text, '\1/'::text) AS origin,
    ((settings ->> 'endpoint'::text) !~ '^[a-z]+://[^/?#]*/?$'::text) AS has_path
   FROM outbox.subscription
  WHERE (kind = 'http'::text);


--
-- Name: subscription_mark; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.subscription_mark (
    subscription_id bigint NOT NULL,
    began pg_snapshot,
    filter_xid xid8,
    filter_upto_xid xid8
);


--
-- Name: throughput; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.throughput AS
 SELECT subscription.name AS subscription,
    date_trunc('minute'::text, checkpoint.created_at) AS minute,
    sum(checkpoint.messages) AS messages,
    (sum(checkpoint.bytes))::bigint AS bytes,
    count(*) AS runs
   FROM ((outbox.checkpoint
     JOIN outbox.cursor ON ((cursor.id = checkpoint.cursor_id)))
     JOIN outbox.subscription ON ((subscription.id = cursor.subscription_id)))
  WHERE (checkpoint.relay <> ''::text)
  GROUP BY subscription.name, (date_trunc('minute'::text, checkpoint.created_at));


--
-- Name: told; Type: TABLE; Schema: outbox; Owner: -
--

CREATE TABLE outbox.told (
    subscription_id bigint NOT NULL,
    type text NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    events integer DEFAULT 1 NOT NULL,
    left_out integer GENERATED ALWAYS AS (GREATEST((events - 5), 0)) STORED NOT NULL
);


--
-- Name: turn_holder; Type: VIEW; Schema: outbox; Owner: -
--

CREATE VIEW outbox.turn_holder AS
 SELECT kind,
    name,
    database,
    application_name,
    held_since
   FROM ( SELECT 'session'::text AS kind,
            (open_transactions.pid)::text AS name,
            (open_transactions.database)::text AS database,
            open_transactions.application_name,
            open_transactions.started_at AS held_since,
            open_transactions.xid
           FROM outbox.open_transactions() open_transactions(pid, database, user_name, application_name, state, started_at, xid, xmin, remark)
        UNION ALL
         SELECT 'prepared transaction'::text,
            pg_prepared_xacts.gid,
            (pg_prepared_xacts.database)::text AS database,
            NULL::text,
            pg_prepared_xacts.prepared,
            pg_prepared_xacts.transaction
           FROM pg_prepared_xacts) holder
  WHERE (EXISTS ( SELECT
           FROM outbox.known_partition ahead
          WHERE ((ahead.parent = 'outbox.message'::text) AND (ahead.from_time IS NULL) AND (age(holder.xid) >= age((ahead.xid)::xid)))))
  ORDER BY held_since;


--
-- Name: allocation_usage; Type: TABLE; Schema: sale; Owner: -
--

CREATE TABLE sale.allocation_usage (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    order_id uuid NOT NULL,
    "position" integer NOT NULL,
    allocation_id text NOT NULL,
    usage_type text DEFAULT 'SALE_ORDER'::text NOT NULL,
    status text DEFAULT 'ACTIVE'::text NOT NULL,
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['ACTIVE'::text, 'SUCCESS'::text, 'CANCELLED'::text])))
);


--
-- Name: order_item; Type: TABLE; Schema: sale; Owner: -
--

CREATE TABLE sale.order_item (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    order_id uuid NOT NULL,
    "position" integer NOT NULL,
    item_type text NOT NULL,
    item_id text NOT NULL,
    quantity integer NOT NULL,
    mode text NOT NULL,
    CONSTRAINT mode_is_known CHECK ((mode = ANY (ARRAY['PRODUCT'::text, 'CUSTOM'::text]))),
    CONSTRAINT quantity_is_at_least_one CHECK ((quantity >= 1))
);


--
-- Name: points_transaction; Type: TABLE; Schema: sale; Owner: -
--

CREATE TABLE sale.points_transaction (
    order_id uuid NOT NULL,
    customer_id text NOT NULL,
    points bigint NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT points_are_at_least_one CHECK ((points >= 1))
);


--
-- Name: received_webhook; Type: TABLE; Schema: sale; Owner: -
--

CREATE TABLE sale.received_webhook (
    id bigint NOT NULL,
    key text NOT NULL,
    order_id uuid NOT NULL,
    event_type text NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
PARTITION BY RANGE (id);


--
-- Name: received_webhook_0; Type: TABLE; Schema: sale; Owner: -
--

CREATE TABLE sale.received_webhook_0 (
    id bigint CONSTRAINT received_webhook_id_not_null NOT NULL,
    key text CONSTRAINT received_webhook_key_not_null NOT NULL,
    order_id uuid CONSTRAINT received_webhook_order_id_not_null NOT NULL,
    event_type text CONSTRAINT received_webhook_event_type_not_null NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT received_webhook_received_at_not_null NOT NULL
);


--
-- Name: received_webhook_1; Type: TABLE; Schema: sale; Owner: -
--

CREATE TABLE sale.received_webhook_1 (
    id bigint CONSTRAINT received_webhook_id_not_null NOT NULL,
    key text CONSTRAINT received_webhook_key_not_null NOT NULL,
    order_id uuid CONSTRAINT received_webhook_order_id_not_null NOT NULL,
    event_type text CONSTRAINT received_webhook_event_type_not_null NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT received_webhook_received_at_not_null NOT NULL
);


--
-- Name: received_webhook_id_seq; Type: SEQUENCE; Schema: sale; Owner: -
--

ALTER TABLE sale.received_webhook ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sale.received_webhook_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: sale_check; Type: TABLE; Schema: sale; Owner: -
--

CREATE TABLE sale.sale_check (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    order_id uuid NOT NULL,
    "position" integer NOT NULL,
    status text DEFAULT 'PROCESSING'::text NOT NULL,
    total sale.money NOT NULL,
    paid sale.money DEFAULT 0 NOT NULL,
    cancellation_reason text,
    partial_at timestamp with time zone,
    completed_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    CONSTRAINT cancelled_checks_say_when_and_why CHECK ((((status = 'CANCELLED'::text) = (cancelled_at IS NOT NULL)) AND ((status = 'CANCELLED'::text) = (cancellation_reason IS NOT NULL)))),
    CONSTRAINT completed_checks_say_since_when CHECK (((status = 'COMPLETED'::text) = (completed_at IS NOT NULL))),
    CONSTRAINT partial_checks_say_since_when CHECK (((status <> 'PARTIAL'::text) OR (partial_at IS NOT NULL))),
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['PROCESSING'::text, 'PARTIAL'::text, 'COMPLETED'::text, 'CANCELLED'::text])))
);


--
-- Name: sale_order; Type: TABLE; Schema: sale; Owner: -
--

CREATE TABLE sale.sale_order (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    number text NOT NULL,
    status text DEFAULT 'DRAFT'::text NOT NULL,
    merchant_id text NOT NULL,
    sale_channel_id text NOT NULL,
    customer_id text,
    closed_in_session_id text,
    currency text NOT NULL,
    total sale.money NOT NULL,
    paid sale.money DEFAULT 0 NOT NULL,
    metadata json,
    cancellation_reason text,
    tracking_number text,
    created_by text NOT NULL,
    modified_by text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    modified_at timestamp with time zone DEFAULT now() NOT NULL,
    partial_at timestamp with time zone,
    completed_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    shipped_at timestamp with time zone,
    delivered_at timestamp with time zone,
    CONSTRAINT cancelled_orders_say_when_and_why CHECK ((((status = 'CANCELLED'::text) = (cancelled_at IS NOT NULL)) AND ((status = 'CANCELLED'::text) = (cancellation_reason IS NOT NULL)))),
    CONSTRAINT completed_orders_say_since_when CHECK (((status = 'COMPLETED'::text) = (completed_at IS NOT NULL))),
    CONSTRAINT only_completed_orders_are_shipped CHECK ((((shipped_at IS NULL) OR (status = 'COMPLETED'::text)) AND ((shipped_at IS NULL) = (tracking_number IS NULL)))),
    CONSTRAINT only_shipped_orders_are_delivered CHECK (((delivered_at IS NULL) OR (shipped_at IS NOT NULL))),
    CONSTRAINT partial_orders_say_since_when CHECK (((status <> 'PARTIAL'::text) OR (partial_at IS NOT NULL))),
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['DRAFT'::text, 'PROCESSING'::text, 'PARTIAL'::text, 'COMPLETED'::text, 'CANCELLED'::text])))
);


--
-- Name: attempt_log_0; Type: TABLE ATTACH; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.attempt_log ATTACH PARTITION outbox.attempt_log_0 FOR VALUES FROM ('0') TO ('100000000000');


--
-- Name: attempt_log_1; Type: TABLE ATTACH; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.attempt_log ATTACH PARTITION outbox.attempt_log_1 FOR VALUES FROM ('100000000000') TO ('200000000000');


--
-- Name: message_0; Type: TABLE ATTACH; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.message ATTACH PARTITION outbox.message_0 FOR VALUES FROM ('0') TO ('100000000000');


--
-- Name: message_1; Type: TABLE ATTACH; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.message ATTACH PARTITION outbox.message_1 FOR VALUES FROM ('100000000000') TO ('200000000000');


--
-- Name: received_webhook_0; Type: TABLE ATTACH; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.received_webhook ATTACH PARTITION sale.received_webhook_0 FOR VALUES FROM ('0') TO ('100000000000');


--
-- Name: received_webhook_1; Type: TABLE ATTACH; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.received_webhook ATTACH PARTITION sale.received_webhook_1 FOR VALUES FROM ('100000000000') TO ('200000000000');


--
-- Name: answer_budget answer_budget_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.answer_budget
    ADD CONSTRAINT answer_budget_pkey PRIMARY KEY (subscription_id);


--
-- Name: api_key api_key_hash_key; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.api_key
    ADD CONSTRAINT api_key_hash_key UNIQUE (hash);


--
-- Name: api_key api_key_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.api_key
    ADD CONSTRAINT api_key_pkey PRIMARY KEY (id);


--
-- Name: api_key_use api_key_use_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.api_key_use
    ADD CONSTRAINT api_key_use_pkey PRIMARY KEY (api_key_id);


--
-- Name: audit audit_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);


--
-- Name: breaker breaker_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.breaker
    ADD CONSTRAINT breaker_pkey PRIMARY KEY (subscription_id);


--
-- Name: checkpoint checkpoint_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.checkpoint
    ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (cursor_id, n);


--
-- Name: console_session console_session_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.console_session
    ADD CONSTRAINT console_session_pkey PRIMARY KEY (hash);


--
-- Name: cursor cursor_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.cursor
    ADD CONSTRAINT cursor_pkey PRIMARY KEY (id);


--
-- Name: dead_letter dead_letter_is_unique; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.dead_letter
    ADD CONSTRAINT dead_letter_is_unique UNIQUE (cursor_id, message_id);


--
-- Name: dead_letter dead_letter_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);


--
-- Name: delivery delivery_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.delivery
    ADD CONSTRAINT delivery_pkey PRIMARY KEY (cursor_id, message_id);


--
-- Name: event_type_fault event_type_fault_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.event_type_fault
    ADD CONSTRAINT event_type_fault_pkey PRIMARY KEY (event_type_id, id);


--
-- Name: event_type event_type_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.event_type
    ADD CONSTRAINT event_type_pkey PRIMARY KEY (id);


--
-- Name: event_type event_type_type_key; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.event_type
    ADD CONSTRAINT event_type_type_key UNIQUE (type);


--
-- Name: event_type_version event_type_version_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.event_type_version
    ADD CONSTRAINT event_type_version_pkey PRIMARY KEY (event_type_id, version);


--
-- Name: http_setting http_setting_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.http_setting
    ADD CONSTRAINT http_setting_pkey PRIMARY KEY (path);


--
-- Name: idempotent_request idempotent_request_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.idempotent_request
    ADD CONSTRAINT idempotent_request_pkey PRIMARY KEY (api_key_id, key);


--
-- Name: installation installation_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (single);


--
-- Name: kafka_setting kafka_setting_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.kafka_setting
    ADD CONSTRAINT kafka_setting_pkey PRIMARY KEY (path);


--
-- Name: known_partition known_partition_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.known_partition
    ADD CONSTRAINT known_partition_pkey PRIMARY KEY (parent, number);


--
-- Name: log_mark log_mark_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.log_mark
    ADD CONSTRAINT log_mark_pkey PRIMARY KEY (at);


--
-- Name: maintenance maintenance_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.maintenance
    ADD CONSTRAINT maintenance_pkey PRIMARY KEY (single);


--
-- Name: migration migration_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);


--
-- Name: published_event_type published_event_type_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.published_event_type
    ADD CONSTRAINT published_event_type_pkey PRIMARY KEY (event_type_id, id);


--
-- Name: pubsub_setting pubsub_setting_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.pubsub_setting
    ADD CONSTRAINT pubsub_setting_pkey PRIMARY KEY (path);


--
-- Name: quota quota_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.quota
    ADD CONSTRAINT quota_pkey PRIMARY KEY (single);


--
-- Name: rate_limit rate_limit_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.rate_limit
    ADD CONSTRAINT rate_limit_pkey PRIMARY KEY (subscription_id);


--
-- Name: rescheduling rescheduling_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.rescheduling
    ADD CONSTRAINT rescheduling_pkey PRIMARY KEY (id);


--
-- Name: secret secret_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.secret
    ADD CONSTRAINT secret_pkey PRIMARY KEY (subscription_id, created_at);


--
-- Name: source_dead_letter source_dead_letter_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.source_dead_letter
    ADD CONSTRAINT source_dead_letter_pkey PRIMARY KEY (id);


--
-- Name: source source_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.source
    ADD CONSTRAINT source_pkey PRIMARY KEY (id);


--
-- Name: source_position source_position_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.source_position
    ADD CONSTRAINT source_position_pkey PRIMARY KEY (source_id, topic, partition);


--
-- Name: source_queue source_queue_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.source_queue
    ADD CONSTRAINT source_queue_pkey PRIMARY KEY (source_id);


--
-- Name: source_receipt source_receipt_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.source_receipt
    ADD CONSTRAINT source_receipt_pkey PRIMARY KEY (source_id, message_id);


--
-- Name: sqs_setting sqs_setting_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.sqs_setting
    ADD CONSTRAINT sqs_setting_pkey PRIMARY KEY (path);


--
-- Name: subscription_mark subscription_mark_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.subscription_mark
    ADD CONSTRAINT subscription_mark_pkey PRIMARY KEY (subscription_id);


--
-- Name: subscription subscription_name_key; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.subscription
    ADD CONSTRAINT subscription_name_key UNIQUE (name);


--
-- Name: subscription subscription_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.subscription
    ADD CONSTRAINT subscription_pkey PRIMARY KEY (id);


--
-- Name: told told_pkey; Type: CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.told
    ADD CONSTRAINT told_pkey PRIMARY KEY (subscription_id, type);


--
-- Name: allocation_usage allocation_usage_order_id_position_key; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.allocation_usage
    ADD CONSTRAINT allocation_usage_order_id_position_key UNIQUE (order_id, "position");


--
-- Name: allocation_usage allocation_usage_pkey; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.allocation_usage
    ADD CONSTRAINT allocation_usage_pkey PRIMARY KEY (id);


--
-- Name: order_item order_item_order_id_position_key; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.order_item
    ADD CONSTRAINT order_item_order_id_position_key UNIQUE (order_id, "position");


--
-- Name: order_item order_item_pkey; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.order_item
    ADD CONSTRAINT order_item_pkey PRIMARY KEY (id);


--
-- Name: points_transaction points_transaction_pkey; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.points_transaction
    ADD CONSTRAINT points_transaction_pkey PRIMARY KEY (order_id);


--
-- Name: received_webhook received_webhook_pkey; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.received_webhook
    ADD CONSTRAINT received_webhook_pkey PRIMARY KEY (key, id);


--
-- Name: received_webhook_0 received_webhook_0_pkey; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.received_webhook_0
    ADD CONSTRAINT received_webhook_0_pkey PRIMARY KEY (key, id);


--
-- Name: received_webhook_1 received_webhook_1_pkey; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.received_webhook_1
    ADD CONSTRAINT received_webhook_1_pkey PRIMARY KEY (key, id);


--
-- Name: sale_check sale_check_order_id_position_key; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.sale_check
    ADD CONSTRAINT sale_check_order_id_position_key UNIQUE (order_id, "position");


--
-- Name: sale_check sale_check_pkey; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.sale_check
    ADD CONSTRAINT sale_check_pkey PRIMARY KEY (id);


--
-- Name: sale_order sale_order_pkey; Type: CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.sale_order
    ADD CONSTRAINT sale_order_pkey PRIMARY KEY (id);


--
-- Name: attempt_log_message_id; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX attempt_log_message_id ON ONLY outbox.attempt_log USING btree (message_id) WHERE (last_message_id IS NULL);


--
-- Name: attempt_log_0_message_id_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX attempt_log_0_message_id_idx ON outbox.attempt_log_0 USING btree (message_id) WHERE (last_message_id IS NULL);


--
-- Name: attempt_log_messages; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX attempt_log_messages ON ONLY outbox.attempt_log USING btree (message_id, last_message_id) WHERE (last_message_id IS NOT NULL);


--
-- Name: attempt_log_0_message_id_last_message_id_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX attempt_log_0_message_id_last_message_id_idx ON outbox.attempt_log_0 USING btree (message_id, last_message_id) WHERE (last_message_id IS NOT NULL);


--
-- Name: attempt_log_subscription_id; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX attempt_log_subscription_id ON ONLY outbox.attempt_log USING btree (subscription_id, id);


--
-- Name: attempt_log_0_subscription_id_id_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX attempt_log_0_subscription_id_id_idx ON outbox.attempt_log_0 USING btree (subscription_id, id);


--
-- Name: attempt_log_1_message_id_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX attempt_log_1_message_id_idx ON outbox.attempt_log_1 USING btree (message_id) WHERE (last_message_id IS NULL);


--
-- Name: attempt_log_1_message_id_last_message_id_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX attempt_log_1_message_id_last_message_id_idx ON outbox.attempt_log_1 USING btree (message_id, last_message_id) WHERE (last_message_id IS NOT NULL);


--
-- Name: attempt_log_1_subscription_id_id_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX attempt_log_1_subscription_id_id_idx ON outbox.attempt_log_1 USING btree (subscription_id, id);


--
-- Name: audit_at; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX audit_at ON outbox.audit USING btree (at);


--
-- Name: audit_key_name; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX audit_key_name ON outbox.audit USING btree (key_name, id);


--
-- Name: audit_subject_id; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX audit_subject_id ON outbox.audit USING btree (subject_id, id);


--
-- Name: channel_past_channel; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX channel_past_channel ON outbox.channel_past USING btree (subscription_id, shard, priority, channel, upto_time);


--
-- Name: channel_past_upto_time; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX channel_past_upto_time ON outbox.channel_past USING btree (upto_time);


--
-- Name: console_session_api_key_id; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX console_session_api_key_id ON outbox.console_session USING btree (api_key_id, expires_at);


--
-- Name: cursor_channel; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX cursor_channel ON outbox.cursor USING btree (subscription_id, shard, priority) WHERE (channel IS NOT NULL);


--
-- Name: cursor_is_unique; Type: INDEX; Schema: outbox; Owner: -
--

CREATE UNIQUE INDEX cursor_is_unique ON outbox.cursor USING btree (subscription_id, shard, priority, COALESCE(channel, ''::text));


--
-- Name: dead_letter_subscription_id; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX dead_letter_subscription_id ON outbox.dead_letter USING btree (subscription_id, id);


--
-- Name: dead_letter_waiting; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX dead_letter_waiting ON outbox.dead_letter USING btree (subscription_id, message_id) WHERE (redriven_at IS NULL);


--
-- Name: delivery_acked; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX delivery_acked ON outbox.delivery USING btree (cursor_id) WHERE (outcome = 'acked'::text);


--
-- Name: delivery_dead_letter; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX delivery_dead_letter ON outbox.delivery USING btree (dead_letter_id);


--
-- Name: delivery_due; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX delivery_due ON outbox.delivery USING btree (cursor_id, due_at) WHERE (due_at IS NOT NULL);


--
-- Name: delivery_group; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX delivery_group ON outbox.delivery USING btree (cursor_id, group_key, message_id) WHERE (due_at IS NULL);


--
-- Name: delivery_has_one_head; Type: INDEX; Schema: outbox; Owner: -
--

CREATE UNIQUE INDEX delivery_has_one_head ON outbox.delivery USING btree (cursor_id, group_key) WHERE (due_at IS NOT NULL);


--
-- Name: event_type_version_made_by; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX event_type_version_made_by ON outbox.event_type_version USING btree (made_by);


--
-- Name: idempotent_request_created_at; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX idempotent_request_created_at ON outbox.idempotent_request USING btree (created_at);


--
-- Name: message_priority_id; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX message_priority_id ON ONLY outbox.message USING btree (((priority)::integer), ((id + 0)));


--
-- Name: message_0_priority_expr_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX message_0_priority_expr_idx ON outbox.message_0 USING btree (((priority)::integer), ((id + 0)));


--
-- Name: message_priority_xid_id; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX message_priority_xid_id ON ONLY outbox.message USING btree (priority, xid, id);


--
-- Name: message_0_priority_xid_id_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX message_0_priority_xid_id_idx ON outbox.message_0 USING btree (priority, xid, id);


--
-- Name: message_1_priority_expr_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX message_1_priority_expr_idx ON outbox.message_1 USING btree (((priority)::integer), ((id + 0)));


--
-- Name: message_1_priority_xid_id_idx; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX message_1_priority_xid_id_idx ON outbox.message_1 USING btree (priority, xid, id);


--
-- Name: replay_cursor; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX replay_cursor ON outbox.replay USING btree (cursor_id);


--
-- Name: rescheduling_one_has_not_begun; Type: INDEX; Schema: outbox; Owner: -
--

CREATE UNIQUE INDEX rescheduling_one_has_not_begun ON outbox.rescheduling USING btree (cursor_id) WHERE (done_id = 0);


--
-- Name: source_dead_letter_due; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX source_dead_letter_due ON outbox.source_dead_letter USING btree (source_id, id) WHERE due;


--
-- Name: source_dead_letter_of_source; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX source_dead_letter_of_source ON outbox.source_dead_letter USING btree (source_id, id);


--
-- Name: source_name_in_any_case; Type: INDEX; Schema: outbox; Owner: -
--

CREATE UNIQUE INDEX source_name_in_any_case ON outbox.source USING btree (lower((name COLLATE "C")));


--
-- Name: source_receipt_by_age; Type: INDEX; Schema: outbox; Owner: -
--

CREATE INDEX source_receipt_by_age ON outbox.source_receipt USING brin (received_at) WITH (pages_per_range='32');


--
-- Name: subscription_name_in_any_case; Type: INDEX; Schema: outbox; Owner: -
--

CREATE UNIQUE INDEX subscription_name_in_any_case ON outbox.subscription USING btree (lower((name COLLATE "C")));


--
-- Name: attempt_log_0_message_id_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.attempt_log_message_id ATTACH PARTITION outbox.attempt_log_0_message_id_idx;


--
-- Name: attempt_log_0_message_id_last_message_id_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.attempt_log_messages ATTACH PARTITION outbox.attempt_log_0_message_id_last_message_id_idx;


--
-- Name: attempt_log_0_subscription_id_id_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.attempt_log_subscription_id ATTACH PARTITION outbox.attempt_log_0_subscription_id_id_idx;


--
-- Name: attempt_log_1_message_id_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.attempt_log_message_id ATTACH PARTITION outbox.attempt_log_1_message_id_idx;


--
-- Name: attempt_log_1_message_id_last_message_id_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.attempt_log_messages ATTACH PARTITION outbox.attempt_log_1_message_id_last_message_id_idx;


--
-- Name: attempt_log_1_subscription_id_id_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.attempt_log_subscription_id ATTACH PARTITION outbox.attempt_log_1_subscription_id_id_idx;


--
-- Name: message_0_priority_expr_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.message_priority_id ATTACH PARTITION outbox.message_0_priority_expr_idx;


--
-- Name: message_0_priority_xid_id_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.message_priority_xid_id ATTACH PARTITION outbox.message_0_priority_xid_id_idx;


--
-- Name: message_1_priority_expr_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.message_priority_id ATTACH PARTITION outbox.message_1_priority_expr_idx;


--
-- Name: message_1_priority_xid_id_idx; Type: INDEX ATTACH; Schema: outbox; Owner: -
--

ALTER INDEX outbox.message_priority_xid_id ATTACH PARTITION outbox.message_1_priority_xid_id_idx;


--
-- Name: received_webhook_0_pkey; Type: INDEX ATTACH; Schema: sale; Owner: -
--

ALTER INDEX sale.received_webhook_pkey ATTACH PARTITION sale.received_webhook_0_pkey;


--
-- Name: received_webhook_1_pkey; Type: INDEX ATTACH; Schema: sale; Owner: -
--

ALTER INDEX sale.received_webhook_pkey ATTACH PARTITION sale.received_webhook_1_pkey;


--
-- Name: subscription check_settings; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER check_settings BEFORE INSERT OR UPDATE OF kind, channels, delivery, settings ON outbox.subscription FOR EACH ROW EXECUTE FUNCTION outbox.check_settings();


--
-- Name: source check_source; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER check_source BEFORE INSERT OR UPDATE OF kind, channel, priority, settings ON outbox.source FOR EACH ROW EXECUTE FUNCTION outbox.check_source();


--
-- Name: subscription close_breaker; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER close_breaker AFTER UPDATE OF paused ON outbox.subscription FOR EACH ROW WHEN (((new.kind <> 'kafka'::text) AND old.paused AND (NOT new.paused))) EXECUTE FUNCTION outbox.close_breaker();


--
-- Name: subscription equip_push; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER equip_push AFTER INSERT ON outbox.subscription FOR EACH ROW WHEN ((new.kind <> 'kafka'::text)) EXECUTE FUNCTION outbox.equip_push();


--
-- Name: installation forget_marks; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER forget_marks AFTER INSERT OR UPDATE OF id, system_identifier ON outbox.installation FOR EACH STATEMENT EXECUTE FUNCTION outbox.forget_marks();


--
-- Name: message give_no_id_twice; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER give_no_id_twice AFTER TRUNCATE ON outbox.message FOR EACH STATEMENT EXECUTE FUNCTION outbox.give_no_id_twice();


--
-- Name: message guard_own_channels; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER guard_own_channels BEFORE INSERT ON outbox.message FOR EACH ROW WHEN (starts_with(new.channel, 'outbox.'::text)) EXECUTE FUNCTION outbox.guard_own_channels();


--
-- Name: subscription guard_undelivered; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER guard_undelivered BEFORE DELETE ON outbox.subscription FOR EACH ROW EXECUTE FUNCTION outbox.guard_undelivered();


--
-- Name: subscription make_cursors; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER make_cursors AFTER INSERT ON outbox.subscription FOR EACH ROW EXECUTE FUNCTION outbox.make_cursors();


--
-- Name: api_key make_key_use; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER make_key_use AFTER INSERT ON outbox.api_key FOR EACH ROW EXECUTE FUNCTION outbox.make_key_use();


--
-- Name: cursor note_drop; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER note_drop AFTER UPDATE OF waiting_since ON outbox.cursor FOR EACH ROW WHEN (((new.channel IS NOT NULL) AND (old.waiting_since IS NOT NULL) AND (new.waiting_since IS NULL))) EXECUTE FUNCTION outbox.note_drop();


--
-- Name: subscription note_filter; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE CONSTRAINT TRIGGER note_filter AFTER UPDATE OF channels, types ON outbox.subscription DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((old.channels IS DISTINCT FROM new.channels) OR (old.types IS DISTINCT FROM new.types))) EXECUTE FUNCTION outbox.note_filter();


--
-- Name: cursor note_merge; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER note_merge BEFORE DELETE ON outbox.cursor FOR EACH ROW WHEN ((old.channel IS NOT NULL)) EXECUTE FUNCTION outbox.note_merge();


--
-- Name: subscription note_new_schedule; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER note_new_schedule AFTER UPDATE OF settings ON outbox.subscription FOR EACH ROW WHEN (((new.kind <> 'kafka'::text) AND ((old.settings -> 'retry'::text) IS DISTINCT FROM (new.settings -> 'retry'::text)))) EXECUTE FUNCTION outbox.note_new_schedule();


--
-- Name: subscription note_start; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER note_start AFTER INSERT ON outbox.subscription FOR EACH ROW EXECUTE FUNCTION outbox.note_start();


--
-- Name: source refuse_loop; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER refuse_loop BEFORE INSERT OR UPDATE OF channel, settings ON outbox.source FOR EACH ROW EXECUTE FUNCTION outbox.refuse_loop();


--
-- Name: subscription refuse_loop; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER refuse_loop BEFORE INSERT OR UPDATE OF channels, settings ON outbox.subscription FOR EACH ROW WHEN ((outbox.other_cluster(new.settings) <> ''::text)) EXECUTE FUNCTION outbox.refuse_loop();


--
-- Name: subscription refuse_new_shards; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER refuse_new_shards BEFORE UPDATE OF shards ON outbox.subscription FOR EACH ROW WHEN ((new.shards <> old.shards)) EXECUTE FUNCTION outbox.refuse_new_shards();


--
-- Name: source refuse_taken_name; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER refuse_taken_name BEFORE INSERT OR UPDATE OF name ON outbox.source FOR EACH ROW EXECUTE FUNCTION outbox.refuse_taken_name();


--
-- Name: subscription refuse_taken_name; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER refuse_taken_name BEFORE INSERT OR UPDATE OF name ON outbox.subscription FOR EACH ROW EXECUTE FUNCTION outbox.refuse_taken_name();


--
-- Name: subscription remember_channels; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER remember_channels BEFORE INSERT OR UPDATE OF channels, read_channels ON outbox.subscription FOR EACH ROW EXECUTE FUNCTION outbox.remember_channels();


--
-- Name: subscription require_room_for_connector; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER require_room_for_connector AFTER INSERT ON outbox.subscription FOR EACH ROW WHEN (((new.kind = 'kafka'::text) AND (outbox.other_cluster(new.settings) <> ''::text))) EXECUTE FUNCTION outbox.require_room_for_connector();


--
-- Name: subscription require_room_for_moved; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER require_room_for_moved AFTER UPDATE OF settings ON outbox.subscription FOR EACH ROW WHEN (((new.kind = 'kafka'::text) AND (outbox.other_cluster(new.settings) <> ''::text) AND (outbox.other_cluster(old.settings) = ''::text))) EXECUTE FUNCTION outbox.require_room_for_connector();


--
-- Name: source require_room_for_source; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER require_room_for_source BEFORE INSERT ON outbox.source FOR EACH ROW EXECUTE FUNCTION outbox.require_room_for_source();


--
-- Name: attempt_log stay_in_partition; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER stay_in_partition AFTER TRUNCATE ON outbox.attempt_log FOR EACH STATEMENT EXECUTE FUNCTION outbox.stay_in_partition();


--
-- Name: subscription tell_pause; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER tell_pause AFTER UPDATE OF paused ON outbox.subscription FOR EACH ROW WHEN ((old.paused <> new.paused)) EXECUTE FUNCTION outbox.tell_pause();


--
-- Name: subscription unequip_push; Type: TRIGGER; Schema: outbox; Owner: -
--

CREATE TRIGGER unequip_push AFTER DELETE ON outbox.subscription FOR EACH ROW WHEN ((old.kind <> 'kafka'::text)) EXECUTE FUNCTION outbox.unequip_push();


--
-- Name: received_webhook stay_in_partition; Type: TRIGGER; Schema: sale; Owner: -
--

CREATE TRIGGER stay_in_partition AFTER TRUNCATE ON sale.received_webhook FOR EACH STATEMENT EXECUTE FUNCTION outbox.stay_in_partition();


--
-- Name: api_key_use api_key_use_api_key_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.api_key_use
    ADD CONSTRAINT api_key_use_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES outbox.api_key(id) ON DELETE CASCADE;


--
-- Name: channel_past channel_past_subscription_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.channel_past
    ADD CONSTRAINT channel_past_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES outbox.subscription(id) ON DELETE CASCADE;


--
-- Name: checkpoint checkpoint_cursor_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.checkpoint
    ADD CONSTRAINT checkpoint_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES outbox.cursor(id) ON DELETE CASCADE;


--
-- Name: console_session console_session_api_key_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.console_session
    ADD CONSTRAINT console_session_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES outbox.api_key(id) ON DELETE CASCADE;


--
-- Name: cursor cursor_subscription_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.cursor
    ADD CONSTRAINT cursor_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES outbox.subscription(id) ON DELETE CASCADE;


--
-- Name: dead_letter dead_letter_cursor_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.dead_letter
    ADD CONSTRAINT dead_letter_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES outbox.cursor(id);


--
-- Name: delivery delivery_cursor_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.delivery
    ADD CONSTRAINT delivery_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES outbox.cursor(id) ON DELETE CASCADE;


--
-- Name: delivery delivery_dead_letter_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.delivery
    ADD CONSTRAINT delivery_dead_letter_id_fkey FOREIGN KEY (dead_letter_id) REFERENCES outbox.dead_letter(id);


--
-- Name: event_type_version event_type_version_event_type_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.event_type_version
    ADD CONSTRAINT event_type_version_event_type_id_fkey FOREIGN KEY (event_type_id) REFERENCES outbox.event_type(id) ON DELETE CASCADE;


--
-- Name: idempotent_request idempotent_request_api_key_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.idempotent_request
    ADD CONSTRAINT idempotent_request_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES outbox.api_key(id);


--
-- Name: replay replay_cursor_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.replay
    ADD CONSTRAINT replay_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES outbox.cursor(id) ON DELETE CASCADE;


--
-- Name: rescheduling rescheduling_cursor_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.rescheduling
    ADD CONSTRAINT rescheduling_cursor_id_fkey FOREIGN KEY (cursor_id) REFERENCES outbox.cursor(id) ON DELETE CASCADE;


--
-- Name: secret secret_subscription_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.secret
    ADD CONSTRAINT secret_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES outbox.subscription(id) ON DELETE CASCADE;


--
-- Name: source_dead_letter source_dead_letter_source_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.source_dead_letter
    ADD CONSTRAINT source_dead_letter_source_id_fkey FOREIGN KEY (source_id) REFERENCES outbox.source(id) ON DELETE CASCADE;


--
-- Name: source_position source_position_source_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.source_position
    ADD CONSTRAINT source_position_source_id_fkey FOREIGN KEY (source_id) REFERENCES outbox.source(id) ON DELETE CASCADE;


--
-- Name: source_queue source_queue_source_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.source_queue
    ADD CONSTRAINT source_queue_source_id_fkey FOREIGN KEY (source_id) REFERENCES outbox.source(id) ON DELETE CASCADE;


--
-- Name: source_receipt source_receipt_source_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.source_receipt
    ADD CONSTRAINT source_receipt_source_id_fkey FOREIGN KEY (source_id) REFERENCES outbox.source(id) ON DELETE CASCADE;


--
-- Name: subscription_mark subscription_mark_subscription_id_fkey; Type: FK CONSTRAINT; Schema: outbox; Owner: -
--

ALTER TABLE ONLY outbox.subscription_mark
    ADD CONSTRAINT subscription_mark_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES outbox.subscription(id) ON DELETE CASCADE;


--
-- Name: allocation_usage allocation_usage_order_id_fkey; Type: FK CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.allocation_usage
    ADD CONSTRAINT allocation_usage_order_id_fkey FOREIGN KEY (order_id) REFERENCES sale.sale_order(id);


--
-- Name: order_item order_item_order_id_fkey; Type: FK CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.order_item
    ADD CONSTRAINT order_item_order_id_fkey FOREIGN KEY (order_id) REFERENCES sale.sale_order(id);


--
-- Name: points_transaction points_transaction_order_id_fkey; Type: FK CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.points_transaction
    ADD CONSTRAINT points_transaction_order_id_fkey FOREIGN KEY (order_id) REFERENCES sale.sale_order(id);


--
-- Name: sale_check sale_check_order_id_fkey; Type: FK CONSTRAINT; Schema: sale; Owner: -
--

ALTER TABLE ONLY sale.sale_check
    ADD CONSTRAINT sale_check_order_id_fkey FOREIGN KEY (order_id) REFERENCES sale.sale_order(id);


--
-- Name: FUNCTION advance_sequence(owner regclass, highest_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.advance_sequence(owner regclass, highest_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION attempts_at(message_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.attempts_at(message_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION begin_session(key_hash bytea, session_hash bytea); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.begin_session(key_hash bytea, session_hash bytea) FROM PUBLIC;


--
-- Name: FUNCTION channel_cursor_target(channel_cursor_id bigint, seen pg_snapshot); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.channel_cursor_target(channel_cursor_id bigint, seen pg_snapshot) FROM PUBLIC;


--
-- Name: FUNCTION channels_with_room(subscription_id bigint, channels text[], temporary boolean[], most bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.channels_with_room(subscription_id bigint, channels text[], temporary boolean[], most bigint) FROM PUBLIC;


--
-- Name: FUNCTION check_event_type(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.check_event_type() FROM PUBLIC;


--
-- Name: FUNCTION clear_acked(cursor_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.clear_acked(cursor_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION connect(name text, channel text, type text, config jsonb, types text[], shards integer, delivery text, made_by text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.connect(name text, channel text, type text, config jsonb, types text[], shards integer, delivery text, made_by text) FROM PUBLIC;


--
-- Name: FUNCTION connect_in(name text, channel text, type text, config jsonb, priority integer, made_by text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.connect_in(name text, channel text, type text, config jsonb, priority integer, made_by text) FROM PUBLIC;


--
-- Name: FUNCTION connector_topic(settings jsonb, channels text[]); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.connector_topic(settings jsonb, channels text[]) FROM PUBLIC;


--
-- Name: FUNCTION count_deliveries(subscription_id bigint, at_most integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.count_deliveries(subscription_id bigint, at_most integer) FROM PUBLIC;


--
-- Name: FUNCTION current_snapshot(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.current_snapshot() FROM PUBLIC;


--
-- Name: FUNCTION delete_subscription(name text, discard_undelivered boolean); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.delete_subscription(name text, discard_undelivered boolean) FROM PUBLIC;


--
-- Name: FUNCTION dependents_of(relation regclass, OUT dependents text, OUT may_go boolean); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.dependents_of(relation regclass, OUT dependents text, OUT may_go boolean) FROM PUBLIC;


--
-- Name: FUNCTION disable(subscription_id bigint, reason text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.disable(subscription_id bigint, reason text) FROM PUBLIC;


--
-- Name: FUNCTION disable_if_dead(subscription_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.disable_if_dead(subscription_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION discard_source_dead_letters(source_id bigint, ids bigint[]); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.discard_source_dead_letters(source_id bigint, ids bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION drop_channel(channel text, subscription text, dry_run boolean); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.drop_channel(channel text, subscription text, dry_run boolean) FROM PUBLIC;


--
-- Name: FUNCTION drop_event_check(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.drop_event_check() FROM PUBLIC;


--
-- Name: FUNCTION drop_event_type(type text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.drop_event_type(type text) FROM PUBLIC;


--
-- Name: FUNCTION drop_table(relation regclass); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.drop_table(relation regclass) FROM PUBLIC;


--
-- Name: FUNCTION end_session(hash bytea); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.end_session(hash bytea) FROM PUBLIC;


--
-- Name: FUNCTION end_source(source_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.end_source(source_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION event_faults(event_type_id bigint, channel text, payload bytea, at_most integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.event_faults(event_type_id bigint, channel text, payload bytea, at_most integer) FROM PUBLIC;


--
-- Name: FUNCTION event_type_line(type text, schema text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.event_type_line(type text, schema text) FROM PUBLIC;


--
-- Name: FUNCTION find_messages(idempotency_key text, group_key text, channel text, from_time timestamp with time zone, upto_time timestamp with time zone); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.find_messages(idempotency_key text, group_key text, channel text, from_time timestamp with time zone, upto_time timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION finished_ranges(first xid8); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.finished_ranges(first xid8) FROM PUBLIC;


--
-- Name: FUNCTION first_id_at(class integer, since timestamp with time zone); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.first_id_at(class integer, since timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION first_id_since(since timestamp with time zone); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.first_id_since(since timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION foreign_cluster(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.foreign_cluster() FROM PUBLIC;


--
-- Name: FUNCTION has_unread(cursor_id bigint, give_up_at timestamp with time zone); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.has_unread(cursor_id bigint, give_up_at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION hold_for_outcomes(probed bigint[], gone bigint[], failed bigint[]); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.hold_for_outcomes(probed bigint[], gone bigint[], failed bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION hold_half_open(subscription_id bigint, token bigint, lease_seconds double precision); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.hold_half_open(subscription_id bigint, token bigint, lease_seconds double precision) FROM PUBLIC;


--
-- Name: FUNCTION hold_maintenance(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.hold_maintenance() FROM PUBLIC;


--
-- Name: FUNCTION hold_source(source_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.hold_source(source_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION is_done(xid xid8, message_id bigint, seen pg_snapshot, target pg_snapshot, after_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.is_done(xid xid8, message_id bigint, seen pg_snapshot, target pg_snapshot, after_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION judge_breaker(subscription_id bigint, acked bigint, failed bigint, refused bigint, window_seconds double precision, minimum bigint, threshold double precision, cool_down_seconds double precision, OUT opened boolean, OUT told boolean); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.judge_breaker(subscription_id bigint, acked bigint, failed bigint, refused bigint, window_seconds double precision, minimum bigint, threshold double precision, cool_down_seconds double precision, OUT opened boolean, OUT told boolean) FROM PUBLIC;


--
-- Name: FUNCTION judge_half_open(subscription_id bigint, token bigint, acked boolean, refused boolean, cool_down_seconds double precision, asked_seconds double precision); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.judge_half_open(subscription_id bigint, token bigint, acked boolean, refused boolean, cool_down_seconds double precision, asked_seconds double precision) FROM PUBLIC;


--
-- Name: FUNCTION other_cluster(settings jsonb); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.other_cluster(settings jsonb) FROM PUBLIC;


--
-- Name: FUNCTION source_cluster(settings jsonb); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.source_cluster(settings jsonb) FROM PUBLIC;


--
-- Name: FUNCTION leads_round(subscription outbox.subscription, source outbox.source); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.leads_round(subscription outbox.subscription, source outbox.source) FROM PUBLIC;


--
-- Name: FUNCTION make_ahead(parent text, present integer, upto_time timestamp with time zone); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.make_ahead(parent text, present integer, upto_time timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION make_partitions(retention_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.make_partitions(retention_days integer) FROM PUBLIC;


--
-- Name: FUNCTION merge_channel_cursors(cursor_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.merge_channel_cursors(cursor_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION note_maintenance(relay text, fault text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.note_maintenance(relay text, fault text) FROM PUBLIC;


--
-- Name: FUNCTION note_rescheduling(subscription_id bigint, former jsonb, retry jsonb); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.note_rescheduling(subscription_id bigint, former jsonb, retry jsonb) FROM PUBLIC;


--
-- Name: FUNCTION note_source_waiting(source_id bigint, reason text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.note_source_waiting(source_id bigint, reason text) FROM PUBLIC;


--
-- Name: FUNCTION note_waiting(subscription_id bigint, reason text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.note_waiting(subscription_id bigint, reason text) FROM PUBLIC;


--
-- Name: FUNCTION open_transactions(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.open_transactions() FROM PUBLIC;


--
-- Name: FUNCTION partition_needed_by(partition text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.partition_needed_by(partition text) FROM PUBLIC;


--
-- Name: FUNCTION partition_room(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.partition_room() FROM PUBLIC;


--
-- Name: FUNCTION partition_state(retention_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.partition_state(retention_days integer) FROM PUBLIC;


--
-- Name: FUNCTION partition_width(keep_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.partition_width(keep_days integer) FROM PUBLIC;


--
-- Name: FUNCTION partitions_left_out(retention_days integer, keep_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.partitions_left_out(retention_days integer, keep_days integer) FROM PUBLIC;


--
-- Name: FUNCTION passage(cursor_id bigint, xid xid8, message_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.passage(cursor_id bigint, xid xid8, message_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION past_partitions(parent text, keep_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.past_partitions(parent text, keep_days integer) FROM PUBLIC;


--
-- Name: FUNCTION pending(cursor_id bigint, at_most integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.pending(cursor_id bigint, at_most integer) FROM PUBLIC;


--
-- Name: FUNCTION pinned_partitions(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.pinned_partitions() FROM PUBLIC;


--
-- Name: FUNCTION present_partition(parent text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.present_partition(parent text) FROM PUBLIC;


--
-- Name: FUNCTION promote(cursor_id bigint, group_keys text[]); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.promote(cursor_id bigint, group_keys text[]) FROM PUBLIC;


--
-- Name: FUNCTION publish_checked(channel text, type text, payload bytea, version integer, pointer text, keyword text, group_key text, priority integer, idempotency_key text, headers json); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.publish_checked(channel text, type text, payload bytea, version integer, pointer text, keyword text, group_key text, priority integer, idempotency_key text, headers json) FROM PUBLIC;


--
-- Name: FUNCTION publish_own(channel text, type text, payload json, group_key text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.publish_own(channel text, type text, payload json, group_key text) FROM PUBLIC;


--
-- Name: FUNCTION published_here(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.published_here() FROM PUBLIC;


--
-- Name: FUNCTION put_event_type(type text, channels text[], description text, owner text, enforcement text, compatibility text, example text, expected integer, expected_id bigint, schema text, closed text, decides jsonpath, checks jsonb, singles jsonb, not_in_sql text, made_by text, of_key text, deprecated_on date, successor text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.put_event_type(type text, channels text[], description text, owner text, enforcement text, compatibility text, example text, expected integer, expected_id bigint, schema text, closed text, decides jsonpath, checks jsonb, singles jsonb, not_in_sql text, made_by text, of_key text, deprecated_on date, successor text) FROM PUBLIC;


--
-- Name: FUNCTION random_key(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.random_key() FROM PUBLIC;


--
-- Name: FUNCTION rebase(repeat_from timestamp with time zone); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.rebase(repeat_from timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION redrive(dead_letter_ids bigint[]); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.redrive(dead_letter_ids bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION refuse_event(type text, version integer, pointer text, keyword text, detail text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.refuse_event(type text, version integer, pointer text, keyword text, detail text) FROM PUBLIC;


--
-- Name: FUNCTION relays(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.relays() FROM PUBLIC;


--
-- Name: FUNCTION replay(subscription text, from_time timestamp with time zone, from_message_id bigint, dry_run boolean); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.replay(subscription text, from_time timestamp with time zone, from_message_id bigint, dry_run boolean) FROM PUBLIC;


--
-- Name: FUNCTION require_event_check(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.require_event_check() FROM PUBLIC;


--
-- Name: FUNCTION require_room(shards integer, made_by text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.require_room(shards integer, made_by text) FROM PUBLIC;


--
-- Name: FUNCTION require_room_for_connector(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.require_room_for_connector() FROM PUBLIC;


--
-- Name: FUNCTION require_room_for_event_type(of_key text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.require_room_for_event_type(of_key text) FROM PUBLIC;


--
-- Name: FUNCTION require_room_for_source(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.require_room_for_source() FROM PUBLIC;


--
-- Name: FUNCTION require_room_for_version(of_key text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.require_room_for_version(of_key text) FROM PUBLIC;


--
-- Name: FUNCTION reschedule(cursor_id bigint, at_most integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.reschedule(cursor_id bigint, at_most integer) FROM PUBLIC;


--
-- Name: FUNCTION retire_partition(partition text, retention_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.retire_partition(partition text, retention_days integer) FROM PUBLIC;


--
-- Name: FUNCTION retry(subscription text, group_key text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.retry(subscription text, group_key text) FROM PUBLIC;


--
-- Name: FUNCTION retry_delay(retry jsonb, attempts integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.retry_delay(retry jsonb, attempts integer) FROM PUBLIC;


--
-- Name: FUNCTION rotate_secret(subscription_id bigint, revoke_old text, sealed text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.rotate_secret(subscription_id bigint, revoke_old text, sealed text) FROM PUBLIC;


--
-- Name: FUNCTION seal_secret(subscription_id bigint, created_at timestamp with time zone, sealed text, sealed_before text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.seal_secret(subscription_id bigint, created_at timestamp with time zone, sealed text, sealed_before text) FROM PUBLIC;


--
-- Name: FUNCTION seek_source(source_id bigint, start text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.seek_source(source_id bigint, start text) FROM PUBLIC;


--
-- Name: FUNCTION send_test(subscription_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.send_test(subscription_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION stop_source(source_id bigint, reason text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.stop_source(source_id bigint, reason text) FROM PUBLIC;


--
-- Name: FUNCTION subscribe(name text, channel text, endpoint text, settings jsonb, types text[], shards integer, sealed text, made_by text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.subscribe(name text, channel text, endpoint text, settings jsonb, types text[], shards integer, sealed text, made_by text) FROM PUBLIC;


--
-- Name: FUNCTION take_answer_budget(subscription_id bigint, sizes integer[]); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.take_answer_budget(subscription_id bigint, sizes integer[]) FROM PUBLIC;


--
-- Name: FUNCTION take_rate(subscription_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.take_rate(subscription_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION tell(subscription_id bigint, type text, detail json); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.tell(subscription_id bigint, type text, detail json) FROM PUBLIC;


--
-- Name: FUNCTION tell_at_times(subscription_id bigint, type text, detail json); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.tell_at_times(subscription_id bigint, type text, detail json) FROM PUBLIC;


--
-- Name: FUNCTION tell_left_out(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.tell_left_out() FROM PUBLIC;


--
-- Name: FUNCTION trace(message_id bigint, subscription_ids bigint[]); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trace(message_id bigint, subscription_ids bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION trace_message(message_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trace_message(message_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION trace_queue(cursor_id bigint, message_id bigint, group_key text, row_state text, look_at_most integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trace_queue(cursor_id bigint, message_id bigint, group_key text, row_state text, look_at_most integer) FROM PUBLIC;


--
-- Name: FUNCTION trim_audit(keep_days integer, keep_at_most integer, at_once integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trim_audit(keep_days integer, keep_at_most integer, at_once integer) FROM PUBLIC;


--
-- Name: FUNCTION trim_checkpoints(keep interval, keep_at_least integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trim_checkpoints(keep interval, keep_at_least integer) FROM PUBLIC;


--
-- Name: FUNCTION trim_dead_letters(retention_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trim_dead_letters(retention_days integer) FROM PUBLIC;


--
-- Name: FUNCTION trim_event_faults(keep_days integer, at_most bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trim_event_faults(keep_days integer, at_most bigint) FROM PUBLIC;


--
-- Name: FUNCTION trim_idempotency(at_most integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trim_idempotency(at_most integer) FROM PUBLIC;


--
-- Name: FUNCTION trim_receipts(at_most integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trim_receipts(at_most integer) FROM PUBLIC;


--
-- Name: FUNCTION trim_replays(); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.trim_replays() FROM PUBLIC;


--
-- Name: FUNCTION turn_attempts(keep_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.turn_attempts(keep_days integer) FROM PUBLIC;


--
-- Name: FUNCTION turn_by_age(parent text, keep_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.turn_by_age(parent text, keep_days integer) FROM PUBLIC;


--
-- Name: FUNCTION turn_partition(parent text, keep_days integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.turn_partition(parent text, keep_days integer) FROM PUBLIC;


--
-- Name: FUNCTION undelivered(subscription_id bigint); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.undelivered(subscription_id bigint) FROM PUBLIC;


--
-- Name: FUNCTION unread(cursor_id bigint, look_at_most integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.unread(cursor_id bigint, look_at_most integer) FROM PUBLIC;


--
-- Name: FUNCTION unsubscribe(subscription_id bigint, discard_undelivered boolean); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.unsubscribe(subscription_id bigint, discard_undelivered boolean) FROM PUBLIC;


--
-- Name: FUNCTION use_key(hash bytea); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.use_key(hash bytea) FROM PUBLIC;


--
-- Name: FUNCTION use_session(hash bytea); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.use_session(hash bytea) FROM PUBLIC;


--
-- Name: FUNCTION waiting_channels(look_at_most integer); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.waiting_channels(look_at_most integer) FROM PUBLIC;


--
-- Name: FUNCTION wants(channels text[], types text[], channel text, type text); Type: ACL; Schema: outbox; Owner: -
--

REVOKE ALL ON FUNCTION outbox.wants(channels text[], types text[], channel text, type text) FROM PUBLIC;


--
-- Name: FUNCTION publish_update(order_id uuid, update json, headers json); Type: ACL; Schema: sale; Owner: -
--

REVOKE ALL ON FUNCTION sale.publish_update(order_id uuid, update json, headers json) FROM PUBLIC;


--
-- Name: FUNCTION turn_received(received_days integer); Type: ACL; Schema: sale; Owner: -
--

REVOKE ALL ON FUNCTION sale.turn_received(received_days integer) FROM PUBLIC;


--
-- PostgreSQL database dump complete
--
