"""A small HTTP server for a few GETs, in a thread of its own; no client blocks it for others."""

import asyncio
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import structlog

logger = structlog.get_logger()

MAX_HEAD_BYTES = 32_768
MAX_HEADERS = 100
MAX_CONNECTIONS = 100
# For so many turns of the loop a connection keeps its place while others come; the fourth reads it.
TURNS_TO_BE_READ = 10
MAX_UNACCEPTED = 1024
# How long a client has for its request's head, and again for taking the answer.
TIMEOUT_SECONDS = 10.0
# Answers that are being made at once, each in a thread; clients that ask for the same share one.
MAX_THREADS = 4
# The one other form in which metrics are asked for.
OPEN_METRICS = "application/openmetrics-text"


@dataclass(frozen=True)
class Request:
    """A GET; what else its client sent makes no difference, so that those who ask alike share."""

    path: str
    open_metrics: bool


@dataclass(frozen=True)
class Answer:
    """`content_type` None: there is no more to say than the status."""

    status: int
    content_type: str | None = None
    body: bytes = b""

    def encode(self, *, with_body: bool = True) -> bytes:
        """As it goes over the wire; the connection ends after it."""
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Length: {len(self.body)}",
            "Connection: close",
        ]
        if self.content_type is not None:
            lines.append(f"Content-Type: {self.content_type}")
        head = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
        return head + self.body if with_body else head


class Refused(Exception):
    """A head that is none, or too much of one: `status` says which."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class HttpServer:
    """Answers one request a connection until it is closed.

    `at_once` answers what takes no time, or says None; `answer` may block. The standard library's
    server in threads spends a thread on each client that sends half a request, and has no bound on
    how long that takes. This one waits in one thread for all of them: a head has 32 KB, 100 headers
    and 10 s, an answer is taken within 10 s, and where more connect than there may be, the one that
    has let it wait for longest is closed for the newest; one whose answer is being made only where
    there are no others. `ended` is told why a connection was ended before its time.
    """

    def __init__(
        self,
        listener: socket.socket,
        at_once: Callable[[Request], Answer | None],
        answer: Callable[[Request], Answer],
        ended: Callable[[str], None],
        *,
        max_connections: int = MAX_CONNECTIONS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._listener = listener
        self._at_once = at_once
        self._answer = answer
        self._ended = ended
        self._max_connections = max_connections
        self._timeout_seconds = timeout_seconds
        # Connections in the order in which they began to wait for their client, or to be answered.
        self._waiting: OrderedDict[asyncio.StreamWriter, None] = OrderedDict()
        self._asking: OrderedDict[asyncio.StreamWriter, None] = OrderedDict()
        self._answers: dict[Request, asyncio.Future[Answer]] = {}
        self._threads = asyncio.Semaphore(MAX_THREADS)
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="http-server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops answering and lets go of the port."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        # The loop accepts `backlog` connections in a turn. Were those as many as there are places,
        # each would lose its own to the next turn's before a byte of it was read.
        server = await asyncio.start_server(
            self._serve,
            sock=self._listener,
            limit=MAX_HEAD_BYTES,
            backlog=max(1, self._max_connections // TURNS_TO_BE_READ),
        )
        # How many wait in the kernel meanwhile is another number.
        self._listener.listen(MAX_UNACCEPTED)
        await self._stop.wait()
        # Clients that are still connected are cut off by the end of the runner.
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._waiting) + len(self._asking) >= self._max_connections:
            longest, _ = (self._waiting or self._asking).popitem(last=False)
            self._ended("too_many_connections")
            longest.transport.abort()
        self._waiting[writer] = None
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client is gone, or was closed for another one.
        finally:
            self._waiting.pop(writer, None)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = "GET"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                method, request = _parse(await reader.readuntil(b"\r\n\r\n"))
            answer = self._at_once(request) or await self._made(request, writer)
        except asyncio.LimitOverrunError:
            answer = self._refusal(431)
        except TimeoutError:
            answer = self._refusal(408)
        except Refused as refused:
            answer = self._refusal(refused.status)
        writer.write(answer.encode(with_body=method != "HEAD"))
        writer.write_eof()
        # Closing on unread bytes would reset the connection, and the answer with it (RFC 9112,
        # 9.6): what still comes is dropped, until the client closes as well.
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while await reader.read(MAX_HEAD_BYTES):
                    pass
        except TimeoutError:
            self._ended("not_closed")

    def _refusal(self, status: int) -> Answer:
        self._ended(f"answered_{status}")
        return Answer(status)

    async def _made(self, request: Request, writer: asyncio.StreamWriter) -> Answer:
        """The answer; meanwhile this client counts as one that has asked."""
        self._waiting.pop(writer, None)
        self._asking[writer] = None
        try:
            return await self._shared(request)
        finally:
            if writer in self._asking:
                del self._asking[writer]
                self._waiting[writer] = None

    async def _shared(self, request: Request) -> Answer:
        """The answer, made in a thread for all that ask for it meanwhile."""
        if (future := self._answers.get(request)) is None:
            async with self._threads:
                if (future := self._answers.get(request)) is None:
                    future = self._answers[request] = self._loop.create_future()
                    try:
                        self._start(request, future)
                        await asyncio.wait([future])
                    finally:
                        # Whatever becomes of this one, the next that asks gets another.
                        self._answers.pop(request, None)
        return await asyncio.shield(future)

    def _start(self, request: Request, future: "asyncio.Future[Answer]") -> None:
        try:
            threading.Thread(target=self._make, args=(request, future), daemon=True).start()
        except RuntimeError:
            logger.exception("status_request_failed", path=request.path)
            _settle(future, Answer(503))

    def _make(self, request: Request, future: "asyncio.Future[Answer]") -> None:
        try:
            answer = self._answer(request)
        except Exception:
            logger.exception("status_request_failed", path=request.path)
            answer = Answer(500)
        # RuntimeError: the server was closed meanwhile.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle, future, answer)


def _settle(future: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _parse(head: bytes) -> tuple[str, Request]:
    """The method, GET or HEAD, and the request. Raises Refused."""
    line, *fields = head.decode("latin-1").split("\r\n")[:-2]
    if len(fields) > MAX_HEADERS:
        raise Refused(431)
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    if not (target and version.startswith("HTTP/1.")):
        raise Refused(400)
    if method not in ("GET", "HEAD"):
        raise Refused(405)
    headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    return method, Request(target.partition("?")[0], OPEN_METRICS in headers.get("accept", ""))
