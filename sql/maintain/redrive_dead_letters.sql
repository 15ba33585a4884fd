-- Sends dead letters again, to their own subscription only, in the order in which they were published.
-- Edit the filters below; as it stands it sends every dead letter that waits. Those on their way or delivered are left
-- alone, so running it again adds only what was given up since. It waits for runs of endpoints that are under way; with
-- set lock_timeout = '15s' before it, no longer than that.
-- Run it as the owner of the schema or as a member of outbox_relay.
begin;
set local search_path = pg_catalog, pg_temp;
select outbox.redrive(array_agg(dead_letter.id)) as redriven
from outbox.dead_letter
join outbox.subscription on subscription.id = dead_letter.subscription_id
where dead_letter.redriven_at is null
  and subscription.name like '%'
  and dead_letter.reason like '%'
  and dead_letter.channel like '%'
  and dead_letter.type like '%'
  and dead_letter.died_at between '-infinity' and 'infinity';
commit;
