"""A WebSocket connection: uvicorn's, with bounds."""

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from service.server.connections import Connections, Outflow

MAX_MESSAGE_BYTES = 65_536
MAX_FRAGMENTS = 1000

# Both libraries write lines, and tracebacks, of what a client sends: as many as it likes. What
# becomes of it is told by Access and Connections; here faults of our own are left.
FAULTS = logging.getLogger("uvicorn.error.websocket")
FAULTS.setLevel(logging.ERROR)
FAULTS.addFilter(
    lambda record: (
        not str(record.msg).startswith(
            # The latter is said of every WebSocket that is refused by an answer.
            ("Invalid UTF-8", "ASGI callable returned without completing handshake")
        )
    )
)
NOTHING = logging.getLogger("uvicorn.error.websocket.client")
NOTHING.setLevel(logging.CRITICAL)


class NoHandshake(Exception):
    """The WebSocket library does not take this head; it has bounds of its own, 8 KB a line."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's connection, which answers a flood of pings though nobody reads the answers,
    collects a message's empty fragments without end, and waits for ever for what it has written
    before it closes.

    Its head comes whole, from HttpConnection. uvicorn itself pings every 20 s and closes where no
    answer comes in 20 s, and bounds a message.
    """

    def __init__(self, *, connections_bound: Connections, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._bound = connections_bound
        self.logger = FAULTS
        self.conn.logger = NOTHING

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._outflow = Outflow(transport, self._bound.timeout_seconds)

    def data_received(self, data: bytes) -> None:
        """Raises NoHandshake for a whole head that is none; uvicorn would wait for more of it."""
        super().data_received(data)
        if not self.handshake_initiated:
            raise NoHandshake

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            self.handle_parser_exception()

    def end_if_overdue(self, now: float) -> None:
        """Drops a client that takes nothing of what was written for it."""
        if self._outflow.is_stuck(now):
            self._bound.ended("websocket_not_read")
            self.transport.abort()
