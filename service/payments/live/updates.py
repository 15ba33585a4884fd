"""ORDER_PAYMENT_UPDATED: from the log to the WebSocket clients of every process.

Updates are messages on channel `outbox.live`, which stays inside the database. Each process reads
them with a snapshot as its position: what a transaction writes is seen when it has committed, and a
late commit is not passed over, whatever ids were handed out meanwhile.

A snapshot means something in one history of the database alone. After a failover the new primary
may lack transactions that were read, and after a crash the server has forgotten those that were not
on disk; either gives their ids to others. Then the clients are asked to come again.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Final, Literal, LiteralString
from uuid import UUID

import msgspec
import structlog

from service.database.pool import Database
from service.database.transaction import Transaction
from service.payments.money import text
from service.payments.sale import Order, OrderStatus
from service.problems import Problem, unavailable
from service.turns import asks_for
from service.web.metrics import Metrics

EVENT: Final = "ORDER_PAYMENT_UPDATED"

POLL_INTERVAL_SECONDS = 0.05
RETRY_INTERVAL_SECONDS = 0.5
# Longer than a failover. After that a client does better to ask for the order and connect again.
MAX_BLIND_SECONDS = 30.0
MAX_PENDING_UPDATES = 100
# Of the rows of one read that are skipped, as many ids are logged.
MAX_LOGGED_IDS = 10

# RFC 6455: going away; try again later (registered with IANA).
GOING_AWAY = 1001
TRY_AGAIN_LATER = 1013

log = structlog.get_logger()


class LivePayment(msgspec.Struct, frozen=True, rename="camel"):
    """The `payment` of an update; amounts are strings."""

    total: str
    paid: str
    currency: str
    is_fully_paid: bool


class OrderPaymentUpdated(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a WebSocket client receives."""

    event: Literal["ORDER_PAYMENT_UPDATED"]
    order_id: UUID
    status: OrderStatus
    payment: LivePayment
    cancellation_reason: str | None = None


# The channel is the platform's own, so that it takes a function.
PUBLISH: LiteralString = """
    select sale.publish_update(%(order_id)s, %(update)s::json, %(headers)s::json)
"""


async def publish(
    transaction: Transaction,
    order: Order,
    status: OrderStatus,
    paid: Decimal,
    cancellation_reason: str | None = None,
) -> None:
    """Tells the order's clients, in every process, once this transaction has committed."""
    payment = LivePayment(text(order.total), text(paid), order.currency, status == "COMPLETED")
    update = OrderPaymentUpdated(EVENT, order.id, status, payment, cancellation_reason)
    parameters = {
        "order_id": order.id,
        "update": msgspec.json.encode(update).decode(),
        "headers": transaction.message_headers,
    }
    await transaction.execute(PUBLISH, parameters)


class Client:
    """One connected client: a bounded queue of updates, ended by a close code."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        self.close_code: int | None = None
        self._updates: asyncio.Queue[str | None] = asyncio.Queue(MAX_PENDING_UPDATES + 1)

    def offer(self, update: str) -> bool:
        """False if the client is too slow: its queue is full."""
        if self._updates.qsize() >= MAX_PENDING_UPDATES:
            return False
        self._updates.put_nowait(update)
        return True

    def drop(self, close_code: int) -> None:
        """What is still queued is sent, then the connection is closed with this code."""
        if self.close_code is None:
            self.close_code = close_code
            self._updates.put_nowait(None)

    async def next(self) -> str | None:
        """The next update; None when the client was dropped."""
        return await self._updates.get()


class Seen(msgspec.Struct, frozen=True):
    """A row of the reader: always one at least, which carries the new position.

    `id` is NULL in a row that carries nothing else.
    """

    target: str
    history: str
    id: int | None
    group_key: str | None
    payload: bytes | None

    def update(self) -> str:
        """The update, as it is sent to clients of the order `group_key`.

        Raises ValueError where it is none, or of another order.
        """
        payload = self.payload or b""
        update = UPDATES.decode(payload)
        if str(update.order_id) != self.group_key:
            raise ValueError("the group key is not the id of the update's order")
        return payload.decode()


UPDATES = msgspec.json.Decoder(OrderPaymentUpdated)


class Start(msgspec.Struct, frozen=True):
    """A position to start from: a snapshot of a history."""

    target: str
    history: str
    order_exists: bool


class Live:
    """The one reader of this process, and its clients. Reads only while somebody is connected.

    There are `max_clients` at most. For one more, the order that has most gives its oldest, so that
    who watches one order with thousands takes places from himself. As many as half of that may be
    coming and going besides.
    """

    def __init__(self, database: Database, metrics: Metrics, max_clients: int) -> None:
        self._database = database
        self._metrics = metrics
        self._max_clients = max_clients
        # All that hold a connection: those that ask to join and those that are being closed, too.
        self._present = 0
        # Of each order in the order in which they came.
        self._clients: defaultdict[str, dict[Client, None]] = defaultdict(dict)
        self._count = 0
        self._seen: str | None = None
        self._history = ""
        self._connected = asyncio.Event()

    START: LiteralString = """
        select pg_current_snapshot()::text as target,
               substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
                   || coalesce(pg_stat_get_bgwriter_stat_reset_time()::text, '') as history,
               exists (select from sale.sale_order where id = %(order_id)s) as order_exists
    """

    @asynccontextmanager
    async def client(self, order_id: UUID) -> AsyncIterator[Client]:
        """A client of this order: it gets every update that commits from here on.

        Raises Problem: 404 no such order, 503 no database or too many clients.
        """
        if self._present >= self._max_clients + self._max_clients // 2:
            raise unavailable("Too many clients are connected.")
        self._present += 1
        try:
            client = await self._join(order_id)
            try:
                yield client
            finally:
                self._forget(client)
        finally:
            self._present -= 1

    async def _join(self, order_id: UUID) -> Client:
        """Waits for no read: a crowd that asks for any orders keeps no update from others."""

        async def start(transaction: Transaction) -> Start | None:
            return await transaction.one(Start, self.START, {"order_id": order_id})

        begins = await self._database.run(start)
        assert begins is not None, "a select without FROM has one row"
        if not begins.order_exists:
            raise Problem(404, "The order does not exist.", field="orderId")
        if not self._count:
            self._seen, self._history = begins.target, begins.history
        if self._count >= self._max_clients:
            crowd = max(self._clients.values(), key=len)
            self._drop(next(iter(crowd)), TRY_AGAIN_LATER)
        client = Client(str(order_id))
        self._clients[client.order_id][client] = None
        self._count += 1
        self._connected.set()
        return client

    def _drop(self, client: Client, close_code: int) -> None:
        client.drop(close_code)
        self._forget(client)

    def _forget(self, client: Client) -> None:
        """It gets no more updates. It may have been forgotten already."""
        clients = self._clients[client.order_id]
        if client in clients:
            del clients[client]
            self._count -= 1
        if not clients:
            del self._clients[client.order_id]

    def close(self, close_code: int = GOING_AWAY) -> None:
        """Drops everybody."""
        for client in [client for clients in self._clients.values() for client in clients]:
            self._drop(client, close_code)

    async def run(self) -> None:
        """Reads until cancelled. A database that is away for long costs clients, not the loop."""
        asks_for.set("live updates")
        clock = asyncio.get_running_loop().time
        last_read = clock()
        while True:
            if not self._connected.is_set():
                await self._connected.wait()
                last_read = clock()
            try:
                await self._read()
                last_read = clock()
                await asyncio.sleep(POLL_INTERVAL_SECONDS)
            except Problem:
                if clock() - last_read > MAX_BLIND_SECONDS:
                    self.close(TRY_AGAIN_LATER)
                await asyncio.sleep(RETRY_INTERVAL_SECONDS)
            except Exception:
                # Nobody must stay connected to a reader that does not read.
                log.exception("live reader failed")
                self.close(TRY_AGAIN_LATER)
                await asyncio.sleep(RETRY_INTERVAL_SECONDS)

    async def _read(self) -> None:
        if not self._count or self._seen is None:
            self._seen = None
            self._connected.clear()
            return
        seen = self._seen
        rows = await self._database.run(lambda transaction: _read_since(transaction, seen))
        if self._seen != seen:
            # All have left meanwhile, and who came then begins from a position of his own.
            return
        if rows[0].history != self._history:
            log.warning("live clients are asked to come again", cause="failover or crash")
            self.close(TRY_AGAIN_LATER)
            return
        self._deliver(rows)
        self._seen = rows[0].target

    def _deliver(self, rows: Sequence[Seen]) -> None:
        """Each update to the clients of its order. A row that is none skips itself alone."""
        skipped: list[int] = []
        for row in rows:
            if row.id is None:
                continue
            try:
                self._offer(row.group_key or "", row.update())
            except (ValueError, RecursionError):
                skipped.append(row.id)
        if skipped:
            self._metrics.skipped_updates.inc(len(skipped))
            ids = skipped[:MAX_LOGGED_IDS]
            log.warning("live updates skipped", message_ids=ids, count=len(skipped))

    def _offer(self, order_id: str, update: str) -> None:
        for client in list(self._clients.get(order_id, ())):
            if not client.offer(update):
                log.warning("slow client dropped", order_id=order_id)
                self._drop(client, TRY_AGAIN_LATER)


# The planner has no statistics for xid8 and would read the whole table where it may; local to the
# transaction, so that a pooler keeps nothing of it.
ON_THE_INDEX: LiteralString = """
    select set_config('enable_seqscan', 'off', true),
           set_config('enable_bitmapscan', 'off', true),
           set_config('jit', 'off', true)
"""

# `history` names the timeline, which changes with a failover, and since when the server counts: it
# begins anew after a crash (and with pg_stat_reset_shared, by which nothing is lost).
#
# What this statement sees and `seen` did not: the transactions that began after `seen` (fresh),
# and those that were running then and are over (late). The rows of one that goes on would be walked
# at every poll, so they are left out: see outbox.finished_ranges. One statement has one snapshot,
# so `target` is exactly what was read, and the next read goes on from there.
READ: LiteralString = """
    select pg_current_snapshot()::text as target,
           substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
               || coalesce(pg_stat_get_bgwriter_stat_reset_time()::text, '') as history,
           message.id, message.group_key, message.payload
    from (values (true)) as always
    left join lateral (
        select fresh.id, fresh.group_key, fresh.payload
        from outbox.finished_ranges(pg_snapshot_xmax(%(seen)s::pg_snapshot)) as finished
        cross join lateral (
            select id, group_key, payload
            from outbox.message
            where priority = 1 and channel = 'outbox.live'
              and xid >= finished.from_xid and xid < finished.before_xid
            offset 0
        ) as fresh
        union all
        select id, group_key, payload
        from outbox.message
        where priority = 1 and channel = 'outbox.live'
          and xid = any (array(
              select x from pg_snapshot_xip(%(seen)s::pg_snapshot) as x
              where pg_visible_in_snapshot(x, (select pg_current_snapshot()))))
    ) as message on true
    order by message.id
"""


async def _read_since(transaction: Transaction, seen: str) -> list[Seen]:
    await transaction.execute(ON_THE_INDEX, {})
    return await transaction.all(Seen, READ, {"seen": seen})
