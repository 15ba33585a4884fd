"""The relay's connections to Postgres."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from select import POLLIN, poll
from typing import Any, LiteralString

import psycopg
from psycopg import IsolationLevel, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from relay.process.heartbeat import Heartbeat
from relay.settings import Settings

Connection = psycopg.Connection[Any]
Pool = ConnectionPool[Connection]

# What a connection gets where DATABASE_URL says nothing else: bounds on how long this end waits for
# a server that vanished without closing them.
CONNECTION_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    # Of several hosts the one that is no standby.
    "target_session_attrs": "primary",
}


# Every transaction of the relay and its commands begins with this, or with a statement that does:
# what it relies on, whatever the server, the database or the role have set. For the transaction
# only: a pooler hands the session on.
#
# The first column says why this server takes no writes: 'recovery' after a failover, or 'on' where
# its operator has made it read-only, as before a switchover. The connection still works then, and
# shows a log in which nothing ever comes: see `demand_writable`. A default of the database or the
# role is no such word; BEGIN says READ WRITE.
#
# What search_path puts before pg_catalog could shadow each operator, function, type and table that
# a statement names; pg_temp is searched first unless it is named last. The bounds are those of
# Postgres itself; a transaction that needs others says so. With row_security off a policy
# that would hide rows is an error: a cursor would pass over what it can't see, for ever.
SETTINGS: LiteralString = """
select case
           when pg_catalog.pg_is_in_recovery() then 'recovery'
           when pg_catalog.current_setting('default_transaction_read_only')
                    operator(pg_catalog.=) 'on'
                and exists (
                    select from pg_catalog.pg_settings as setting
                    where setting.name operator(pg_catalog.=) 'default_transaction_read_only'
                      and (setting.source operator(pg_catalog.=) 'configuration file'
                           or setting.source operator(pg_catalog.=) 'command line'))
               then pg_catalog.set_config('transaction_read_only', 'on', true)
       end,
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
       pg_catalog.set_config('datestyle', 'ISO, YMD', true),
       pg_catalog.set_config('intervalstyle', 'postgres', true),
       pg_catalog.set_config('timezone', 'UTC', true),
       pg_catalog.set_config('bytea_output', 'hex', true),
       pg_catalog.set_config('extra_float_digits', '1', true),
       pg_catalog.set_config('standard_conforming_strings', 'on', true),
       pg_catalog.set_config('array_nulls', 'on', true),
       pg_catalog.set_config('quote_all_identifiers', 'off', true),
       pg_catalog.set_config('row_security', 'off', true),
       pg_catalog.set_config('statement_timeout', '0', true),
       pg_catalog.set_config('lock_timeout', '0', true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '0', true),
       case when pg_catalog.current_setting('server_version_num')::pg_catalog.int4
                     operator(pg_catalog.>=) 170000
           then pg_catalog.set_config('transaction_timeout', '0', true)
       end"""

# A run that gets no connection for so long is tried again.
POOL_SECONDS = 10.0


class ReadOnlyError(psycopg.OperationalError):
    """The server that answers takes no writes: a standby, or a primary before a switchover."""


class EncodingError(psycopg.DatabaseError):
    """The database's encoding is not UTF8, in which payloads and names are kept and compared."""


def demand_writable(row: Sequence[Any] | None) -> None:
    """Raises ReadOnlyError for what SETTINGS gave back of a server that takes no writes.

    The session is of no use then, and ends: the next one asks by name who the primary is.
    """
    reasons = {"recovery": "it is in recovery", "on": "default_transaction_read_only is on there"}
    if row is not None and row[0] is not None:
        raise ReadOnlyError(f"the server takes no writes: {reasons[row[0]]}")


class Watched(psycopg.Connection[Any]):
    """One whose thread is expected to get on with its calls to Kafka.

    A claim over a long backlog, a commit on a slow disk take what they take, and end by the bounds
    of Postgres and TCP.
    """

    heartbeat: Heartbeat

    def wait(self, *arguments: Any, **named: Any) -> Any:
        with self.heartbeat.elsewhere():
            return super().wait(*arguments, **named)


def heartbeat_of(connection: Connection) -> Heartbeat:
    """Of the session's thread, where that waits for another that has the connection."""
    return connection.heartbeat if isinstance(connection, Watched) else Heartbeat()


def connect(settings: Settings, heartbeat: Heartbeat | None = None) -> Connection:
    """A connection in autocommit mode whose transactions are READ COMMITTED.

    While its thread waits for the database, `heartbeat` expects no sign of life.
    Raises psycopg.OperationalError, and EncodingError where no relay can run on the database.
    """
    heartbeat = heartbeat or Heartbeat()
    with heartbeat.elsewhere():
        # Each host that is silent takes its time.
        connection = Watched.connect(settings.database_url, **_parameters(settings))
    connection.heartbeat = heartbeat
    # The server says it to every session, as it begins.
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        name = connection.info.dbname
        connection.close()
        raise EncodingError(
            f"database {name} is encoded in {encoding}, and the outbox needs UTF8: "
            f"createdb --encoding=UTF8 --template=template0 NAME, and move your tables there"
        )
    _configure(connection)
    return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction that goes by SETTINGS; every statement outside of a run is in one.

    Raises ReadOnlyError.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(connection.transaction())
        except errors.FeatureNotSupported as fault:
            # What a standby says to READ WRITE.
            raise ReadOnlyError(f"the server takes no writes: {fault}") from fault
        demand_writable(connection.execute(SETTINGS).fetchone())
        yield


def pool(settings: Settings) -> Pool:
    """Such connections, made as they are needed, for as many runs at once as the settings say.

    Its `connection()` raises psycopg.OperationalError where none is to be had.
    """
    return ConnectionPool(
        settings.database_url,
        kwargs=_parameters(settings),
        configure=_configure,
        min_size=0,
        max_size=settings.push_connections,
        timeout=POOL_SECONDS,
        # The run that needs one tries again; the pool need not.
        reconnect_timeout=POOL_SECONDS,
        max_idle=60.0,
        open=True,
    )


def _parameters(settings: Settings) -> dict[str, Any]:
    given = conninfo_to_dict(settings.database_url)
    return {
        "autocommit": True,
        "application_name": f"outbox-relay {settings.name}",
        # Text is sent on as the bytes that arrive.
        "client_encoding": "utf8",
        **{name: value for name, value in CONNECTION_DEFAULTS.items() if name not in given},
    }


# psycopg reads times, and writes bytes, as it was last told that the server does, and in a pipeline
# it is told of SETTINGS too late. So the session says it besides. PgBouncer keeps these three apart
# by client; where another pooler does not, SETTINGS still holds.
STYLES: LiteralString = """
select pg_catalog.pg_backend_pid(),
       pg_catalog.set_config('datestyle', 'ISO, YMD', false),
       pg_catalog.set_config('timezone', 'UTC', false),
       pg_catalog.set_config('standard_conforming_strings', 'on', false)
"""


def is_pooled(connection: Connection, server_pid: int) -> bool:
    """Whether there is a pooler before the server: it hands out process ids of its own making."""
    return connection.info.backend_pid != server_pid


def _configure(connection: Connection) -> None:
    (server_pid, *_) = connection.execute(STYLES).fetchone() or (0,)
    if is_pooled(connection, server_pid):
        # What one client prepared is another's by name: a pooler that keeps no account of it would
        # run the wrong statement.
        connection.prepare_threshold = None
    # Attributes of the client's, said with every BEGIN: no SET that a pooler would leak.
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    connection.read_only = False


@contextmanager
def borrowed(connections: Pool) -> Iterator[Connection]:
    """A connection of the pool, which keeps none of a server that takes no writes.

    One that was ended in a quiet time is passed over. (The pool's own check waits a second, then
    two, after each of them.)
    """
    while True:
        connection = connections.getconn()
        try:
            if not _check_ended(connection):
                yield connection
                return
        except (ReadOnlyError, errors.ReadOnlySqlTransaction, errors.FeatureNotSupported):
            # The others are to the same server: new ones ask by name who the primary is.
            connections.drain()
            raise
        finally:
            connections.putconn(connection)


def _check_ended(connection: Connection) -> bool:
    """Whether it was ended. Asked only where it says something unasked: mostly that."""
    unasked = poll()
    unasked.register(connection.fileno(), POLLIN)
    if not unasked.poll(0):
        return False
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.OperationalError:
        return True
    return False
