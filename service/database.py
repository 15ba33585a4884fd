"""The database: a bounded pool, and one transaction per request."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from operator import attrgetter
from select import POLLIN, poll
from typing import Any, LiteralString, TypeVar

import msgspec
from psycopg import AsyncConnection, AsyncCursor, InterfaceError, IsolationLevel, OperationalError
from psycopg import Connection as BlockingConnection
from psycopg import errors as sqlstates
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from service.faults import Faults
from service.problems import unavailable
from service.settings import Settings
from service.turns import CrowdedError, Turns, asks_for

# What a standby says to READ WRITE, and a primary that was made read-only to a write.
READ_ONLY = (sqlstates.FeatureNotSupported, sqlstates.ReadOnlySqlTransaction)

LOST_RACES = (sqlstates.DeadlockDetected, sqlstates.SerializationFailure)

# Away, restarting, out of connections or time; a standby not promoted yet; not migrated yet.
UNAVAILABLE = (
    OperationalError,
    InterfaceError,
    TimeoutError,
    *READ_ONLY,
    sqlstates.InvalidSchemaName,
    sqlstates.UndefinedTable,
    sqlstates.UndefinedFunction,
)

# OperationalError as well, but no outage: others hold what this waits for, or it is much.
BUSY = (sqlstates.LockNotAvailable, sqlstates.QueryCanceled)

# OperationalError as well, but no outage: the same request meets the same limit for ever.
BEYOND_LIMITS = (
    sqlstates.ProgramLimitExceeded,
    sqlstates.StatementTooComplex,
    sqlstates.TooManyArguments,
    sqlstates.TooManyColumns,
)

CANCEL_SECONDS = 1.0

# Requests that may read much hold a connection for long, and strangers may ask without end whether
# a key is one: each of these two gets one connection in so many, so that payments and the others
# always find one.
SHARE = 4

log = logging.getLogger(__name__)

# What a connection gets where DATABASE_URL says nothing else: bounds on how long this end waits for
# a server that vanished without a word. What lies between the two forgets a connection that is
# quiet for some minutes, and the request that finds that out waits for nothing; so it is not quiet.
# Of several hosts the one that is no standby. And text as psycopg writes it, whatever the role's
# or the database's default is.
CONNECTION_DEFAULTS: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "target_session_attrs": "primary",
    "client_encoding": "utf8",
}

# Every transaction begins with it: what the service relies on, whatever the server, the database or
# the role have set. For the transaction only: a pooler hands the session on.
#
# The first column is 'on' where the server's operator has made it read-only, as for a switchover;
# a default of the database or of the role is no such word, and BEGIN says READ WRITE. A standby
# refuses that by itself.
#
# What search_path puts before pg_catalog could shadow all that a statement names; pg_temp is
# searched first unless it is named last. A row lock that is not granted, a frozen client, a bad
# plan: each ends on the server as well. With row_security off a policy that would hide rows is an
# error: a payment for an order that nobody sees would be acknowledged.
BOUND: LiteralString = """
    select case
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
           pg_catalog.set_config('statement_timeout', %(milliseconds)s, true),
           pg_catalog.set_config('lock_timeout', %(milliseconds)s, true),
           pg_catalog.set_config('idle_in_transaction_session_timeout', %(milliseconds)s, true),
           case when pg_catalog.current_setting('server_version_num')::pg_catalog.int4
                         operator(pg_catalog.>=) 170000
               then pg_catalog.set_config('transaction_timeout', '0', true)
           end
"""

# psycopg reads times, and writes bytes, as it was last told that the server does, and in a pipeline
# it is told of BOUND too late. So the session says it besides. PgBouncer keeps these three apart by
# client; where another pooler does not, BOUND still holds.
STYLES: LiteralString = """
    select pg_catalog.pg_backend_pid(),
           pg_catalog.set_config('datestyle', 'ISO, YMD', false),
           pg_catalog.set_config('timezone', 'UTC', false),
           pg_catalog.set_config('standard_conforming_strings', 'on', false)
"""

Row = TypeVar("Row")
Result = TypeVar("Result")


def missing(defaults: Mapping[str, Any], database_url: str) -> dict[str, Any]:
    """The defaults of which the URL says nothing."""
    given = conninfo_to_dict(database_url)
    return {name: value for name, value in defaults.items() if name not in given}


def connect(database_url: str) -> BlockingConnection[Any]:
    """A command's connection. Raises psycopg.OperationalError."""
    defaults = {"connect_timeout": 5, **CONNECTION_DEFAULTS}
    connection: BlockingConnection[Any] = BlockingConnection.connect(
        database_url, autocommit=True, **missing(defaults, database_url)
    )
    # A pooler would hand it on, and a command gains nothing by it.
    connection.prepare_threshold = None
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    connection.read_only = False
    return connection


@contextmanager
def transaction(connection: BlockingConnection[Any], timeout_seconds: float) -> Iterator[None]:
    """One transaction of a command, bounded as a request's is."""
    with connection.transaction():
        connection.execute(BOUND, {"milliseconds": str(round(timeout_seconds * 1000))})
        yield


class Transaction:
    """One transaction: its statements, and the messages that commit with them.

    Statements are pipelined: they go out together, and only reading a result waits for it. An
    error may therefore rise later than its statement, at the latest when the transaction ends.
    """

    def __init__(self, connection: AsyncConnection[Any], traceparent: str | None) -> None:
        self._connection = connection
        # What each message that it publishes carries, as JSON.
        self.message_headers = (
            None
            if traceparent is None
            else msgspec.json.encode({"traceparent": traceparent}).decode()
        )

    async def execute(self, statement: LiteralString, parameters: Mapping[str, object]) -> None:
        """Sends a statement whose rows, if any, nobody reads."""
        await self._connection.execute(statement, parameters)

    async def select(
        self, row: type[Row], statement: LiteralString, parameters: Mapping[str, object]
    ) -> AsyncCursor[Row]:
        """Sends a statement; its rows are read from the cursor, one `row` each."""
        cursor = self._connection.cursor(row_factory=class_row(row))
        return await cursor.execute(statement, parameters)

    PUBLISH: LiteralString = """
        select outbox.publish(
            %(channel)s, %(type)s, %(payload)s::json,
            group_key => %(group_key)s, priority => %(priority)s, headers => %(headers)s::json)
    """

    async def publish(
        self, channel: str, type: str, payload: object, *, group_key: str, priority: int = 3
    ) -> None:
        """Writes a message into the outbox; it exists if and when this transaction commits."""
        parameters = {
            "channel": channel,
            "type": type,
            "payload": msgspec.json.encode(payload).decode(),
            "group_key": group_key,
            "priority": priority,
            "headers": self.message_headers,
        }
        await self._connection.execute(self.PUBLISH, parameters)


class Connection(AsyncConnection[Any]):
    """A connection that is given up when it is interrupted and its server does not answer.

    psycopg asks the server to cancel the statement, and waits; a server that is frozen or cut off
    would hold the request for that long as well.
    """

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Asks the server to cancel what runs here, for a second; then closes the connection."""
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_SECONDS))
        except Exception:
            self.pgconn.finish()
            raise


async def _is_over(connection: AsyncConnection[Any]) -> bool:
    """Whether it was ended. Asked only where it says something unasked: mostly that."""
    unasked = poll()
    unasked.register(connection.fileno(), POLLIN)
    if not unasked.poll(0):
        return False
    try:
        await AsyncConnectionPool.check_connection(connection)
    except OperationalError:
        return True
    return False


class Database:
    """The pool and its transactions. A database that is lost is a Problem 503, in bounded time."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_seconds = settings.database_timeout_seconds
        share = max(1, settings.pool_size // SHARE)
        self._turns = Turns(settings.pool_size, kept=settings.pool_size // SHARE)
        self._walks = Turns(share, kept=share // 2)
        self._strangers = Turns(share, kept=share // 2)
        self._returning: set[asyncio.Task[None]] = set()
        self._faults = Faults()
        self.pool = AsyncConnectionPool(
            settings.database_url,
            connection_class=Connection,
            kwargs={
                "autocommit": True,
                "application_name": "outbox-service",
                # libpq takes whole seconds, and reads less than 2 as 2.
                "connect_timeout": max(2, round(self._timeout_seconds)),
                **missing(CONNECTION_DEFAULTS, settings.database_url),
            },
            configure=self._configure,
            min_size=min(2, settings.pool_size),
            max_size=settings.pool_size,
            timeout=self._timeout_seconds,
            # Give up soon: the next request then tries again at once, instead of waiting for
            # a pause that doubled all through a long outage.
            reconnect_timeout=3.0,
            open=False,
        )

    @staticmethod
    async def _configure(connection: AsyncConnection[Any]) -> None:
        # The server says it to every session, as it begins.
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            log.error(
                "database %s is encoded in %s, and the outbox needs UTF8: createdb --encoding=UTF8 "
                "--template=template0 NAME, and move your tables there",
                connection.info.dbname,
                encoding,
            )
            raise OperationalError("the database's encoding is not UTF8")
        (server_pid, *_) = await (await connection.execute(STYLES)).fetchone() or (0,)
        if connection.info.backend_pid != server_pid:
            # There is a pooler before the server: it hands out process ids of its own making. What
            # one client prepared is another's by name: one that keeps no account of it would run
            # the wrong statement.
            connection.prepare_threshold = None
        # Attributes of the client's, said with every BEGIN: no SET that a pooler would leak.
        await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
        await connection.set_read_only(False)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """One that was not ended in a quiet time, by the server or by a proxy before it.

        (The pool's own check waits a second, then two, after each that was.)
        """
        while True:
            connection = await self.pool.getconn()
            try:
                if not await _is_over(connection):
                    async with connection:
                        yield connection
                    return
            finally:
                await self._give_back(connection)

    async def _give_back(self, connection: Connection) -> None:
        """In a task of its own: interrupted here, the pool would never have it again."""
        returning = asyncio.create_task(self.pool.putconn(connection))
        self._returning.add(returning)
        returning.add_done_callback(self._returning.discard)
        await asyncio.shield(returning)

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._turns.waiting + self._walks.waiting + self._strangers.waiting

    def refuse_one(self) -> bool:
        """Ends the wait of one request, of those that most wait beside; False where none waits."""
        crowded = max((self._turns, self._walks, self._strangers), key=attrgetter("crowd"))
        if not crowded.crowd:
            return False
        crowded.refuse_one()
        return True

    @asynccontextmanager
    async def _turn(
        self, turns: Turns, name: str, deadline: float, detail: str
    ) -> AsyncIterator[None]:
        """Raises Problem 503 where it does not come by `deadline` of the loop's clock."""
        try:
            async with asyncio.timeout_at(deadline):
                await turns.take(name)
        except TimeoutError:
            raise unavailable(f"{detail}; send the request again.") from None
        except CrowdedError:
            detail = "More requests wait than the service can hold; send the request again."
            raise unavailable(detail) from None
        try:
            yield
        finally:
            turns.end(name)

    async def walk(
        self,
        work: Callable[[Transaction], Awaitable[Result]],
        *,
        timeout_seconds: float | None = None,
    ) -> Result:
        """As `run`, for a request that may read much, as every list may; few of them go at once.

        Raises Problem 503 where its turn does not come while a request waits for the database.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        detail = "Others are reading much of the log already"
        async with self._turn(self._walks, asks_for.get(), deadline, detail):
            return await self.run(work, timeout_seconds=timeout_seconds)

    async def look_up(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """As `run`, for what strangers may ask; few of them go at once, and as one together."""
        stranger = asks_for.get()
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        detail = "Too many keys that were never seen here are being looked up"
        async with self._turn(self._strangers, stranger, deadline, detail):
            asks_for.set("strangers")
            try:
                return await self.run(work)
            finally:
                asks_for.set(stranger)

    async def run(
        self,
        work: Callable[[Transaction], Awaitable[Result]],
        *,
        traceparent: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Result:
        """What `work` returns, committed. The one place where a lost race is tried again.

        `timeout_seconds` instead of the setting, for `walk`.

        Raises Problem 503 where the database is away, too slow, or did not answer the COMMIT: then
        nobody knows whether it happened, and what is sent again must be harmless.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((*LOST_RACES, *READ_ONLY)),
            stop=stop_after_attempt(5),
            wait=wait_random_exponential(multiplier=0.01, max=0.2),
            reraise=True,
        )
        bound_seconds = timeout_seconds or self._timeout_seconds
        deadline = asyncio.get_running_loop().time() + bound_seconds
        detail = "Too many requests wait for the database, or it can't be reached"
        async with self._turn(self._turns, asks_for.get(), deadline, detail):
            try:
                async with asyncio.timeout_at(deadline):
                    async for attempt in retrying:
                        with attempt:
                            async with self._transaction(traceparent, bound_seconds) as transaction:
                                result = await work(transaction)
            except BEYOND_LIMITS:
                raise
            except BUSY as error:
                self._faults.note("database busy", type(error).__name__)
                raise unavailable(
                    f"It took longer than {bound_seconds:g} s: others hold what it needs, or it is "
                    "much; send the request again."
                ) from error
            except UNAVAILABLE as error:
                self._faults.note("database unavailable", type(error).__name__)
                raise unavailable(
                    "The database can't be reached; send the request again."
                ) from error
        return result

    @asynccontextmanager
    async def _transaction(
        self, traceparent: str | None, bound_seconds: float
    ) -> AsyncIterator[Transaction]:
        # Somewhat less than the request's own bound: the server knows what took so long.
        milliseconds = str(round(bound_seconds * 900))
        try:
            async with self._connection() as connection:
                async with connection.pipeline(), connection.transaction():
                    bound = await connection.execute(BOUND, {"milliseconds": milliseconds})
                    yield Transaction(connection, traceparent)
                row = await bound.fetchone()
                if row is not None and row[0] is not None:
                    # Nothing was written, and what was read may be long out of date.
                    raise sqlstates.ReadOnlySqlTransaction("the server takes no writes")
        except READ_ONLY:
            # The others are to the same server: new ones ask by name who the primary is.
            await self.pool.drain()
            raise
