"""The connections of this process: how many there may be, and which of them wait for a client."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Protocol

import structlog

from service.web.monitoring.metrics import Metrics
from service.web.server.answers import Answers

# Below this a client counts as one that stands still, whatever it sends or takes.
MIN_BYTES_PER_SECOND = 1024

# So many connections may be there beyond the limit, while requests that were refused are answered.
MAX_BEYOND_LIMIT = 16

log = structlog.get_logger()


class Connection(Protocol):
    """What HTTP and WebSocket connections have in common."""

    transport: asyncio.Transport

    def end_if_overdue(self, now: float) -> None:
        """Ends the connection if its client has let it wait for too long; `now` is the loop's."""


class Connections:
    """At most `limit` connections, each of which may wait `timeout_seconds` for its client.

    When one more comes than there may be, the one that has waited longest for its client is closed
    for it, not the newcomer refused: a client that opens thousands and says nothing takes places
    from itself, and a probe or a payment gets through. Where all the others have requests under
    way, `refuse_one` ends one that only waits for the database: its connection is then free, and
    a few more than `limit` may be there until the next comes. There is no share for each address,
    since behind a proxy all clients come from one.
    """

    def __init__(
        self,
        limit: int,
        timeout_seconds: float,
        metrics: Metrics,
        refuse_one: Callable[[], bool],
    ) -> None:
        self.limit = limit
        self._refuse_one = refuse_one
        self.timeout_seconds = timeout_seconds
        self.answers = Answers()
        self._metrics = metrics
        # The longest first.
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        # Those among them that began to wait in this turn of the loop.
        self._new: set[Connection] = set()
        self._ended: Counter[str] = Counter()

    def opened(self, connection: Connection, count: int) -> None:
        """A client has connected; `count` connections are there, this one included."""
        self.wait(connection)
        beyond = count - self.limit
        if 0 < beyond <= MAX_BEYOND_LIMIT and self._all_are_new() and self._refuse_one():
            self.count_ended("too_many_requests")
            return
        for _ in range(min(beyond, max(len(self._waiting) - 1, 1))):
            longest, _ = self._waiting.popitem(last=False)
            self.count_ended("too_many_connections")
            longest.transport.abort()

    def wait(self, connection: Connection) -> None:
        """From now on it waits for its client: for a request, or for the rest of one."""
        self._waiting[connection] = None
        self._waiting.move_to_end(connection)
        if not self._new:
            asyncio.get_running_loop().call_soon(self._new.clear)
        self._new.add(connection)

    def _all_are_new(self) -> bool:
        """Whether those that wait have come in this turn of the loop: none has been read yet."""
        return next(iter(self._waiting)) in self._new

    def work(self, connection: Connection) -> None:
        """It does not wait for its client: it has a request, or is gone."""
        self._waiting.pop(connection, None)

    def count_ended(self, reason: str) -> None:
        """Counts a connection that was ended for its client's fault."""
        self._ended[reason] += 1
        self._metrics.ended_connections.labels(reason).inc()

    def sweep(self, connections: set[Connection], now: float) -> None:
        """Ends those that are overdue, and says once for all how many were ended and why."""
        for connection in list(connections):
            connection.end_if_overdue(now)
        self.answers.measure()
        if self._ended:
            # One line for however many: clients without a key don't decide how fast the log grows.
            log.warning("connections ended", **self._ended)
            self._ended.clear()


class Outflow:
    """What a client has not taken yet of what was written for it."""

    def __init__(self, transport: asyncio.Transport, timeout_seconds: float) -> None:
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._bytes = 0
        self._since = 0.0
        self.is_stuck = False

    def measure(self, now: float) -> None:
        """Finds out whether the client has taken next to nothing for `timeout_seconds`.

        A transport that is closing waits for what is written to go out, for ever if need be.
        """
        self.is_stuck = False
        size = self._transport.get_write_buffer_size()
        elapsed = now - self._since
        if size and self._bytes:
            if elapsed < self._timeout_seconds:
                return
            self.is_stuck = size > self._bytes - elapsed * MIN_BYTES_PER_SECOND
        if not self.is_stuck:
            self._bytes, self._since = size, now
