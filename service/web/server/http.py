"""An HTTP connection: uvicorn's, with bounds."""

import http
from enum import Enum, auto
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.problems import Problem
from service.web.server.answers import SIZE
from service.web.server.connections import Connections, Outflow
from service.web.server.websocket import NoHandshake

MAX_HEAD_BYTES = 32_768
MAX_HEADERS = 100
# What the kernel may hold of an answer; Linux takes it twice.
KERNEL_BYTES = 131_072
# More than this of a body that was answered already, and the rest is dropped unread.
MAX_DRAIN_BYTES = 65_536
# A chunk costs a microsecond or two whatever it holds. A short body may come in chunks of a byte
# each, as careless encoders make them; of a long one each has to bring something.
MAX_SMALL_CHUNKS = 1000
BYTES_PER_CHUNK = 64


class Phase(Enum):
    """Where a connection is: only in ANSWER it does not wait for its client."""

    IDLE = auto()  # nothing of a request is here
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    DRAIN = auto()  # answered or refused before the request's end: what comes is dropped


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection, which bounds neither a head nor the time that a client takes.

    uvicorn bounds what waits between two requests (`timeout_keep_alive`) and, with its slower h11,
    a head's bytes. With httptools a head has no end, in bytes or in time, nor have trailers and
    chunk extensions; pipelined requests are all unpacked at once; a client that does not read
    its answer stays. Granian and Hypercorn have some of these bounds, none has all of them. So
    the few that miss are added here:

    - A head has 32 KB and 100 headers (431), and `timeout_seconds` (408); so has what comes
      between chunks and after them, in bytes. Chunks are few for what they hold (400).
    - A body's time is the reader's business (web/body.py). What is left of a request that was
      answered already is dropped, for `timeout_seconds`.
    - One request at a time. What comes before the answer is out is dropped, and the connection ends
      after the answer; a client that pipelines sends it again (RFC 9112, 9.3.2).
    - An answer has to be taken, see Outflow; and how much is held of answers that are not yet taken
      is bounded, see Answers. A request that comes before then is as one that is pipelined.
    """

    def __init__(self, *, connections_bound: Connections, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._bound = connections_bound
        self._phase = Phase.IDLE
        self._since = self.loop.time()
        self._is_deaf = False
        self._headers = 0
        self._head_bytes = 0
        # Of this request: what came that is no body, and what is.
        self._other_bytes = 0
        self._body_bytes = 0
        self._chunks = 0
        self._refusal: Problem | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # Else the kernel takes up to 4 MB for a client that reads nothing, and nobody here sees it.
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BYTES)
        self._outflow = Outflow(transport, self._bound.timeout_seconds)
        self._bound.opened(self, len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self._bound.work(self)
        self._bound.answers.release(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.ANSWER:
            self._end_after_answer()
        elif self._phase is Phase.IDLE and self.flow.write_paused:
            # Its next answer would be held besides, and nobody counts that before it is written.
            self._is_deaf = True
            self.transport.close()
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        self._begin()
        self._other_bytes += len(data)
        try:
            self.parser.feed_data(data)
            self._bound_message()
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except (httptools.HttpParserError, _Refused):
            if self._phase is Phase.ANSWER:
                self._end_after_answer()
            elif self._phase is Phase.DRAIN:
                # Its answer is out; a second one would be taken for another request's.
                self._is_deaf = True
                self.transport.write_eof()
            else:
                self._refuse(self._refusal or Problem(400, "This is not HTTP."))

    def _begin(self) -> None:
        """The head's time runs from its first byte, be it only a line's end."""
        if self._phase is Phase.IDLE:
            self._enter(Phase.HEAD)
            self._bound.wait(self)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()

    # The parser's calls. What they raise stops it.

    def on_message_begin(self) -> None:
        if self._phase is Phase.ANSWER:
            raise _Refused
        self._begin()
        super().on_message_begin()
        self._headers = self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._bound_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._bound_head(len(name) + len(value) + len(b": \r\n"))
        # Trailers come here, too, and must not become headers of a request that is under way.
        if self._phase is Phase.HEAD:
            if name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
                # The parser would take the chunks apart, and what is in them for the body.
                self._refusal = Problem(501, "Of transfer codings only chunked is understood.")
                raise _Refused
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._enter(Phase.BODY)
        if self.expect_100_continue and self.cycle is not None:
            # After an early answer its client may send the body or leave it (RFC 9110, 10.1.1).
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > MAX_SMALL_CHUNKS + self._body_bytes // BYTES_PER_CHUNK:
            self._refusal = Problem(400, "The body comes in too many chunks for its size.")
            raise _Refused

    def on_body(self, body: bytes) -> None:
        self._other_bytes -= len(body)
        self._body_bytes += len(body)
        # As uvicorn does it, but with nothing in between: a body may come in small chunks.
        if self._phase is Phase.BODY:
            self.cycle.body += body
            if len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._other_bytes = self._body_bytes = self._chunks = 0
        if self._phase is Phase.BODY:
            self._enter(Phase.ANSWER)
            self._bound.work(self)
        else:
            self._enter(Phase.IDLE)

    def _bound_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or self._headers > MAX_HEADERS:
            self._refuse_head()

    def _bound_message(self) -> None:
        """A header that does not end is not told by the parser; nor are chunk extensions."""
        if self._phase is Phase.DRAIN and self._body_bytes > MAX_DRAIN_BYTES:
            raise _Refused
        if self._other_bytes > MAX_HEAD_BYTES + self._body_bytes:
            self._refuse_head()

    def _refuse_head(self) -> None:
        detail = f"The head is larger than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers."
        self._refusal = Problem(431, detail)
        raise _Refused

    # The other ways of a request.

    def on_response_complete(self) -> None:
        # What came of a body that was not read would stay for as long as the connection does.
        self.cycle.body = bytearray()
        # A service.web.access.authorization.Caller, once the request has shown a valid key.
        state = self.scope["state"]
        sender = getattr(state.get("caller"), "name", None)
        self._bound.answers.written(self, sender, state.get(SIZE, 0))
        if self._phase is Phase.BODY:
            self._enter(Phase.DRAIN)
            self._other_bytes = self._body_bytes = self._chunks = 0
        else:
            self._enter(Phase.IDLE)
            self._bound.wait(self)
        super().on_response_complete()

    def _end_after_answer(self) -> None:
        self._is_deaf = True
        self.cycle.keep_alive = False

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self._bound.work(self)
            self.handle_websocket_upgrade()
        else:
            # Answered as if no upgrade had been asked for. It is not known whether the next bytes
            # are HTTP or another protocol's.
            self._end_after_answer()

    def handle_websocket_upgrade(self) -> None:
        try:
            super().handle_websocket_upgrade()
        except NoHandshake:
            for connection in list(self.connections):
                if connection.transport is self.transport:
                    self.connections.discard(connection)
            self.connections.add(self)
            self._refuse(Problem(400, "This is no WebSocket handshake that is understood."))

    def _refuse(self, problem: Problem) -> None:
        """Answers, if that is possible, and ends the connection.

        Only our half is closed, and what comes is dropped for a while: a reset, which is what
        closing on unread bytes sends, would take the answer from the client (RFC 9112, 9.6).
        """
        self._bound.count_ended(f"answered_{problem.status}")
        self._is_deaf = True
        if self.cycle is not None and not self.cycle.response_complete:
            is_answered = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            is_answered = False
        if is_answered or self.transport.is_closing():
            self.transport.abort()
            return
        self._enter(Phase.DRAIN)
        self._bound.wait(self)
        self.transport.write(_encode(problem, self.server_state.default_headers))
        self.transport.write_eof()
        # It was stopped where the body came faster than its reader took it.
        self.flow.resume_reading()

    @property
    def unsent_bytes(self) -> int:
        """What was written for its client and is still here."""
        return self.transport.get_write_buffer_size()

    def drop_answer(self) -> None:
        """Ends the connection, with what is left of its answer."""
        self._bound.count_ended("too_many_answers")
        self.transport.abort()

    def end_if_overdue(self, now: float) -> None:
        """What the clock asks of every connection, about twice a second."""
        self._outflow.measure(now)
        if self._outflow.is_stuck:
            self._bound.count_ended("answer_not_read")
            self.transport.abort()
        elif now - self._since < self._bound.timeout_seconds:
            return
        elif self._phase is Phase.HEAD:
            seconds = self._bound.timeout_seconds
            self._refuse(Problem(408, f"The head took longer than {seconds:g} s."))
        elif self._phase is Phase.DRAIN:
            self.transport.abort()
        elif self._phase is Phase.IDLE:
            self._bound.count_ended("nothing_sent")
            self.transport.close()

    def shutdown(self) -> None:
        """No grace for a client that is still sending what is dropped."""
        if self._phase is Phase.DRAIN:
            self.transport.abort()
        else:
            super().shutdown()


class _Refused(Exception):
    """Stops the parser."""


def _encode(problem: Problem, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    response = problem.response()
    headers = [*default_headers, *response.raw_headers, (b"connection", b"close")]
    lines = [STATUS_LINE[http.HTTPStatus(problem.status)]]
    lines.extend(b"%s: %s\r\n" % header for header in headers)
    return b"".join([*lines, b"\r\n", bytes(response.body)])
