-- Sessions and transactions of the cluster: which relay is at work on which cursor, and what holds up what.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- The sessions of this cluster with their transactions, without the text of their statements (it may hold payloads).
-- How long a transaction has run is shown to members of pg_read_all_stats only; where the owner of this function is
-- none, `started_at` and `state` are NULL and `remark` says why.
create function outbox.open_transactions()
returns table (
    pid              integer,
    database         name,
    user_name        name,
    application_name text,
    state            text,
    started_at       timestamptz,
    xid              xid,
    xmin             xid,
    remark           text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select pid, datname, usename, application_name, state, xact_start, backend_xid, backend_xmin,
           case when not pg_has_role('pg_read_all_stats', 'usage') and xact_start is null
                then format('insufficient privilege: grant pg_read_all_stats to %I', current_user) end
    from pg_stat_activity
    where pid <> pg_backend_pid()
      and (backend_xid is not null or backend_xmin is not null or xact_start is not null
           or application_name like 'outbox-relay %')
$$;
revoke execute on function outbox.open_transactions() from public;

-- Which relay is in a run on which cursor now. A relay names its cursor in application_name for as long as the run
-- lasts: 'outbox-relay <relay> cursor <id>'. A run of several names the first, and how many it holds besides:
-- 'outbox-relay <relay> cursor <id> +<n>'. Every login can give itself such a name, so only those count that may be a
-- relay: members of outbox_relay, of the schema's owner, and superusers.
create view outbox.cursor_holder as
select substring(session.application_name from ' cursor ([0-9]+)(?: [+]?[0-9]*)?$')::bigint as cursor_id,
       substring(session.application_name from '^outbox-relay (.*) cursor [0-9]+(?: [+]?[0-9]*)?$') as relay,
       session.pid, session.started_at as since, session.state, session.remark
from outbox.open_transactions() as session
join pg_roles as login on login.rolname = session.user_name
where session.database = current_database()
  and session.application_name ~ '^outbox-relay .* cursor [0-9]{1,18}( [+]?[0-9]*)?$'
  and (pg_has_role(login.oid, to_regrole('outbox_relay'), 'member')
       or pg_has_role(login.oid, (select relowner from pg_class where oid = 'outbox.cursor'::regclass), 'member'));

-- What holds back the horizon, the oldest first: sessions, prepared transactions and replication slots. Until it ends,
-- vacuum keeps what was deleted since, and every snapshot carries its transaction id.
create view outbox.horizon as
select kind, name, database, user_name, application_name, state, held_since, transactions_ago, remark
from (
    select 'session' as kind, 'pid ' || pid as name, database::text, user_name::text, application_name, state,
           started_at as held_since, greatest(age(xid), age(xmin)) as transactions_ago, remark
    from outbox.open_transactions()
    where xid is not null or xmin is not null
    union all
    select 'prepared transaction', gid, database::text, owner::text, null, null, prepared, age(transaction), null
    from pg_prepared_xacts
    union all
    select 'replication slot', slot_name::text, database::text, null, null,
           case when active then 'active' else 'inactive' end, null,
           greatest(age(xmin), age(catalog_xmin)), null
    from pg_replication_slots
    where xmin is not null or catalog_xmin is not null
) as holder
order by transactions_ago desc, held_since;

-- Sessions and prepared transactions of every database of the cluster that are older than the log's next partition.
-- While one is open, the log is not turned to that partition: see outbox.make_partitions.
create view outbox.turn_holder as
select kind, name, database, application_name, held_since
from (
    select 'session' as kind, pid::text as name, database::text, application_name, started_at as held_since, xid
    from outbox.open_transactions()
    union all
    select 'prepared transaction', gid, database::text, null, prepared, transaction
    from pg_prepared_xacts
) as holder
where exists (select from outbox.known_partition as ahead
              where ahead.parent = 'outbox.message' and ahead.from_time is null
                and age(holder.xid) >= age(ahead.xid::xid))
order by held_since;

insert into outbox.migration (version, name) values (20, 'session');
