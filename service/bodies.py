"""The bodies that are being read: how much of them is held at once, and how long one may take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.problems import Problem, unavailable
from service.server.connections import MIN_BYTES_PER_SECOND

MAX_HELD_BYTES = 64 * 1024 * 1024


class Body:
    """One of them. Slow is honest, on a phone for one; standing still is not."""

    def __init__(self, timeout: asyncio.Timeout, patience_seconds: float) -> None:
        self.bytes = bytearray()
        self.is_ended = False
        self._timeout = timeout
        self._patience_seconds = patience_seconds

    def add(self, chunk: bytes) -> None:
        """What came earns time, and no more of it than a client has to begin with."""
        self.bytes += chunk
        if self.is_ended:
            return
        earned = (self._timeout.when() or 0.0) + len(chunk) / MIN_BYTES_PER_SECOND
        now = asyncio.get_running_loop().time()
        self._timeout.reschedule(min(earned, now + self._patience_seconds))

    def end(self) -> None:
        """Its reader gets no more of it."""
        self.is_ended = True
        self._timeout.reschedule(asyncio.get_running_loop().time())


class Bodies:
    """All of one process. Where they hold too much together, the largest goes first."""

    def __init__(self, max_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._reading: set[Body] = set()

    @asynccontextmanager
    async def begin(self, patience_seconds: float) -> AsyncIterator[Body]:
        """A body, while it is read.

        Raises Problem: 408 if it comes too slowly, 503 if it was the largest of too many.
        """
        body: Body | None = None
        try:
            async with asyncio.timeout(patience_seconds) as timeout:
                body = Body(timeout, patience_seconds)
                self._reading.add(body)
                yield body
        except TimeoutError:
            if body is not None and body.is_ended:
                raise unavailable("Too much is being sent at once; send it again.") from None
            detail = f"The body came more slowly than {MIN_BYTES_PER_SECOND} bytes a second."
            raise Problem(408, detail) from None
        finally:
            if body is not None:
                self._forget(body)

    def add(self, body: Body, chunk: bytes) -> None:
        """More of a body has come."""
        body.add(chunk)
        if body in self._reading:
            self._held_bytes += len(chunk)
        while self._held_bytes > self._max_bytes:
            largest = max(self._reading, key=lambda one: len(one.bytes))
            self._forget(largest)
            largest.end()

    def _forget(self, body: Body) -> None:
        if body in self._reading:
            self._reading.remove(body)
            self._held_bytes -= len(body.bytes)
