"""One connection to an endpoint: a request goes out whole, its answer comes in within bounds."""

import asyncio
import os
import re
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from relay.push.http.answer import MAX_BODY_BYTES, Answer, unanswered
from relay.push.http.deadlines import Deadlines, Timed
from relay.push.http.decrypted import BUFFER_BYTES
from relay.push.http.fault import Fault
from relay.push.http.reply import KEPT_LENGTHS, Header, acknowledged, failed

# Of an answer. What goes beyond ends the connection.
MAX_HEAD_BYTES = 32_768
# Of TLS before the first request, most of it certificates: those of a web server have 3 to 8 KiB
# together, and post-quantum ones 16. To parse one takes the loop 0.1 ms, however short it is.
MAX_HANDSHAKE_BYTES = 24_576
# And of TLS that is no data, for each answer. Where an answer is longer than most are with it, TLS
# gets it in turns: what has come may be key updates, each of which takes the loop 9 µs.
MAX_EMPTY_BYTES = 16_384
ORDINARY_BYTES = 1024
MAX_INFORMATIONAL = 5
# What a header or trailer costs besides its name and value: as much as so many bytes.
HEADER_OVERHEAD_BYTES = 64
# Of an answer: how often something of it comes, and the chunks of its body.
MAX_PIECES = 512
FIRST_STATUS, FIRST_FINAL_STATUS = 100, 200
# Framing, trailers and what else is no body may be so much together.
MAX_ANSWER_BYTES = MAX_HEAD_BYTES + 2 * MAX_BODY_BYTES
# What is no longer goes out together with its head: one copy costs less than a second buffer, or a
# second record of TLS.
MAX_JOINED_BODY_BYTES = 16_384

# Endpoints give the same answer again and again, but for its date's seconds.
MAX_KNOWN_BYTES = 1024

_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2})(?: [^\r\n]*)?\r?\n")

_NO_ANSWER = "the connection was closed before an answer came"

# Is called once, on the loop.
Answered = Callable[[Answer], None]


class Owner(Protocol):
    """The pool, which keeps connections between requests."""

    deadlines: Deadlines

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
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._wire: socket.socket | None = None
        # Tells whether there is something to read.
        self._poll = select.poll()
        # There while a request is under way.
        self._answered: Answered | None = None
        self._due: set[Timed] = set()
        self._asked_at = 0.0
        self._timeout_seconds = 0.0
        # There while it is connected: the two hold each other.
        self._parser: httptools.HttpResponseParser | None = None
        # The TCP transport below TLS, where there is one.
        self._carrier: asyncio.Transport | None = None
        # The last answer that came in one piece, acknowledged, and left it open.
        self._known, self._known_status = b"", 0
        # Something came that was not asked for.
        self._spoke = False
        # Of what has come, TLS has not got all.
        self.waits = False
        # It was closed while a request was under way, before anything of an answer came.
        self.broke_off = False
        self.opened_at = time.monotonic()
        self.rests_since = 0.0
        self.requests = 0
        self._begin()

    def _begin(self) -> None:
        self._status = 0
        self._kept: list[Header] = []
        self._body: list[bytes] = []
        self._raw = b""
        self._bytes = 0
        self._record_bytes = 0
        # What came last of TLS had to wait for its turn.
        self._by_turns = False
        self._pieces = 0
        self._head_bytes = 0
        self._body_bytes = 0
        self._informational = 0
        self._has_head = False
        self._complete = False
        self._keep_alive = False
        self._gone = False
        # TLS may hold more of what has come than it has handed over.
        self._more_may_come = False

    # Its owner's side.

    def opened(self, wire: socket.socket) -> None:
        """It is connected by this socket, which is looked at before each request."""
        self._wire = wire
        self._poll.register(wire, select.POLLIN)

    def carried(self, carrier: asyncio.Transport) -> None:
        """Its TLS goes by this TCP transport; the handshake begins."""
        self._carrier = carrier

    def count_records(self, size: int) -> bool:
        """So many bytes of TLS have come in, and what they hold of data is yet to be received.

        Whether they may cost much: of a handshake, or more than most answers have.
        """
        self._record_bytes += size
        if self._transport is None:
            # A handshake holds no data.
            self.check_records()
            return True
        self._by_turns = self._record_bytes - self._bytes > ORDINARY_BYTES
        return self._by_turns

    def check_records(self) -> None:
        """What has come in and is no data is bounded; beyond that it is closed."""
        if self.are_records_bounded:
            return
        if self._answered is None:
            self._spoke = True
        elif self._has_head:
            self._finish(keep_alive=False)
        self._fail("protocol", "it sent TLS records without data, on and on")
        assert self._carrier is not None
        self._carrier.abort()

    @property
    def are_records_bounded(self) -> bool:
        """Whether TLS is no longer than it may be, besides the data."""
        longest = MAX_EMPTY_BYTES if self.requests else MAX_HANDSHAKE_BYTES
        return self._record_bytes - self._bytes <= longest

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
        if self.waits:
            self._spoke = True
            return False
        if not self._poll.poll(0):
            return True
        try:
            self._wire.recv(1, socket.MSG_PEEK)
        except OSError:
            return False
        self._spoke = True
        return False

    def why_closed(self) -> Fault:
        """Why it takes no request though it was just opened."""
        if self._spoke:
            return Fault("protocol", "it spoke before anything was asked")
        return Fault("disconnected", _NO_ANSWER)

    def ask(
        self,
        head: bytes,
        body: bytes,
        asked_at: float,
        timeout_seconds: float,
        answered: Answered,
    ) -> None:
        """Writes one request, on a connection that was just seen to be open.

        `answered` is called later, with its answer; once `timeout_seconds` since `asked_at`, of
        time.monotonic(), are over, with what there is.
        """
        assert self._transport is not None
        self._begin()
        self.requests += 1
        self._answered = answered
        self._asked_at = asked_at
        self._timeout_seconds = timeout_seconds
        self._due = self._owner.deadlines.add(self, asked_at + timeout_seconds)
        if len(body) <= MAX_JOINED_BODY_BYTES:
            self._transport.write(head + body)
        else:
            # Not put together: the body may be large, and waits here until it has been answered.
            self._transport.writelines((head, body))
        self._check_gone()

    def forget(self) -> None:
        """Closes it at once; a request that is under way gets no answer."""
        self._answered = None
        self._due.discard(self)
        self.abort()

    def abort(self) -> None:
        """Closes it at once; an answer that is under way is lost."""
        if self._transport is not None:
            self._transport.abort()

    def end_of_time(self) -> None:
        """The time of the request that is under way is over."""
        if self._has_head:
            self._finish(keep_alive=False)
        self._fail("timeout", f"no answer within {self._timeout_seconds:g} s")

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
        if self._check_gone() and self._complete and self._answered is not None:
            self._finish()

    def _check_gone(self) -> bool:
        """Whether the whole request has gone to the socket, below TLS too.

        Remembered: a transport that closes has thrown away what was left, and says that it has
        nothing.
        """
        transport, carrier = self._transport, self._carrier
        if self._gone or transport is None or transport.is_closing():
            return self._gone
        if carrier is not None and (carrier.is_closing() or carrier.get_write_buffer_size()):
            return False
        self._gone = not transport.get_write_buffer_size()
        return self._gone

    def data_received(self, data: bytes) -> None:
        if self._answered is None:
            self._spoke = True
            self.abort()
            return
        if not self._gone:
            self._check_gone()
        # TLS hands over the rest after this, which would be the answer to the next request.
        self._more_may_come = self._carrier is not None and len(data) >= BUFFER_BYTES
        assert self._parser is not None
        if data == self._known and not self._bytes:
            # The parser stands where it stood then: it would say the same.
            self._bytes = len(data)
            self._status = self._known_status
            self._has_head = self._complete = self._keep_alive = True
            self._finish()
            return
        self._bytes += len(data)
        self._pieces += 1
        if not self._has_head:
            self._raw = self._raw + data if self._raw else data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("protocol", "it would switch protocols")
            return
        except httptools.HttpParserError:
            self._make_the_best_of_it()
            return
        if self._complete:
            if self._keep_alive and self._bytes == len(data) <= MAX_KNOWN_BYTES:
                self._know(data)
            self._finish()
        elif not self._is_bounded:
            self._make_the_best_of_it()

    @property
    def _is_bounded(self) -> bool:
        longest = MAX_ANSWER_BYTES if self._has_head else MAX_HEAD_BYTES
        return self._bytes <= longest and self._pieces <= MAX_PIECES

    def _know(self, answer: bytes) -> None:
        if self._is_acknowledged:
            self._known, self._known_status = answer, self._status

    def connection_lost(self, exc: Exception | None) -> None:
        asked = self._answered is not None
        self.broke_off = asked and not self._bytes
        if asked and self._has_head:
            # Where the answer says nothing of its length, this is its end. Of a request that had
            # not gone whole by then it says nothing.
            self._finish(keep_alive=False)
        if isinstance(exc, OSError) and exc.errno:
            self._fail("disconnected", f"the connection broke: {os.strerror(exc.errno)}")
        else:
            self._fail("disconnected", _NO_ANSWER)
        self._transport = self._wire = self._parser = None
        self._owner.lost(self)

    def _make_the_best_of_it(self) -> None:
        """What comes can't be read on: where a status has come, that is the answer."""
        if not self._has_head:
            found = _STATUS_LINE.match(self._final_head())
            if found is None or self._informational > MAX_INFORMATIONAL:
                self._fail("protocol", "what came is no HTTP answer")
                return
            self._has_head = True
            self._status = int(found[1])
        self._complete = True
        self._finish(keep_alive=False)

    def _final_head(self) -> bytes:
        """Behind the heads that were none of a final answer."""
        if not self._informational:
            return self._raw
        return self._raw.split(b"\r\n\r\n", self._informational)[-1]

    @property
    def _is_acknowledged(self) -> bool:
        return 200 <= self._status < 300

    def _finish(self, *, keep_alive: bool = True) -> None:
        """Hands the answer over. One that acknowledges counts once the request has gone whole."""
        now = time.monotonic()
        seconds = now - self._asked_at
        if self._is_acknowledged:
            if not self._gone and not self._check_gone():
                self._keep_alive &= keep_alive
                if not self._is_bounded:
                    why = "it answered on and on before it was asked to the end"
                    self._fail("protocol", why)
                return
            answer = acknowledged(self._status, seconds)
        else:
            answer = failed(self._status, self._kept, self._body, seconds)
        answered = self._end()
        keep_alive = keep_alive and self._keep_alive and not (self._more_may_come or self.waits)
        keep_alive = keep_alive and (self._gone or self._check_gone())
        if keep_alive and (self._carrier is None or self.are_records_bounded):
            # Before the answer counts: it may bring the next request.
            self.rests_since = now
            self._owner.rest(self)
        else:
            self.abort()
        self._tell(answered, answer)

    def _fail(self, word: str, detail: str) -> None:
        answered = self._end()
        self.abort()
        self._tell(answered, unanswered(word, detail, time.monotonic() - self._asked_at))

    def _tell(self, answered: Answered | None, answer: Answer) -> None:
        if answered is None:
            return
        if self._by_turns:
            # What its user does now, which may be other endpoints' requests, is not of this turn.
            asyncio.get_running_loop().call_soon(answered, answer)
        else:
            answered(answer)

    def _end(self) -> Answered | None:
        """Whom to tell of it, where a request was under way: it is no more."""
        answered, self._answered = self._answered, None
        self._due.discard(self)
        return answered

    # The parser's side.

    def on_message_begin(self) -> None:
        if self._complete:
            # What follows was not asked for, and may be thousands of answers more.
            raise httptools.HttpParserError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + HEADER_OVERHEAD_BYTES
        if self._head_bytes > MAX_HEAD_BYTES:
            raise httptools.HttpParserError("the head is too long")
        if len(name) in KEPT_LENGTHS and not self._has_head:
            self._kept.append((name, value))

    def on_headers_complete(self) -> None:
        if self._has_head:
            return
        assert self._parser is not None
        status = self._parser.get_status_code()
        head = self._final_head()
        if not head.startswith(_VERSIONS):
            head = head.lstrip(b"\r\n")
            if not head.startswith(_VERSIONS):
                raise httptools.HttpParserError("it is not HTTP/1.0 or 1.1")
        if status < FIRST_STATUS:
            raise httptools.HttpParserError("there is no such status")
        if status < FIRST_FINAL_STATUS:
            return
        self._has_head, self._raw = True, b""
        self._status = status
        self._keep_alive = head.startswith(_VERSIONS[0]) and self._parser.should_keep_alive()
        # Its body is of no interest but for the end of it, where another request may follow.
        self._complete = not self._keep_alive and self._is_acknowledged

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if not self._complete and not self._is_acknowledged:
            self._body.append(body)
        self._pieces += 1
        if self._body_bytes > MAX_BODY_BYTES or self._pieces > MAX_PIECES:
            raise httptools.HttpParserError("the body is too long")

    def on_message_complete(self) -> None:
        if self._has_head:
            self._complete = True
            return
        self._informational += 1
        self._kept = []
        if self._informational > MAX_INFORMATIONAL:
            raise httptools.HttpParserError("too many informational answers")
