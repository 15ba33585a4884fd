"""Which open transactions hold rows that relays need: what they are of stands still meanwhile."""

import msgspec
from psycopg.rows import class_row

from relay.database import Connection


class RowLock(msgspec.Struct, frozen=True):
    """A transaction that has locked rows and stays open.

    `pid` is None of a prepared one, which has no session; `name`, as a literal of SQL, of all
    others. `login` is None where its role was dropped. `tables` are those of whose rows it may hold
    some. `seconds`: for how long it has been open, or prepared; None: not told.
    """

    transaction: str
    pid: int | None
    name: str | None
    login: str | None
    application: str | None
    tables: str
    seconds: float | None

    def __str__(self) -> str:
        login = self.login or "a role that was dropped"
        who = f"session {self.pid} of {login} ({self.application})"
        if self.pid is None:
            who = f"prepared transaction {self.name} of {login}"
        return f"{who} holds rows of {self.tables}"

    @property
    def end(self) -> str:
        """The statement that ends it."""
        if self.pid is None:
            return f"rollback prepared {self.name}"
        return f"select pg_terminate_backend({self.pid})"


# A run takes about a second; what a request or a command changes takes less, mostly.
LONG_SECONDS = 5.0

# Who holds a lock on a row keeps one on its table, and a transaction id, until the transaction
# ends. By that it is found, and not by the mark in the row: several may share that, and it names a
# savepoint that is over. A run passes over a cursor that is held, so that nobody is seen to wait.
#
# A prepared transaction has no process; its locks have its virtual id in common. Since when
# another's transaction is open is for members of pg_read_all_stats to see. A relay has a minute, as
# in TABLE_LOCKS, and is not named where that is not told. Names no table of the schema.
ROW_LOCKS = """
    with lock as materialized (
        select locktype, pid, virtualtransaction, transactionid, database, relation, mode
        from pg_locks where granted and locktype in ('relation', 'transactionid')
    ), held as (
        select pid, virtualtransaction,
               string_agg(distinct relation::regclass::text, ', ') as tables
        from lock join pg_class on pg_class.oid = relation
        where mode in ('RowShareLock', 'RowExclusiveLock')
          and database = (select oid from pg_database where datname = current_database())
          and relnamespace = to_regnamespace('outbox')
          and relname in ('subscription', 'cursor', 'delivery', 'dead_letter', 'breaker',
                          'source', 'source_position', 'source_queue', 'source_dead_letter')
        group by pid, virtualtransaction
    ), holder as (
        select held.virtualtransaction as transaction, held.pid, null as name,
               quote_ident(session.usename) as login, session.application_name as application,
               held.tables,
               extract(epoch from clock_timestamp() - session.xact_start)::float8 as seconds,
               starts_with(session.application_name, 'outbox-relay ')
               and (pg_has_role(session.usesysid, to_regrole('outbox_relay'), 'member') is true
                    or pg_has_role(session.usesysid, (
                        select nspowner from pg_namespace where nspname = 'outbox'), 'member'))
                   as is_relay
        from held join pg_stat_activity as session using (pid)
        where pid <> pg_backend_pid() and session.usesysid is not null
          and exists (select from lock as own
                      where own.locktype = 'transactionid' and own.pid = held.pid)
        union all
        select held.virtualtransaction, null, quote_literal(gid), quote_ident(owner), null,
               held.tables,
               extract(epoch from clock_timestamp() - prepared)::float8, false
        from pg_prepared_xacts
        join lock as own
            on own.locktype = 'transactionid' and own.pid is null
            and own.transactionid = pg_prepared_xacts.transaction
        join held on held.pid is null and held.virtualtransaction = own.virtualtransaction
        where pg_prepared_xacts.database = current_database()
    )
    select transaction, pid, name, login, application, tables, seconds
    from holder
    where coalesce(seconds > case when is_relay then 60 else %s end, not is_relay)
    order by seconds desc nulls last
    limit 20
"""
A_SECOND = "select pg_sleep(1)"


def row_locks(connection: Connection) -> list[RowLock]:
    """Those that have been open for long; where that is not told, those that outlast a second.

    Reads no table. Raises psycopg.Error.
    """
    found = _look(connection)
    if any(one.seconds is None for one in found):
        connection.execute(A_SECOND)
        still = {one.transaction for one in _look(connection)}
        found = [one for one in found if one.seconds is not None or one.transaction in still]
    return found


def _look(connection: Connection) -> list[RowLock]:
    with connection.cursor(row_factory=class_row(RowLock)) as cursor:
        return cursor.execute(ROW_LOCKS, (LONG_SECONDS,)).fetchall()
