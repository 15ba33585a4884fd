-- Which messages were given up, why, and what became of them since?
begin read only;
set local search_path = pg_catalog, pg_temp;
select subscription,
       reason,
       channel,
       waiting as waiting_for_redrive,
       redriven as on_their_way,
       delivered as delivered_since,
       first_died_at,
       last_died_at
from outbox.dead_letter_summary
order by waiting desc, subscription, reason, channel;
commit;
