-- Sends again what a subscription got since a time, in order and with the first idempotency keys; what is pending stays
-- pending. Edit the three values below: the name, the time, and dry_run, which as it stands only counts.
-- From a message on, instead of a time: from_message_id => 12345.
-- Run it as the owner of the schema or as a member of outbox_relay. It waits for runs that are under way, and raises
-- lock_not_available after 15 seconds. Running it again sends everything again.
begin;
set local search_path = pg_catalog, pg_temp;
set local lock_timeout = '15s';
select outbox.replay('kafka', from_time => clock_timestamp() - interval '1 hour', dry_run => true) as replayed;
commit;
