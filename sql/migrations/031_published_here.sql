-- What the current transaction published, for the tests of those who publish.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- The messages that the current transaction has published so far, in the order in which it did; what it rolled back to a
-- savepoint is not among them. It runs with its owner's rights, and shows nothing of any other transaction: a publisher
-- may read back what it wrote, until it commits. A transaction that wrote nothing has no id, and gets none by this.
-- In a database that was moved to another cluster and not yet rebased, an old message may carry the id of a transaction
-- of today. So the time is asked as well: what is older than the transaction is not its own.
-- It is one range of the index by xid for each priority. The settings keep the planner there, since it knows nothing of
-- xid8.
create function outbox.published_here()
returns table (
    id              bigint,
    channel         text,
    type            text,
    group_key       text,
    payload         bytea,
    content_type    text,
    priority        integer,
    idempotency_key text,
    headers         json
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    here constant xid8 := pg_current_xact_id_if_assigned();
begin
    if here is null then
        return;
    end if;
    return query
    select m.id, m.channel, m.type, m.group_key, m.payload, m.content_type, m.priority::integer, m.idempotency_key,
           m.headers::json
    from outbox.message as m
    where m.priority = any ('{1,2,3,4,5}'::smallint[]) and m.xid = here and m.created_at >= transaction_timestamp()
    order by m.id;
end
$$;
revoke execute on function outbox.published_here() from public;

insert into outbox.migration (version, name) values (31, 'published_here');
