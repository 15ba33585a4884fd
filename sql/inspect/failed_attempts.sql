-- Which requests failed last, how, and when are they tried again?
begin read only;
set local search_path = pg_catalog, pg_temp;
select at,
       subscription,
       message_id,
       number as attempt,
       status,
       error,
       round(duration_seconds::numeric, 3) as took_seconds,
       next_at as tried_again_at,
       relay
from outbox.recent_attempt
where error is not null
order by at desc, id desc
limit 50;
commit;
