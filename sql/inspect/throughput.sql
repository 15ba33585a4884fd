-- How much did each subscription get through in each of the last 15 minutes?
begin read only;
set local search_path = pg_catalog, pg_temp;
select subscription,
       minute,
       messages,
       round(messages / 60.0, 1) as messages_per_second,
       pg_size_pretty(bytes) as payload,
       runs,
       round(messages::numeric / runs, 1) as messages_per_run
from outbox.throughput
where minute >= date_trunc('minute', clock_timestamp()) - interval '15 minutes'
order by subscription, minute desc;
commit;
