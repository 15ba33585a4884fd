"""Who holds a lock, or waits for one, that keeps others from the tables of the outbox."""

import msgspec
from psycopg.rows import class_row

from relay.database import Connection


class TableLock(msgspec.Struct, frozen=True):
    """A lock on a table, and whose session it is.

    `login` is None where its role was dropped. `granted`: it is held; else it is waited for, and
    who comes later waits behind it. `statement` is of which kind the session's statement is, in a
    word or two, where this login may see it. `seconds`: for how long it has waited, or its
    transaction has been open; None: not told.
    """

    pid: int
    login: str | None
    application: str
    statement: str | None
    table: str
    mode: str
    granted: bool
    seconds: float | None

    def __str__(self) -> str:
        does = "holds" if self.granted else "waits for"
        statement = f" ({self.statement})" if self.statement else ""
        login = self.login or "a role that was dropped"
        session = f"session {self.pid} of {login} ({self.application})"
        return f"{session} {does} {self.mode} on {self.table}{statement}"


# Postgres takes some locks before it asks for rights, so any login that may use the schema can wait
# for one that conflicts with writers. The two views are for everyone to see, but for what a session
# does and since when its transaction is open: that is for its own role and for members of
# pg_read_all_stats. Names no table of the schema, so it waits for none of the locks.
#
# Who does not own the schema has no use for such a lock, and is named as soon as it waits: with a
# lock timeout it could begin to wait again before a second is over. A relay waits for one by the
# functions of the maintenance, and a service, by those of `sale`, for its tables.
#
# A second is longer than maintenance ever waits. A migration, or a relay, may take a minute: by
# then its own timeouts have ended it, unless somebody else's session calls itself so.
TABLE_LOCKS = """
    with lock as materialized (
        select pid, relation, relnamespace, mode, granted, waitstart
        from pg_locks join pg_class on pg_class.oid = relation
        where locktype = 'relation'
          and database = (select oid from pg_database where datname = current_database())
          and relnamespace in (to_regnamespace('outbox'), to_regnamespace('sale'))
    ), waited as (
        select relation, max(clock_timestamp() - waitstart) as longest
        from lock where not granted group by relation
    )
    select lock.pid, quote_ident(session.usename) as login,
           session.application_name as application,
           substring(upper(session.query) from '^\\s*((?:CREATE|ALTER|DROP|LOCK|COMMENT)'
                                               '(?:\\s+OR\\s+REPLACE)?\\s+[A-Z]+|[A-Z]+)')
               as statement,
           lock.relation::regclass::text as "table", lock.mode, lock.granted,
           extract(epoch from age.own)::float8 as seconds
    from lock
    join waited using (relation)
    join pg_stat_activity as session using (pid)
    cross join lateral (
        select clock_timestamp() - coalesce(lock.waitstart, session.xact_start),
               starts_with(session.application_name, 'outbox-relay '),
               pg_has_role(session.usesysid, to_regrole('outbox_relay'), 'member') is true,
               pg_has_role(session.usesysid, (
                   select nspowner from pg_namespace where nspname = 'outbox'), 'member')
    ) as age (own, is_named_so, is_relay, is_owner)
    where lock.mode in
              ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      and session.pid <> pg_backend_pid() and session.usesysid is not null
      and (not lock.granted and lock.relnamespace = to_regnamespace('outbox')
               and not (is_owner or is_named_so and is_relay)
           or waited.longest > interval '1 second'
               and (not (is_named_so and (is_relay or is_owner))
                    or greatest(waited.longest, age.own) > interval '1 minute'))
    order by lock.granted desc, age.own desc nulls last
    limit 20
"""


def table_locks(connection: Connection) -> list[TableLock]:
    """Those that keep writers out, and that others have waited for or behind for a second.

    One that is waited for by who does not own the schema is told at once. Raises psycopg.Error.
    """
    with connection.cursor(row_factory=class_row(TableLock)) as cursor:
        return cursor.execute(TABLE_LOCKS).fetchall()


# Relays wait for a second at most for the tables of the maintenance, and leave it to later then.
MAINTENANCE_LOCKS = """
    select locks.pid, quote_ident(session.usename) as login,
           session.application_name as application, null as statement,
           locks.relation::regclass::text as "table", locks.mode, locks.granted,
           extract(epoch from clock_timestamp() - coalesce(waitstart, xact_start))::float8
               as seconds
    from pg_locks as locks
    join pg_stat_activity as session using (pid)
    where locktype = 'relation'
      and database = (select oid from pg_database where datname = current_database())
      and relation in (to_regclass('outbox.maintenance'), to_regclass('outbox.known_partition'),
                       to_regclass('outbox.installation'))
      and mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      and session.pid <> pg_backend_pid() and session.usesysid is not null
    order by granted desc, seconds desc nulls last
    limit 20
"""
# A lock on a row is a mark in the row, by whose transaction the session is found.
MAINTENANCE_HOLDER = """
    select locks.pid, quote_ident(session.usename) as login,
           session.application_name as application, null as statement,
           'outbox.maintenance' as "table", 'FOR UPDATE' as mode, true as granted,
           extract(epoch from clock_timestamp() - xact_start)::float8 as seconds
    from outbox.maintenance as held
    join pg_locks as locks
        on locktype = 'transactionid' and locks.transactionid = held.xmax and locks.granted
    join pg_stat_activity as session using (pid)
    where session.pid <> pg_backend_pid()
"""


def maintenance_locks(connection: Connection) -> list[TableLock]:
    """Those that keep relays from maintenance, a relay's that is at it among them.

    Raises psycopg.Error.
    """
    with connection.cursor(row_factory=class_row(TableLock)) as cursor:
        # The second reads the table, for which it would wait if there were one of the first.
        locks = cursor.execute(MAINTENANCE_LOCKS).fetchall()
        return locks or cursor.execute(MAINTENANCE_HOLDER).fetchall()
