-- Group roles with the least that each process needs. Make a login role for each process and grant it its group:
--     create role checkout login; grant outbox_service to checkout;
-- Run this as the owner of the schemas, who may also create roles, after the migrations; running it again is safe.

-- Roles belong to the whole cluster: another database may have made them, or be making them at this moment.
do $$
declare
    name text;
begin
    foreach name in array array['outbox_publisher', 'outbox_service', 'outbox_relay', 'outbox_reader'] loop
        begin
            execute format('create role %I nologin', name);
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
end
$$;

revoke all on schema outbox from public;
revoke all on all tables in schema outbox from public;
revoke all on all functions in schema outbox from public;
grant usage on schema outbox to outbox_publisher, outbox_service, outbox_relay, outbox_reader;

-- A publisher publishes and reads nothing. It can't set id, xid or created_at: a forged xid would be skipped by every
-- cursor without a word. The two functions are what a plain INSERT's defaults and checks call.
grant execute on function outbox.publish, outbox.publish_bytes, outbox.uuid7, outbox.headers_valid
    to outbox_publisher, outbox_service;
grant insert (channel, type, group_key, priority, idempotency_key, headers, content_type, payload)
    on outbox.message to outbox_publisher, outbox_service;

-- The service also reads the log, for its WebSockets.
grant select on outbox.message to outbox_service;

-- A relay reads the log, and writes down where it stands and what it gave up. UPDATE of the columns that a fork waits
-- by also lets it lock a cursor.
grant select on outbox.message, outbox.subscription, outbox.installation, outbox.migration to outbox_relay;
grant select, insert, update (waiting_since, waiting_reason) on outbox.cursor to outbox_relay;
grant select, insert, delete on outbox.checkpoint to outbox_relay;
grant select, insert, update on outbox.dead_letter to outbox_relay;
grant select, insert, update (due_at), delete on outbox.delivery to outbox_relay;
grant execute on function
    outbox.shard_of, outbox.redrive, outbox.foreign_cluster, outbox.rebase, outbox.make_partitions,
    outbox.retire_partition, outbox.trim_checkpoints, outbox.trim_dead_letters
    to outbox_relay;

-- For endpoints it also reads what requests are signed with, keeps breakers, logs attempts, pauses a subscription that
-- asked for it (410) or failed for days, and publishes that it did.
grant select on outbox.secret, outbox.replay to outbox_relay;
grant select, update on outbox.breaker, outbox.rate_limit to outbox_relay;
grant insert on outbox.attempt to outbox_relay;
grant update (paused, paused_reason) on outbox.subscription to outbox_relay;
grant update (attempts, due_at, token, outcome, reason, detail, dead_letter_id) on outbox.delivery to outbox_relay;
grant execute on function outbox.promote, outbox.turn_attempts, outbox.replay, outbox.publish to outbox_relay;

-- A reader sees views, and no payload, header or setting in them. The functions are what stands behind the views.
grant select on
    outbox.cursor_position, outbox.cursor_backlog, outbox.subscription_backlog, outbox.dead_letter_summary,
    outbox.throughput, outbox.cursor_holder, outbox.horizon, outbox.delivery_summary, outbox.breaker_state
    to outbox_reader, outbox_relay;
grant execute on function outbox.unread, outbox.pending, outbox.open_transactions, outbox.partition_state
    to outbox_reader, outbox_relay;

-- The payment example, where it is installed. Nothing there is ever deleted.
do $$
begin
    if to_regnamespace('sale') is not null then
        revoke all on schema sale from public;
        revoke all on all tables in schema sale from public;
        grant usage on schema sale to outbox_service;
        grant select, insert on all tables in schema sale to outbox_service;
        grant update on sale.sale_order, sale.sale_check, sale.allocation_usage to outbox_service;
    end if;
end
$$;
