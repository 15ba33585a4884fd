"""A bounded pool of connections, and one transaction per request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from psycopg import InterfaceError, OperationalError
from psycopg import errors as sqlstates
from psycopg_pool import AsyncConnectionPool
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from service.database.connection import (
    CONNECTION_DEFAULTS,
    Connection,
    configure,
    is_ended,
    missing,
)
from service.database.faults import Faults
from service.database.transaction import BOUND, Transaction
from service.fair_turns import CrowdedError, Turns, asks_for
from service.problems import unavailable
from service.settings import Settings

if TYPE_CHECKING:
    from service.spans import Spans

# What a standby says to READ WRITE, and a primary that was made read-only to a write.
READ_ONLY = (sqlstates.FeatureNotSupported, sqlstates.ReadOnlySqlTransaction)

LOST_RACES = (sqlstates.DeadlockDetected, sqlstates.SerializationFailure)

# The SQLSTATE of outbox.refuse_event: a message that is published does not fit its event type.
UNFIT = "OB422"

# Away, restarting, out of connections or time; a standby not promoted yet; not migrated yet.
UNAVAILABLE = (
    OperationalError,
    InterfaceError,
    TimeoutError,
    *READ_ONLY,
    sqlstates.TransactionTimeout,
    sqlstates.InvalidSchemaName,
    sqlstates.UndefinedTable,
    sqlstates.UndefinedFunction,
)

# OperationalError as well, but no outage: other transactions hold what this one waits for, or it
# does much.
BUSY = (sqlstates.LockNotAvailable, sqlstates.QueryCanceled)

# OperationalError as well, but no outage: the same request meets the same limit for ever.
BEYOND_LIMITS = (
    sqlstates.ProgramLimitExceeded,
    sqlstates.StatementTooComplex,
    sqlstates.TooManyArguments,
    sqlstates.TooManyColumns,
)

# Requests that may read much hold a connection for long, and clients without a valid key may have
# made-up keys looked up without end. Each of these two kinds gets one connection in so many, so
# that payments and all other requests always find one. Large bodies get half of the connections:
# they are much work for this process, and those who publish in bulk need several at once.
SHARE = 4

Result = TypeVar("Result")

# Whether the task under way has a turn already, see Database.turn.
_has_turn: ContextVar[bool] = ContextVar("has_turn", default=False)


class Database:
    """The pool and its transactions. A database that is lost is a Problem 503, in bounded time."""

    def __init__(self, settings: Settings, spans: "Spans | None" = None) -> None:
        self._spans = spans
        self._timeout_seconds = settings.database_timeout_seconds
        share = max(1, settings.pool_size // SHARE)
        self._turns = Turns(settings.pool_size, kept=settings.pool_size // SHARE)
        self._walks = Turns(share, kept=share // 2)
        half = max(1, settings.pool_size // 2)
        self._bodies = Turns(half, kept=half // 2)
        self._without_key = Turns(share, kept=share // 2)
        self._all_turns = (self._turns, self._walks, self._bodies, self._without_key)
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
            configure=configure,
            min_size=min(2, settings.pool_size),
            max_size=settings.pool_size,
            timeout=self._timeout_seconds,
            # Give up soon: the next request then tries again at once, instead of waiting for
            # a pause that doubled all through a long outage.
            reconnect_timeout=3.0,
            open=False,
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """One that was not ended in a quiet time, by the server or by a proxy before it.

        (The pool's own check waits a second, then two, after each that was.)
        """
        while True:
            connection = await self.pool.getconn()
            try:
                if not await is_ended(connection):
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
        return sum(turns.waiting for turns in self._all_turns)

    def refuse_one(self) -> bool:
        """Ends the wait of one request, of those that most wait beside; False where none waits."""
        crowded = sorted(self._all_turns, key=lambda one: -one.crowd)
        return any(turns.refuse_one() for turns in crowded)

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

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn for a large body, before it is decoded: every `run` in the block has it.

        Raises Problem 503 where it does not come in time.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        detail = "Too many large bodies wait for their turn"
        async with (
            self._turn(self._bodies, asks_for.get(), deadline, detail),
            self._next_turn(deadline),
        ):
            token = _has_turn.set(True)
            try:
                yield
            finally:
                _has_turn.reset(token)

    def _next_turn(self, deadline: float) -> AbstractAsyncContextManager[None]:
        if _has_turn.get():
            return nullcontext()
        detail = "Too many requests wait for the database, or it can't be reached"
        return self._turn(self._turns, asks_for.get(), deadline, detail)

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
        detail = "Other requests are reading much of the log already"
        async with self._turn(self._walks, asks_for.get(), deadline, detail):
            return await self.run(work, timeout_seconds=timeout_seconds)

    async def look_up(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """As `run`, for clients without a known key: few at once, which share one name's turns."""
        client = asks_for.get()
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        detail = "Too many keys that were never seen here are being looked up"
        async with self._turn(self._without_key, client, deadline, detail):
            asks_for.set("without a known key")
            try:
                return await self.run(work)
            finally:
                asks_for.set(client)

    async def run(
        self,
        work: Callable[[Transaction], Awaitable[Result]],
        *,
        traceparent: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Result:
        """What `work` returns, committed. The one place where a lost race is tried again.

        `timeout_seconds` instead of the setting, for `walk`.

        Raises Problem 503 where the database is away, too slow, has yet to grant a right, or did
        not answer the COMMIT: then it may have happened or not, and sending the request again must
        be harmless.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((*LOST_RACES, *READ_ONLY)),
            stop=stop_after_attempt(5),
            wait=wait_random_exponential(multiplier=0.01, max=0.2),
            reraise=True,
        )
        bound_seconds = timeout_seconds or self._timeout_seconds
        deadline = asyncio.get_running_loop().time() + bound_seconds
        async with self._next_turn(deadline):
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
                    f"It took longer than {bound_seconds:g} s: other transactions hold what it "
                    "needs, or it is much; send the request again."
                ) from error
            except sqlstates.InsufficientPrivilege as error:
                # `migrate` grants what its migrations made in a transaction of its own, after them.
                self._faults.note("database refuses", str(error.diag.message_primary))
                raise unavailable(
                    "The service lacks a right in the database, which `outbox-relay migrate` or "
                    "sql/roles.sql grants to outbox_service; send the request again."
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
                    yield Transaction(connection, traceparent, self._spans)
                row = await bound.fetchone()
                if row is not None and row[0] is not None:
                    # Nothing was written, and what was read may be long out of date.
                    raise sqlstates.ReadOnlySqlTransaction("the server takes no writes")
        except READ_ONLY:
            # The pool's other connections lead to the same server; new ones look for the primary.
            await self.pool.drain()
            raise
