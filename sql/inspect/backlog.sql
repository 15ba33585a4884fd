-- What waits for each subscription, by priority, and for how long has the oldest of it waited?
begin read only;
set local search_path = pg_catalog, pg_temp;
select subscription,
       priority,
       messages::text || case when more then '+' else '' end as waiting,
       date_trunc('second', clock_timestamp() - oldest_at) as oldest_for,
       oldest_at as oldest_published_at
from outbox.subscription_backlog
order by subscription, priority;
commit;
