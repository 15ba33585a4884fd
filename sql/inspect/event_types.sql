-- Which types of events are there, which of them are enforced, and of which was lately published what does not fit?
begin read only;
set local search_path = pg_catalog, pg_temp;
select type,
       version,
       enforcement,
       compatibility,
       owner,
       channels,
       faults,
       last_fault_at,
       last_keyword || ' at "' || last_pointer || '"' as last_fault
from outbox.event_type_state
order by last_fault_at desc nulls last, type;
commit;
