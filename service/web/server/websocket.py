"""A WebSocket connection: uvicorn's, with bounds."""

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from service.web.server.connections import Connections, Outflow

MAX_MESSAGE_BYTES = 65_536
# Clients have nothing to say here. Some say that they are alive all the same, with a ping or a
# message every few seconds, and all answer our pings.
MAX_FRAMES = 30
FRAMES_SECONDS = 10.0
# A frame has six bytes at least, and the library unpacks and answers all that it is given at once:
# never more than a hundred.
SLICE_BYTES = 512

# Both libraries write lines, and tracebacks, of what a client sends: as many as it likes. What
# becomes of it is told by Access and Connections; here faults of our own are left.
FAULTS = logging.getLogger("uvicorn.error.websocket")
FAULTS.setLevel(logging.ERROR)
FAULTS.addFilter(
    # It is said of every WebSocket that is refused by an answer.
    lambda record: (
        not str(record.msg).startswith("ASGI callable returned without completing handshake")
    )
)
NOTHING = logging.getLogger("uvicorn.error.websocket.client")
NOTHING.setLevel(logging.CRITICAL)


class NoHandshake(Exception):
    """The WebSocket library does not take this head; it has bounds of its own, 8 KB a line."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's connection, which unpacks and answers whatever number of frames, and waits for ever
    for what it has written before it closes.

    Here messages are dropped as they come, and a client that sends more than MAX_FRAMES in
    FRAMES_SECONDS, of whatever kind, is closed with 1008. Its head comes whole, from
    HttpConnection. uvicorn itself pings every 20 s and closes where no answer comes in 20 s, and
    bounds a message.
    """

    def __init__(self, *, connections_bound: Connections, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._bound = connections_bound
        self._frames = 0
        self._since = 0.0
        self.logger = FAULTS
        self.conn.logger = NOTHING

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._outflow = Outflow(transport, self._bound.timeout_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._bound.work(self)
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        """One that has been closed waits for its client to close as well."""
        await super().send(message)
        if self.close_sent:
            self._bound.wait(self)

    def data_received(self, data: bytes) -> None:
        """Raises NoHandshake for a whole head that is none; uvicorn would wait for more of it."""
        if not self.handshake_initiated:
            super().data_received(data)
            if not self.handshake_initiated:
                raise NoHandshake
        elif not self.handshake_complete:
            # It has to wait for the answer (RFC 6455, 4.1).
            self._bound.count_ended("websocket_not_silent")
            self.transport.abort()
        else:
            for start in range(0, len(data), SLICE_BYTES):
                if not self.transport.is_closing():
                    super().data_received(data[start : start + SLICE_BYTES])

    def handle_events(self) -> None:
        if self.handshake_initiated:
            self._count_frames()
        if self._frames > MAX_FRAMES:
            self._bound.count_ended("websocket_not_silent")
            self.conn.fail(CloseCode.POLICY_VIOLATION, "too many frames")
            self.handle_parser_exception()
        else:
            super().handle_events()

    def _count_frames(self) -> None:
        """Counts what has just come, of the period that is under way."""
        now = self.loop.time()
        if now - self._since >= FRAMES_SECONDS:
            self._since, self._frames = now, 0
        self._frames += len(self.conn.events)

    def handle_text(self, event: Frame) -> None:
        """Drops it: clients have nothing to say here."""

    handle_bytes = handle_cont = handle_text

    def end_if_overdue(self, now: float) -> None:
        """Drops a client that takes nothing of what was written for it."""
        self._outflow.measure(now)
        if self._outflow.is_stuck:
            self._bound.count_ended("websocket_not_read")
            self.transport.abort()
