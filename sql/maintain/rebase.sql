-- Makes a database that came from another cluster (dump and restore, logical copy, pg_upgrade) this cluster's own.
-- Until then relays refuse to run, because transaction ids mean nothing elsewhere.
-- Run it before the writers start. Where they ran first, replace the null below by a time before their start, such as
-- timestamptz '2026-01-31 12:00+00': everything since then is sent (again).
-- Nothing pending is lost; some of what was sent may come again, with its first idempotency key. Running it again is
-- safe.
-- Run it as the owner of the schema or as a member of outbox_relay. It raises lock_not_available while writers are
-- busy.
begin;
set local search_path = pg_catalog, pg_temp;
select subscription, priority, cursor_id, pending_from_id from outbox.rebase(null::timestamptz);
commit;
