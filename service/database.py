"""The database: a bounded pool, and one transaction per request."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, LiteralString, TypeVar

import msgspec
from psycopg import AsyncConnection, AsyncCursor, InterfaceError, IsolationLevel, OperationalError
from psycopg import Connection as BlockingConnection
from psycopg import errors as sqlstates
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from service.problems import unavailable
from service.settings import Settings

LOST_RACES = (sqlstates.DeadlockDetected, sqlstates.SerializationFailure)

# Away, restarting, out of connections or time; a standby not promoted yet; not migrated yet.
UNAVAILABLE = (
    OperationalError,
    InterfaceError,
    TimeoutError,
    sqlstates.ReadOnlySqlTransaction,
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

# Requests that read much of the log hold a connection for long: they get one in so many together,
# so that payments and the others always find one.
WALK_SHARE = 4

log = logging.getLogger(__name__)

# Every transaction begins with it. What a role's, a database's or a server's search_path puts
# before pg_catalog could shadow all that a statement names; pg_temp is searched first unless it is
# named last. A row lock that is not granted, a frozen client, a bad plan: each ends on the server
# as well. UTC, so that a time reads the same whatever the server's zone is.
BOUND: LiteralString = """
    select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
           pg_catalog.set_config('statement_timeout', %(milliseconds)s, true),
           pg_catalog.set_config('lock_timeout', %(milliseconds)s, true),
           pg_catalog.set_config('idle_in_transaction_session_timeout', %(milliseconds)s, true),
           pg_catalog.set_config('timezone', 'UTC', true)
"""

Row = TypeVar("Row")
Result = TypeVar("Result")


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


class Database:
    """The pool and its transactions. A database that is lost is a Problem 503, in bounded time."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_seconds = settings.database_timeout_seconds
        self._walks = asyncio.Semaphore(max(1, settings.pool_size // WALK_SHARE))
        self.pool = AsyncConnectionPool(
            settings.database_url,
            connection_class=Connection,
            kwargs={
                "autocommit": True,
                "application_name": "outbox-service",
                # libpq takes whole seconds, and reads less than 2 as 2.
                "connect_timeout": max(2, round(self._timeout_seconds)),
            },
            configure=self._configure,
            min_size=min(2, settings.pool_size),
            max_size=settings.pool_size,
            timeout=self._timeout_seconds,
            # Requests that wait for a connection longer than they may are refused, not collected.
            max_waiting=settings.pool_size * 50,
            # Give up soon: the next request then tries again at once, instead of waiting for
            # a pause that doubled all through a long outage.
            reconnect_timeout=3.0,
            open=False,
        )

    @staticmethod
    async def _configure(connection: AsyncConnection[Any]) -> None:
        # An attribute of the client's, said with every BEGIN: no SET that a pooler would leak.
        await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)

    async def walk(
        self,
        work: Callable[[Transaction], Awaitable[Result]],
        *,
        timeout_seconds: float | None = None,
    ) -> Result:
        """As `run`, for a request that reads much of the log; few of them go at once.

        Raises Problem 503 where its turn does not come while a request waits for the database.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._walks.acquire()
        except TimeoutError:
            detail = "Others are reading much of the log already; send the request again."
            raise unavailable(detail) from None
        try:
            return await self.run(work, timeout_seconds=timeout_seconds)
        finally:
            self._walks.release()

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
            retry=retry_if_exception_type(LOST_RACES),
            stop=stop_after_attempt(5),
            wait=wait_random_exponential(multiplier=0.01, max=0.2),
            reraise=True,
        )
        bound_seconds = timeout_seconds or self._timeout_seconds
        try:
            async with asyncio.timeout(bound_seconds):
                async for attempt in retrying:
                    with attempt:
                        async with self._transaction(traceparent, bound_seconds) as transaction:
                            result = await work(transaction)
        except BEYOND_LIMITS:
            raise
        except BUSY as error:
            log.warning("database busy: %s", type(error).__name__)
            raise unavailable(
                f"It took longer than {bound_seconds:g} s: others hold what it needs, or it is "
                "much; send the request again."
            ) from error
        except UNAVAILABLE as error:
            log.warning("database unavailable: %s", type(error).__name__)
            raise unavailable("The database can't be reached; send the request again.") from error
        return result

    @asynccontextmanager
    async def _transaction(
        self, traceparent: str | None, bound_seconds: float
    ) -> AsyncIterator[Transaction]:
        # Somewhat less than the request's own bound: the server knows what took so long.
        milliseconds = str(round(bound_seconds * 900))
        async with (
            self.pool.connection() as connection,
            connection.pipeline(),
            connection.transaction(),
        ):
            await connection.execute(BOUND, {"milliseconds": milliseconds})
            yield Transaction(connection, traceparent)
