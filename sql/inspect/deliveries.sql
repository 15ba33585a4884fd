-- Which messages does an endpoint keep waiting, in which state, and how many wait behind each, the oldest first?
begin read only;
set local search_path = pg_catalog, pg_temp;
select subscription,
       coalesce(group_key, '') as group_key,
       message_id,
       priority,
       state,
       behind as behind_it,
       attempts,
       date_trunc('second', due_at - clock_timestamp()) as due_in,
       last_error,
       redriven,
       replayed
from outbox.delivery_head
order by message_id, subscription
limit 200;
commit;
