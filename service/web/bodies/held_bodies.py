"""The bodies of requests: how much of them is held at once, and how long one may take."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Problem, unavailable
from service.web.server.connections import MIN_BYTES_PER_SECOND

MAX_HELD_BYTES = 64 * 1024 * 1024
# So much of each is read and not counted, whatever the others hold: a crowd that waits for the
# database must not keep a payment out. There are no more bodies than there are connections.
SMALL_BYTES = 16 * 1024

# The id of the key that a request has shown; None: all those without one.
Sender = int | None


class Body:
    """One of them. Slow is honest, on a phone for one; standing still is not."""

    def __init__(self, sender: Sender, timeout: asyncio.Timeout, patience_seconds: float) -> None:
        self.sender = sender
        self.bytes = bytearray()
        self.is_ended = False
        # What counts of it, until its request is answered.
        self.held_bytes = 0
        self._timeout = timeout
        self._patience_seconds = patience_seconds

    @property
    def ends_at(self) -> float:
        """When its time is over, by the loop's clock: soonest where its client is slowest."""
        return self._timeout.when() or 0.0

    def add(self, chunk: bytes) -> None:
        """What came earns time, and no more of it than a client has to begin with."""
        self.bytes += chunk
        if self.is_ended:
            return
        self.held_bytes = max(0, len(self.bytes) - SMALL_BYTES)
        earned = self.ends_at + len(chunk) / MIN_BYTES_PER_SECOND
        now = asyncio.get_running_loop().time()
        self._timeout.reschedule(min(earned, now + self._patience_seconds))

    def take(self) -> bytes:
        """All of it, which is kept here no longer."""
        content = bytes(self.bytes)
        self.bytes = bytearray()
        return content

    def end(self) -> None:
        """Its reader gets no more of it, unless its time is over just now, as the slowest's is."""
        if not self._timeout.expired():
            self.is_ended = True
            self._timeout.reschedule(asyncio.get_running_loop().time())


class Bodies:
    """All of one process, from their first byte until their requests are answered.

    No sender holds more than is free: one alone half of all there is, two a third each, and always
    there is room for the next. Where one sender holds too much, the slowest of its bodies that
    are being read goes first.
    """

    def __init__(self, max_bytes: int = MAX_HELD_BYTES) -> None:
        self.free_bytes = max_bytes
        self._held_bytes: Counter[Sender] = Counter()
        self._reading: set[Body] = set()

    @asynccontextmanager
    async def begin(self, sender: Sender, patience_seconds: float) -> AsyncIterator[Body]:
        """A body, while it is read; UntilAnswered releases it.

        Raises Problem: 408 if it comes too slowly, 503 if it was the slowest of too many.
        """
        body: Body | None = None
        try:
            async with asyncio.timeout(patience_seconds) as timeout:
                body = Body(sender, timeout, patience_seconds)
                self._reading.add(body)
                yield body
                # Its end came with its last chunk, before the clock could say so.
                if body.is_ended:
                    raise TimeoutError
        except BaseException as error:
            if body is not None:
                self.release(body)
            if not isinstance(error, TimeoutError):
                raise
            if body is not None and body.is_ended:
                raise unavailable("Too much is being sent at once; send it again.") from None
            detail = f"The body came more slowly than {MIN_BYTES_PER_SECOND} bytes a second."
            raise Problem(408, detail) from None
        self._reading.discard(body)

    def add(self, body: Body, chunk: bytes) -> None:
        """More of a body has come."""
        before = body.held_bytes
        body.add(chunk)
        self._count(body.sender, body.held_bytes - before)
        while self._held_bytes[body.sender] > self.free_bytes:
            counted = [one for one in self._reading if one.sender == body.sender and one.held_bytes]
            if not counted:
                break
            slowest = min(counted, key=lambda one: one.ends_at)
            self.release(slowest)
            slowest.end()

    def release(self, body: Body) -> None:
        """It is held no longer."""
        self._reading.discard(body)
        self._count(body.sender, -body.held_bytes)
        body.held_bytes = 0

    def _count(self, sender: Sender, change_bytes: int) -> None:
        self.free_bytes -= change_bytes
        self._held_bytes[sender] += change_bytes
        if not self._held_bytes[sender]:
            del self._held_bytes[sender]


class UntilAnswered:
    """ASGI middleware: a request's body counts until its answer is out.

    What has been read may wait for a connection to the database, and is in memory all the while.
    """

    def __init__(self, app: ASGIApp, bodies: Bodies) -> None:
        self._app = app
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and releases the body that its reader has left in its state."""
        try:
            await self._app(scope, receive, send)
        finally:
            if (body := scope.get("state", {}).get("body")) is not None:
                self._bodies.release(body)
