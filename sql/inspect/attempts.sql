-- How did the requests of the last 15 minutes end, by subscription, and how long did they take?
begin read only;
set local search_path = pg_catalog, pg_temp;
select subscription,
       coalesce(error, 'acked') as outcome,
       count(*) as attempts,
       round(percentile_cont(0.5) within group (order by duration_seconds)::numeric, 3) as p50_seconds,
       round(percentile_cont(0.99) within group (order by duration_seconds)::numeric, 3) as p99_seconds,
       max(at) as last_at
from outbox.recent_attempt
where at >= statement_timestamp() - interval '15 minutes'
group by subscription, outcome
order by subscription, attempts desc;
commit;
