-- Which messages will each cursor send next, and in which order?
begin read only;
set local search_path = pg_catalog, pg_temp;
select position.subscription,
       position.priority,
       position.shard,
       case when position.channel is null then 'all' else 'waits: ' || position.channel end as cursor,
       pending.place,
       pending.message_id,
       pending.channel,
       pending.type,
       pending.group_key,
       pending.created_at as published_at
from outbox.cursor_position as position
cross join lateral outbox.pending(position.cursor_id, 10) as pending
order by position.subscription, position.priority, position.shard, position.channel nulls first, pending.place;
commit;
