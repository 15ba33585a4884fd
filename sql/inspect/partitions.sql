-- How large is each partition of the log, and what may retention take away? (Edit the 7 to your RELAY_RETENTION_DAYS.)
begin read only;
set local search_path = pg_catalog, pg_temp;
select partition,
       from_time,
       upto_time,
       estimated_rows,
       pg_size_pretty(bytes) as size,
       case when from_time is null then 'made ahead'
            when not past_retention then 'kept: younger than retention'
            when needed_by is not null then 'kept: ' || needed_by
            else 'retention may take it' end as retention
from outbox.partition_state(7)
order by from_time nulls last, partition;
commit;
