-- Which endpoints fail, since when, and when is the next request to them?
begin read only;
set local search_path = pg_catalog, pg_temp;
select subscription,
       case state when 'closed' then 'failing' else state end as breaker,
       date_trunc('second', clock_timestamp() - failing_since) as failing_for,
       opened_at,
       retry_at as next_request_at
from outbox.breaker_state
order by failing_since, subscription;
commit;
