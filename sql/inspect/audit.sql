-- What did API keys change lately: who, what, on what, when?
begin read only;
set local search_path = pg_catalog, pg_temp;
select at,
       key_name || case when by_console then ' (console)' else '' end as who,
       action,
       subject,
       summary
from outbox.audit
order by id desc
limit 100;
commit;
