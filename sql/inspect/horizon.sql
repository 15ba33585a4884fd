-- Who holds back the xmin horizon of this cluster and for how long, the culprit first?
begin read only;
set local search_path = pg_catalog, pg_temp;
select kind,
       name,
       database,
       user_name,
       application_name,
       state,
       date_trunc('second', clock_timestamp() - held_since) as held_for,
       transactions_ago,
       remark
from outbox.horizon
order by transactions_ago desc, held_since
limit 50;
commit;
