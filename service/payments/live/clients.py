"""The WebSocket clients of this process, and the one reader that tells them of updates.

The reader's position is a snapshot, which means something in one history of the database alone.
After a failover the new primary may lack transactions that were read, and after a crash the server
has forgotten those that were not on disk; either gives their ids to others. Then the clients are
asked to come again.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from service.database.pool import Database
from service.fair_turns import asks_for
from service.payments.live import updates
from service.problems import Problem, unavailable
from service.web.monitoring.metrics import Metrics

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


class Client:
    """One connected client: a bounded queue of updates, ended by a close code.

    `sender` is who asks for it: an address.
    """

    def __init__(self, order_id: str, sender: str) -> None:
        self.order_id = order_id
        self.sender = sender
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


class Live:
    """The one reader of this process, and its clients. Reads only while a client is connected.

    There are `max_clients` at most. For one more, the oldest goes of those whose address and order
    together have most: the one's number of clients times the other's. So a watcher with thousands
    of clients, of one order or of thousands, takes places from itself. As many as half of that may
    be coming and going besides.
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
        self._by_sender: Counter[str] = Counter()
        self._seen: str | None = None
        self._history = ""
        self._connected = asyncio.Event()

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
        begins = await self._database.run(lambda transaction: updates.start(transaction, order_id))
        if not begins.order_exists:
            raise Problem(404, "The order does not exist.", field="orderId")
        if not self._count:
            self._seen, self._history = begins.target, begins.history
        if self._count >= self._max_clients:
            self._drop(self._most_crowded(), TRY_AGAIN_LATER)
        client = Client(str(order_id), asks_for.get())
        self._clients[client.order_id][client] = None
        self._by_sender[client.sender] += 1
        self._count += 1
        self._connected.set()
        return client

    def _most_crowded(self) -> Client:
        """Among equals the oldest of its order."""
        return max(
            (client for clients in self._clients.values() for client in clients),
            key=lambda one: len(self._clients[one.order_id]) * self._by_sender[one.sender],
        )

    def _drop(self, client: Client, close_code: int) -> None:
        client.drop(close_code)
        self._forget(client)

    def _forget(self, client: Client) -> None:
        """It gets no more updates. It may have been forgotten already."""
        clients = self._clients[client.order_id]
        if client in clients:
            del clients[client]
            self._count -= 1
            self._by_sender[client.sender] -= 1
            if not self._by_sender[client.sender]:
                del self._by_sender[client.sender]
        if not clients:
            del self._clients[client.order_id]

    def close(self, close_code: int = GOING_AWAY) -> None:
        """Drops every client."""
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
                # No client must stay connected to a reader that does not read.
                log.exception("live reader failed")
                self.close(TRY_AGAIN_LATER)
                await asyncio.sleep(RETRY_INTERVAL_SECONDS)

    async def _read(self) -> None:
        if not self._count or self._seen is None:
            self._seen = None
            self._connected.clear()
            return
        seen = self._seen
        rows = await self._database.run(lambda transaction: updates.read_since(transaction, seen))
        if self._seen != seen:
            # All clients have left meanwhile, and the next one began from a position of its own.
            return
        if rows[0].history != self._history:
            log.warning("live clients are asked to come again", cause="failover or crash")
            self.close(TRY_AGAIN_LATER)
            return
        self._deliver(rows)
        self._seen = rows[0].target

    def _deliver(self, rows: Sequence[updates.Seen]) -> None:
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
