"""One connection to an endpoint: a request goes out whole, its answer comes in within bounds."""

import asyncio
import os
import re
import socket
from typing import Protocol, cast

import httptools

from relay.push.http.answer import MAX_BODY_BYTES
from relay.push.http.fault import Fault
from relay.push.http.reply import Reply

# Of an answer. What goes beyond ends the connection.
MAX_HEAD_BYTES = 32_768
# Of TLS before the first request. OpenSSL takes a chain of certificates of 100 KiB.
MAX_HANDSHAKE_BYTES = 131_072
MAX_INFORMATIONAL = 5
# What a header costs besides its name and value.
HEADER_OVERHEAD_BYTES = 4
# Of a header that is kept.
MAX_NAME_BYTES = len("retry-after")
MAX_VALUE_BYTES = 300
FIRST_STATUS, FIRST_FINAL_STATUS = 100, 200
# Framing, trailers and what else is no body may be so much together.
MAX_ANSWER_BYTES = MAX_HEAD_BYTES + 2 * MAX_BODY_BYTES

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2})(?: [^\r\n]*)?\r?\n")

_NO_ANSWER = "the connection was closed before an answer came"


class Owner(Protocol):
    """The pool, which keeps connections between requests."""

    def rest(self, connection: "Connection") -> None:
        """An answer is complete, and the connection can take another request."""

    def lost(self, connection: "Connection") -> None:
        """It is closed."""


class Connection(asyncio.Protocol):
    """At most one request at a time.

    Whatever comes while none is under way closes it, unread: it would count as the answer to the
    next request. So does everything odd, once the answer that it came with has counted.
    """

    def __init__(self, owner: Owner) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._wire: socket.socket | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # There while it is connected: the two hold each other.
        self._parser: httptools.HttpResponseParser | None = None
        # The TCP transport below TLS, where there is one.
        self._carrier: asyncio.Transport | None = None
        # Something came that was not asked for.
        self._spoke = False
        # It was closed while a request was under way, before anything of an answer came.
        self.broke_off = False
        self.opened_at = self._loop.time()
        self.rests_since = 0.0
        self.requests = 0
        self._begin()

    def _begin(self) -> None:
        self._reply = Reply()
        self._raw = b""
        self._body: list[bytes] = []
        self._bytes = 0
        self._record_bytes = 0
        self._head_bytes = 0
        self._body_bytes = 0
        self._informational = 0
        self._has_head = False
        self._complete = False
        self._keep_alive = False
        self._gone = False

    # Its owner's side.

    def opened(self, wire: socket.socket) -> None:
        """It is connected by this socket, which is looked at before each request."""
        self._wire = wire

    def carried(self, carrier: asyncio.Transport) -> None:
        """Its TLS goes by this TCP transport; the handshake begins."""
        self._carrier = carrier

    def count_records(self, size: int) -> None:
        """So many bytes of TLS have come in; what is no data is bounded as a head is."""
        self._record_bytes += size
        longest = MAX_HEAD_BYTES if self.requests else MAX_HANDSHAKE_BYTES
        if self._record_bytes - self._bytes <= longest:
            return
        if self._waiter is None:
            self._spoke = True
        elif self._has_head:
            self._finish(keep_alive=False)
        self._fail(Fault("protocol", "it sent TLS records without data, on and on"))
        assert self._carrier is not None
        self._carrier.abort()

    def check_open(self) -> bool:
        """Whether a request can be written: nothing has come, and neither side has closed it.

        Asks the socket itself. What the loop has not read yet would be taken for the next answer,
        and a request that crosses with a close is a failed attempt.
        """
        if self._transport is None or self._transport.is_closing() or self._wire is None:
            return False
        if not self.requests and self._carrier is not None and not self._spoke:
            # The end of the handshake may still be there.
            return True
        try:
            self._wire.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._spoke = True
        return False

    async def exchange(self, head: bytes, body: bytes, deadline: float) -> Reply:
        """Writes one request and waits for its answer, until `deadline` of the loop's clock.

        Raises Fault, and TimeoutError. It is written before anything is waited for.
        """
        if self._transport is None or not self.check_open():
            self.abort()
            if self._spoke:
                raise Fault("protocol", "it spoke before anything was asked")
            raise Fault("disconnected", _NO_ANSWER)
        self._begin()
        self.requests += 1
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiter = waiter
        self._timer = self._loop.call_at(deadline, self._end_of_time)
        # Not put together: the body may be large, and waits here until it has been answered.
        self._transport.writelines((head, body))
        try:
            return await waiter
        finally:
            if waiter.cancelled():
                self.abort()
            # It holds the fault, whose traceback holds this frame and the body: a circle.
            del waiter

    def abort(self) -> None:
        """Closes it at once; an answer that is under way is lost."""
        if self._transport is not None:
            self._transport.abort()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        # So that a write goes to the socket at once, and only what the socket did not take is
        # buffered: the time to send is looked at just before the write.
        self._transport.set_write_buffer_limits(high=0)

    def pause_writing(self) -> None:
        self._written_on()

    def resume_writing(self) -> None:
        self._written_on()

    def _written_on(self) -> None:
        """A TLS transport says either without need: what is buffered is asked."""
        if self._check_gone() and self._complete and self._waiter is not None:
            self._finish()

    def _check_gone(self) -> bool:
        """Whether the whole request has gone to the socket, below TLS too.

        Remembered: a transport that closes has thrown away what was left, and says that it has
        nothing.
        """
        transports = [each for each in (self._transport, self._carrier) if each is not None]
        if transports and not any(each.is_closing() for each in transports):
            self._gone = self._gone or not any(each.get_write_buffer_size() for each in transports)
        return self._gone

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self._spoke = True
            self.abort()
            return
        self._check_gone()
        assert self._parser is not None
        self._bytes += len(data)
        if not self._has_head:
            self._raw = self._raw + data if self._raw else data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(Fault("protocol", "it would switch protocols"))
            return
        except httptools.HttpParserError:
            self._make_the_best_of_it()
            return
        if self._complete:
            self._finish()
        elif self._bytes > (MAX_ANSWER_BYTES if self._has_head else MAX_HEAD_BYTES):
            self._make_the_best_of_it()

    def connection_lost(self, exc: Exception | None) -> None:
        asked = self._waiter is not None
        self.broke_off = asked and not self._bytes
        if asked and self._has_head:
            # Where the answer says nothing of its length, this is its end. Of a request that had
            # not gone whole by then it says nothing.
            self._finish(keep_alive=False)
        if isinstance(exc, OSError) and exc.errno:
            self._fail(Fault("disconnected", f"the connection broke: {os.strerror(exc.errno)}"))
        else:
            self._fail(Fault("disconnected", _NO_ANSWER))
        self._transport = self._wire = self._parser = None
        self._owner.lost(self)

    def _end_of_time(self) -> None:
        if self._has_head:
            self._finish(keep_alive=False)
        self._fail(TimeoutError())

    def _make_the_best_of_it(self) -> None:
        """What comes can't be read on: where a status has come, that is the answer."""
        if not self._has_head:
            # Behind the heads that were none of a final answer.
            head = self._raw.split(b"\r\n\r\n", self._informational)[-1]
            found = _STATUS_LINE.match(head)
            if found is None or self._informational > MAX_INFORMATIONAL:
                self._fail(Fault("protocol", "what came is no HTTP answer"))
                return
            self._has_head = True
            self._reply.status = int(found[1])
        self._complete = True
        self._finish(keep_alive=False)

    def _finish(self, *, keep_alive: bool = True) -> None:
        """Hands the answer over. One that acknowledges counts once the request has gone whole."""
        reply = self._reply
        self._keep_alive &= keep_alive
        if reply.acknowledged and not self._check_gone():
            if self._bytes > MAX_ANSWER_BYTES:
                self._fail(
                    Fault("protocol", "it answered on and on before it was asked to the end")
                )
            return
        reply.body = b"".join(self._body)[:MAX_BODY_BYTES]
        self._end(reply)
        if self._keep_alive and self._check_gone():
            self.rests_since = self._loop.time()
            self._owner.rest(self)
        else:
            self.abort()

    def _fail(self, why: Exception) -> None:
        self._end(why)
        self.abort()

    def _end(self, outcome: Reply | Exception) -> None:
        waiter, self._waiter = self._waiter, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiter is None or waiter.done():
            return
        if isinstance(outcome, Reply):
            waiter.set_result(outcome)
        else:
            waiter.set_exception(outcome)

    # The parser's side.

    def on_message_begin(self) -> None:
        # What follows a complete answer was not asked for.
        self._keep_alive = self._keep_alive and not self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + HEADER_OVERHEAD_BYTES
        if self._head_bytes > MAX_HEAD_BYTES:
            raise httptools.HttpParserError("the head is too long")
        if self._has_head or len(name) > MAX_NAME_BYTES:
            return
        match name.lower():
            case b"retry-after":
                self._reply.retry_after = self._reply.retry_after or _text(value)
            case b"date":
                self._reply.date = self._reply.date or _text(value)
            case b"location":
                self._reply.location = self._reply.location or _text(value)
            case _:
                pass

    def on_headers_complete(self) -> None:
        if self._has_head:
            return
        assert self._parser is not None
        status = self._parser.get_status_code()
        head = self._raw.split(b"\r\n\r\n", self._informational)[-1]
        if not head.lstrip(b"\r\n").startswith((b"HTTP/1.0 ", b"HTTP/1.1 ")):
            raise httptools.HttpParserError("it is not HTTP/1.0 or 1.1")
        if status < FIRST_STATUS:
            raise httptools.HttpParserError("there is no such status")
        if status < FIRST_FINAL_STATUS:
            return
        self._has_head, self._raw = True, b""
        self._reply.status = status
        self._keep_alive = (
            self._parser.get_http_version() == "1.1" and self._parser.should_keep_alive()
        )
        # Its body is of no interest but for the end of it, where another request may follow.
        self._complete = self._reply.acknowledged and not self._keep_alive

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if not self._complete and not self._reply.acknowledged:
            self._body.append(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._complete, self._keep_alive = True, False

    def on_message_complete(self) -> None:
        if self._has_head:
            self._complete = True
            return
        self._informational += 1
        self._reply = Reply()
        if self._informational > MAX_INFORMATIONAL:
            raise httptools.HttpParserError("too many informational answers")


def _text(value: bytes) -> str:
    return value[:MAX_VALUE_BYTES].decode("latin-1")
