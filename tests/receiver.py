"""A real HTTP server on 127.0.0.1 that misbehaves as it is told, in a thread of its own.

with Receiver() as receiver:                        # 200 to everything
    receiver.react = hang                           # from now on, for every path
    receiver.paths["/a"] = respond(503, b"later")   # for one path
    receiver.react = lambda request: cut if request.header("webhook-id") == "7" else OK
"""

import asyncio
import gzip
import inspect
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self, cast

import uvloop


@dataclass
class Received:
    """One request as it came; `at` is time.monotonic() and `connection` counts from 1."""

    path: str
    head: bytes
    body: bytes
    at: float
    connection: int

    @cached_property
    def headers(self) -> dict[str, str]:
        """By lower-case name."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        return {name.lower(): value.strip() for name, _, value in pairs}

    def header(self, name: str) -> str:
        """One that must be there. Raises KeyError."""
        return self.headers[name]


# Bytes are written as they are; a function has the connection to itself until it returns.
Reaction = bytes | Callable[["Connection"], Awaitable[None]]
Script = Reaction | Callable[[Received], Reaction]


def respond(
    status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """A whole answer; the connection stays open."""
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


OK = respond()


def redirect(location: str, status: int = 302) -> bytes:
    """To a path that no client should follow."""
    return respond(status, headers={"Location": location})


def gzip_bomb(status: int = 503, megabytes: int = 10) -> bytes:
    """An answer of a few kilobytes that unpacks to megabytes."""
    body = gzip.compress(bytes(megabytes * 1_000_000), compresslevel=1)
    return respond(status, body, {"Content-Encoding": "gzip"})


def after(seconds: float, reaction: Reaction = OK) -> Reaction:
    """The same, later."""

    async def react(connection: "Connection") -> None:
        await asyncio.sleep(seconds)
        await connection.perform(reaction)

    return react


def then_close(answer: bytes = OK) -> Reaction:
    """An answer, and the end of its connection without a word of it in the head."""

    async def react(connection: "Connection") -> None:
        connection.write(answer)
        connection.close()

    return react


async def cut(connection: "Connection") -> None:
    """No answer: the connection is closed."""
    connection.close()


async def reset(connection: "Connection") -> None:
    """No answer: the connection is reset."""
    connection.transport.abort()


async def hang(connection: "Connection") -> None:
    """No answer, and an open connection."""
    await connection.closed.wait()


def drip(
    status: int = 503, seconds: float = 1.0, *, head: bool = False, length: int = 1_000_000
) -> Reaction:
    """One byte per `seconds`: of the body, or with `head` from the status line on."""
    answer = respond(status, b"." * length)
    begin = 0 if head else answer.index(b"\r\n\r\n") + 4

    async def react(connection: "Connection") -> None:
        connection.write(answer[:begin])
        for place in range(begin, len(answer)):
            connection.write(answer[place : place + 1])
            if await connection.closed_within(seconds):
                return

    return react


def endless_body(status: int = 503) -> Reaction:
    """A body in chunks that never ends, as fast as it is taken."""
    head = f"HTTP/1.1 {status} Scripted\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return endless(head, b"10000\r\n" + b"." * 65536 + b"\r\n")


def endless_headers(status: int = 503) -> Reaction:
    """A head that never ends."""
    return endless(f"HTTP/1.1 {status} Scripted\r\n".encode(), b"X-More: and more\r\n" * 1000)


def endless(first: bytes, again: bytes) -> Reaction:
    """Something, and then one thing for ever."""

    async def react(connection: "Connection") -> None:
        connection.write(first)
        while not connection.closed.is_set():
            connection.write(again)
            await connection.drained()

    return react


class Connection(asyncio.Protocol):
    """One connection of a receiver. Requests on it are read one after the other."""

    transport: asyncio.Transport

    def __init__(self, receiver: "Receiver") -> None:
        self._receiver = receiver
        self._buffer = b""
        self._reacting: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._receiver.connections += 1
        self._receiver.open.add(self)
        self._number = self._receiver.connections

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.open.discard(self)
        self.closed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._reacting is None:
            self._take()

    def _take(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        length = int(_after(head.lower(), b"\r\ncontent-length:") or b"0")
        if len(self._buffer) < end + 4 + length:
            return
        body = self._buffer[end + 4 : end + 4 + length]
        self._buffer = self._buffer[end + 4 + length :]
        path = head.split(b" ", 2)[1].decode("latin-1")
        request = Received(path, head, body, time.monotonic(), self._number)
        reaction = self._receiver.reaction(request)
        if isinstance(reaction, bytes):
            self.transport.write(reaction)
        else:
            self._reacting = asyncio.get_running_loop().create_task(self._react(reaction))

    async def _react(self, reaction: Reaction) -> None:
        await self.perform(reaction)
        self._reacting = None
        self._take()

    async def perform(self, reaction: Reaction) -> None:
        """Writes bytes, or leaves it to the function."""
        if isinstance(reaction, bytes):
            self.write(reaction)
        else:
            await reaction(self)

    def write(self, data: bytes) -> None:
        """Writes, where the client is still connected."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Closes when all is written."""
        self.transport.close()

    async def drained(self) -> None:
        """Until the other side has taken what was written, or has gone."""
        await asyncio.sleep(0)
        await self._writable.wait()

    async def closed_within(self, seconds: float) -> bool:
        """Whether the other side went away in this time."""
        try:
            await asyncio.wait_for(self.closed.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _after(head: bytes, name: bytes) -> bytes | None:
    _, found, rest = head.partition(name)
    return rest.partition(b"\r\n")[0] if found else None


class Receiver:
    """Serves while it is entered.

    `requests` is in the order in which they were whole; `connections` counts all that ever were.
    """

    def __init__(self, react: Script = OK) -> None:
        self.react = react
        self.paths: dict[str, Script] = {}
        self.requests: list[Received] = []
        self.connections = 0
        self.open: set[Connection] = set()
        self.port = 0
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="receiver", daemon=True)

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"

    def received(self, path: str) -> list[Received]:
        """The requests for one path."""
        return [request for request in list(self.requests) if request.path == path]

    def counts(self) -> Counter[str]:
        """How many requests each path had."""
        return Counter(request.path for request in list(self.requests))

    def wait(self, count: int, timeout_seconds: float = 10.0) -> list[Received]:
        """The requests, once there are so many. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while len(self.requests) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.requests)} of {count} requests came")
            time.sleep(0.002)
        return list(self.requests)

    def reaction(self, request: Received) -> Reaction:
        """Notes a request and says what to do about it."""
        self.requests.append(request)
        script = self.paths.get(request.path, self.react)
        if isinstance(script, bytes) or inspect.iscoroutinefunction(script):
            return cast(Reaction, script)
        return cast(Callable[[Received], Reaction], script)(request)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(10):
            raise TimeoutError("the receiver did not start within 10 s")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: Connection(self), "127.0.0.1", self.port)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for connection in self.open.copy():
            connection.transport.abort()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()
