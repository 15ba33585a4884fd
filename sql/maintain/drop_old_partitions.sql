-- Frees the partitions of the log that are past retention, now instead of at the relay's next round; one that some
-- cursor has not passed is kept, whatever its age. Edit the 7 below (days) to yours, RELAY_RETENTION_DAYS.
-- Each takes two runs: the first truncates it, the second drops the empty partition. One that other sessions hold is
-- reported as 'locked' and left alone, one that an object depends on as 'pinned' (outbox.pinned_partitions() names it).
-- Running it again is safe.
-- Run it as the owner of the schema or as a member of outbox_relay.
begin;
set local search_path = pg_catalog, pg_temp;
select state.partition, outbox.retire_partition(state.partition, 7) as outcome
from outbox.partition_state(7) as state
where state.past_retention
order by state.from_time;
commit;
