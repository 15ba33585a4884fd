-- Sends dead letters again, to their own subscription only, in the order in which they were published.
-- Edit the filters below; as it stands it sends every letter that waits. Letters on their way or delivered are left
-- alone, so running it again adds nothing but what died since. It waits for runs of endpoints that are under way; with
-- set lock_timeout = '15s' before it, no longer than that.
-- Run it as the owner of the schema or as a member of outbox_relay.
begin;
set local search_path = pg_catalog, pg_temp;
select outbox.redrive(array_agg(letter.id)) as redriven
from outbox.dead_letter as letter
join outbox.subscription on subscription.id = letter.subscription_id
where letter.redriven_at is null
  and subscription.name like '%'
  and letter.reason like '%'
  and letter.channel like '%'
  and letter.type like '%'
  and letter.died_at between '-infinity' and 'infinity';
commit;
