-- Group roles with the least that each process needs. Make a login role for each process and grant it its group:
--     create role checkout login; grant outbox_service to checkout;
-- Run this as the owner of the schemas, who may also create roles, after the migrations; running it again is safe.
-- Everything is named with its schema, so that no search_path decides what a superuser calls here.

-- Roles belong to the whole cluster: another database may have made them, or may be making them at this moment.
do $$
declare
    name pg_catalog.text;
begin
    foreach name in array array['outbox_publisher', 'outbox_service', 'outbox_relay', 'outbox_reader'] loop
        begin
            execute pg_catalog.format('create role %I nologin', name);
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
end
$$;

-- From PostgreSQL 16 on, a role that may make roles may grant only those that it made itself, or holds with admin
-- option. In a cluster where another database was first, another role may have made these.
do $$
declare
    groups  pg_catalog.text[] := array['outbox_publisher', 'outbox_service', 'outbox_relay', 'outbox_reader'];
    lacking pg_catalog.text;
    grantor pg_catalog.text;
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    if current_setting('server_version_num')::integer < 160000 then
        return;
    end if;
    select string_agg(quote_ident(rolname), ', ' order by rolname) into lacking from pg_roles
    where rolname = any (groups) and not pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION');
    if lacking is not null then
        select string_agg(distinct quote_ident(pg_get_userbyid(member)) || ' or ', '') into grantor
        from pg_auth_members join pg_roles on pg_roles.oid = roleid
        where rolname = any (groups) and admin_option;
        raise warning using message = format(
            '%s may not grant %s to logins, since another role made them: '
            'let %sa superuser run: grant %s to %s with admin option',
            current_user, lacking, grantor, lacking, quote_ident(current_user));
    end if;
end
$$;

revoke all on schema outbox from public;
revoke all on all tables in schema outbox from public;
revoke all on all functions in schema outbox from public;
grant usage on schema outbox to outbox_publisher, outbox_service, outbox_relay, outbox_reader;

-- A publisher publishes and reads nothing else. It can't set id, xid or created_at: a forged xid would be skipped by every
-- cursor without a word. Nor can it write to channels that begin with `outbox.`: those are the platform's own, see
-- outbox.guard_own_channels. Of its own transaction alone it may read back what it published. The rest are what a plain
-- INSERT's defaults, checks and refusals call.
grant execute on function
    outbox.publish(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.int4, pg_catalog.text,
                   pg_catalog.text),
    outbox.publish(pg_catalog.text, pg_catalog.text, pg_catalog.json, pg_catalog.text, pg_catalog.int4, pg_catalog.text,
                   pg_catalog.json),
    outbox.publish(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.int4, pg_catalog.text,
                   pg_catalog.jsonb),
    outbox.publish_bytes, outbox.published_here, outbox.uuid7, outbox.headers_are_plain, outbox.headers_fault,
    outbox.is_withheld, outbox.refuse_headers, outbox.refuse_own_channel
    to outbox_publisher, outbox_service;
grant insert (channel, type, group_key, priority, idempotency_key, headers, content_type, payload)
    on outbox.message to outbox_publisher, outbox_service;

-- The service also reads the log, for its WebSockets. For its HTTP API it reads what became of the messages, changes
-- subscriptions and knows its callers. It can't read what requests are signed with: the functions write outbox.secret,
-- and return each secret once. Nor can it read or write outbox.api_key: outbox.use_key says whose key it has, and the
-- owner makes keys.
grant select on
    outbox.message, outbox.subscription, outbox.cursor, outbox.delivery, outbox.dead_letter, outbox.attempt,
    outbox.attempt_log, outbox.breaker, outbox.delivery_summary, outbox.idempotent_request
    to outbox_service;
grant select (cursor_id, n, messages, failures, relay, created_at) on outbox.checkpoint to outbox_service;
grant select on outbox.migration to outbox_service;
grant update (name, channels, types, delivery, settings, paused, paused_reason) on outbox.subscription
    to outbox_service;
grant insert (api_key_id, key, fingerprint), update (fingerprint, answer, created_at)
    on outbox.idempotent_request to outbox_service;
grant execute on function
    outbox.subscribe, outbox.connect, outbox.connect_in, outbox.other_cluster, outbox.unsubscribe, outbox.rotate_secret,
    outbox.send_test, outbox.replay, outbox.redrive, outbox.retry, outbox.unread, outbox.delivery_state,
    outbox.count_deliveries, outbox.use_key, outbox.channel_allowed, outbox.channel_fits, outbox.trim_idempotency,
    outbox.finished_ranges, outbox.attempts_at, outbox.trace_message, outbox.trace, outbox.find_messages
    to outbox_service;

-- And inward connectors.
grant select, update (name, settings, paused, paused_reason) on outbox.source to outbox_service;
grant select, update (due) on outbox.source_dead_letter to outbox_service;
grant select on outbox.source_state to outbox_service;
grant execute on function outbox.seek_source, outbox.end_source, outbox.discard_source_dead_letters to outbox_service;

-- And the event catalogue, which it changes by functions alone. They bind a key to its channels no more than a login: who
-- has the service's may refuse what publishers write, see docs/security.md.
grant select on
    outbox.event_type, outbox.event_type_version, outbox.event_type_fault, outbox.event_type_state
    to outbox_service;
grant execute on function
    outbox.event_faults, outbox.put_event_type, outbox.drop_event_type, outbox.require_event_check,
    outbox.channels_allowed, outbox.publish_checked
    to outbox_service;

-- And the console: it says who did what, can take nothing of it back, and knows a session by its hash alone.
grant select, insert (api_key_id, key_name, by_console, action, subject, subject_id, summary) on outbox.audit
    to outbox_service;
grant select on outbox.horizon, outbox.maintenance to outbox_service;
grant execute on function
    outbox.relays, outbox.open_transactions, outbox.partition_state, outbox.foreign_cluster
    to outbox_service;
grant execute on function outbox.begin_session, outbox.use_session, outbox.end_session to outbox_service;

-- A relay reads the log, and writes down where it stands and what it gave up. It may UPDATE the columns by which a
-- channel cursor waits, which also lets it lock a cursor, and those that say how Kafka knows a cursor.
grant select on outbox.message, outbox.subscription, outbox.installation, outbox.migration to outbox_relay;
grant select on outbox.connector_beyond_quota to outbox_relay;
grant select, insert, update (waiting_since, waiting_reason, generation, noted_in) on outbox.cursor to outbox_relay;
grant select, insert, delete on outbox.checkpoint to outbox_relay;
grant select, insert, update on outbox.dead_letter to outbox_relay;
grant select, insert, update (due_at), delete on outbox.delivery to outbox_relay;
grant execute on function
    outbox.shard_of, outbox.other_cluster, outbox.connector_topic, outbox.finished_ranges, outbox.current_snapshot,
    outbox.channel_cursor_target, outbox.merge_channel_cursors, outbox.channels_with_room,
    outbox.drop_channel, outbox.redrive, outbox.foreign_cluster, outbox.rebase, outbox.make_partitions,
    outbox.retire_partition, outbox.trim_checkpoints, outbox.trim_dead_letters, outbox.trim_idempotency,
    outbox.hold_maintenance, outbox.note_maintenance, outbox.trim_event_faults, outbox.drop_event_check,
    outbox.trim_audit
    to outbox_relay;

-- What sources hold it writes into the log, and how far it came in the same transaction.
grant insert (channel, type, group_key, priority, idempotency_key, headers, content_type, payload)
    on outbox.message to outbox_relay;
grant execute on function
    outbox.uuid7, outbox.headers_are_plain, outbox.headers_fault, outbox.is_withheld, outbox.refuse_headers
    to outbox_relay;
grant select on outbox.source to outbox_relay;
grant select, insert, update on outbox.source_position, outbox.source_queue to outbox_relay;
grant select, insert on outbox.source_receipt to outbox_relay;
grant select, insert, delete, update (due, reason, detail, died_at) on outbox.source_dead_letter to outbox_relay;
grant execute on function
    outbox.hold_source, outbox.note_source_waiting, outbox.stop_source, outbox.source_cluster, outbox.trim_receipts
    to outbox_relay;

-- For endpoints it also reads what requests are signed with, and logs attempts. It changes breakers, rates, a
-- subscription that has to be paused and a secret that is to be sealed by functions alone.
grant select on outbox.secret, outbox.replay, outbox.breaker, outbox.rescheduling to outbox_relay;
grant insert on outbox.attempt_log to outbox_relay;
grant update (attempts, due_at, token, outcome, reason, detail, dead_letter_id) on outbox.delivery to outbox_relay;
grant execute on function
    outbox.promote, outbox.clear_acked, outbox.tell_left_out, outbox.disable, outbox.judge_breaker,
    outbox.hold_half_open, outbox.judge_half_open, outbox.take_rate, outbox.take_answer_budget,
    outbox.hold_for_outcomes, outbox.turn_attempts, outbox.partitions_left_out, outbox.replay, outbox.seal_secret,
    outbox.note_waiting, outbox.retry, outbox.reschedule, outbox.trim_replays
    to outbox_relay;

-- A reader sees views, and in them no payload, no header, and no setting but those of connectors; and of tables what
-- `outbox-relay status`, `doctor` and the lists of subscriptions and channels look at. The functions are those behind
-- the views.
grant select on
    outbox.cursor_position, outbox.cursor_backlog, outbox.subscription_backlog, outbox.dead_letter_summary,
    outbox.throughput, outbox.cursor_holder, outbox.horizon, outbox.delivery_summary, outbox.breaker_state,
    outbox.delivery_head, outbox.recent_attempt, outbox.maintenance, outbox.subscription_endpoint, outbox.turn_holder,
    outbox.connector, outbox.source_state, outbox.event_type_state
    to outbox_reader, outbox_relay;

-- And what event types there are, with schema and example, and whether a payload of its own would fit: what
-- `outbox-relay catalogue check` and `export` ask.
grant select on outbox.event_type, outbox.event_type_version to outbox_reader;
grant execute on function
    outbox.event_type_line, outbox.payload_fits, outbox.payload_faults, outbox.payload_places, outbox.payload_children,
    outbox.payload_keeps, outbox.payload_measures
    to outbox_reader, outbox_service;
grant execute on function
    outbox.unread, outbox.pending, outbox.open_transactions, outbox.partition_state, outbox.waiting_channels,
    outbox.foreign_cluster, outbox.delivery_state, outbox.count_deliveries, outbox.pinned_partitions,
    outbox.trace_message, outbox.trace, outbox.find_messages
    to outbox_reader, outbox_relay;
grant select on outbox.migration, outbox.cursor, outbox.checkpoint, outbox.audit to outbox_reader;
grant select (id, name, kind, channels, types, delivery, shards, paused, paused_reason, waiting_since, waiting_reason)
    on outbox.subscription to outbox_reader;

-- Who may connect: no longer every login of the cluster. The roles are the cluster's: a member of one of the four is a
-- member in every other database that has this schema, and may connect there as well. Two such databases that must be
-- kept apart need two clusters, or `revoke connect on database NAME from outbox_publisher` in each and a grant for each
-- login. Done once, while PUBLIC may connect: afterwards the owner of the database says who may. Roles that own
-- something in one of its schemas, or were granted something there, may go on connecting: that takes a right that
-- another role gave. What takes none does not count: temporary objects, large objects, and default privileges, unless
-- those of the database's owner name the role. All three may also come from the template, where every login may connect.
do $$
declare
    groups   pg_catalog.text[] := array['outbox_publisher', 'outbox_service', 'outbox_relay', 'outbox_reader'];
    database pg_catalog.text := pg_catalog.current_database();
    known    pg_catalog.regrole;
    anybodys pg_catalog.bool;
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    if not has_database_privilege('public', database, 'CONNECT') then
        return;
    end if;
    if not (select pg_has_role(datdba, 'USAGE') from pg_database where datname = database) then
        raise warning 'every login of the cluster may connect to %: let its owner run sql/roles.sql', database;
        return;
    end if;
    for known, anybodys in
        select refobjid::regrole, bool_and(coalesce(has_schema_privilege('public', home.oid, 'CREATE'), false))
        from pg_shdepend as depend
        cross join lateral pg_identify_object_as_address(classid, objid, objsubid) as place
        cross join lateral (
            select case when classid = 'pg_type'::regclass then (select typnamespace from pg_type where oid = objid)
                        else to_regnamespace(quote_ident(place.object_names[1]))::oid end
        ) as home (oid)
        where dbid = (select oid from pg_database where datname = database)
          and refclassid = 'pg_authid'::regclass and deptype in ('o', 'a')
          and classid <> 'pg_largeobject'::regclass
          and not coalesce(place.object_names[1] ~ '^pg_temp(_[0-9]+)?(\.|$)', false)
          and (classid <> 'pg_default_acl'::regclass
               or deptype = 'a'
                  and (select pg_has_role(defaclrole, datdba, 'USAGE')
                       from pg_default_acl join pg_database on datname = database
                       where pg_default_acl.oid = objid))
        group by refobjid
    loop
        execute format('grant connect on database %I to %s', database, known);
        if known::text <> all (groups) then
            if anybodys then
                raise warning '% may go on connecting to % by what it has in a schema where every login may create: '
                              'unless you know it, revoke connect on database % from %',
                              known, database, quote_ident(database), known;
            else
                raise notice '% has something in % and may go on connecting to it', known, database;
            end if;
        end if;
    end loop;
    execute format('grant connect on database %I to %s', database, array_to_string(groups, ', '));
    execute format('revoke connect on database %I from public', database);
    raise notice 'PUBLIC may no longer connect to %; to let another login in: grant connect on database % to LOGIN',
                 database, quote_ident(database);
end
$$;

-- The payment example, where it is installed. Nothing there is ever deleted but the memory of old webhooks.
do $$
begin
    if pg_catalog.to_regnamespace('sale') is not null then
        revoke all on schema sale from public;
        revoke all on all tables in schema sale from public;
        revoke all on all functions in schema sale from public;
        grant usage on schema sale to outbox_service;
        grant select, insert on all tables in schema sale to outbox_service;
        grant update on sale.sale_order, sale.sale_check, sale.allocation_usage to outbox_service;
        grant execute on function sale.turn_received, sale.publish_update to outbox_service;
    end if;
end
$$;
