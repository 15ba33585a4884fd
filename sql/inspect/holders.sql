-- Which relay holds which cursor now and since when, and which one was the last to write its checkpoint?
begin read only;
set local search_path = pg_catalog, pg_temp;
select position.subscription,
       position.priority,
       position.shard,
       position.channel as only_channel,
       holder.relay as held_by,
       holder.pid as held_by_pid,
       date_trunc('milliseconds', clock_timestamp() - holder.since) as held_for,
       position.last_relay,
       position.last_checkpoint_at,
       case when position.paused then 'paused: ' || coalesce(position.paused_reason, 'no reason given')
            when position.waiting_since is not null
                then 'waits since ' || position.waiting_since || ': ' || position.waiting_reason
            else holder.remark end as remark
from outbox.cursor_position as position
left join outbox.cursor_holder as holder on holder.cursor_id = position.cursor_id
order by position.subscription, position.priority, position.shard, position.channel nulls first;
commit;
