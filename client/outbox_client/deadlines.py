"""One deadline for all of an attempt: httpx2's timeouts are for each read and each write.

A server that sends a byte now and then could else keep a thread or a task for ever.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2


class _Allowed:
    """What an attempt may take, from when it has a connection or begins to make one."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        # By the monotonic clock.
        self._ends_at: float | None = None

    def left(self, timeout: float | None, over: type[Exception]) -> float | None:
        """Of a timeout what there is time for. Raises `over` where there is none."""
        if self._seconds is None:
            return timeout
        if self._ends_at is None:
            self._ends_at = time.monotonic() + self._seconds
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise over("the time for this attempt is over")
        return left if timeout is None else min(left, timeout)


# Of the attempt that this thread is at.
_allowed: ContextVar[_Allowed] = ContextVar("allowed")
# A write goes on as long as some of it is taken now and then; so each is a short one.
PIECE_BYTES = 65_536


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """What is read and written in here ends after so long; None: whenever it does.

    A wait for one of the connections that there may be does not count.
    """
    token = _allowed.set(_Allowed(seconds))
    try:
        yield
    finally:
        _allowed.reset(token)


@asynccontextmanager
async def within_for_task(request: httpx2.Request, seconds: float | None) -> AsyncIterator[None]:
    """The same for this request of a task, in which it is sent and its answer read.

    httpx2 tells each step from when it has a connection or begins to make one. Raises ReadTimeout,
    or ConnectTimeout where the request was not begun.
    https://www.python-httpx.org/advanced/extensions/#trace
    """
    deadline = asyncio.timeout(None)
    begun = False
    connected: httpcore2.AsyncNetworkStream | None = None

    async def note(step: str, info: dict[str, Any]) -> None:
        nonlocal begun, connected
        if step == "connection.connect_tcp.complete":
            connected = info["return_value"]
        begun = begun or step.endswith("send_request_headers.started")
        if seconds is not None and deadline.when() is None:
            deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    request.extensions["trace"] = note
    try:
        async with deadline:
            yield
    except BaseException as error:
        # httpx2 leaves it open where a handshake is cancelled.
        if connected is not None:
            await connected.aclose()
        if not isinstance(error, TimeoutError):
            raise
        over = httpx2.ReadTimeout if begun else httpx2.ConnectTimeout
        raise over("the time for this attempt is over") from error


def keep(http: httpx2.Client) -> None:
    """Has all connections of this client end their reads and writes where `within` says."""
    for transport in (http._transport, *http._mounts.values()):
        if isinstance(transport, httpx2.HTTPTransport):
            transport._pool._network_backend = _Backend(transport._pool._network_backend)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _allowed.get().left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), PIECE_BYTES):
            left = _allowed.get().left(timeout, httpcore2.WriteTimeout)
            self._stream.write(buffer[at : at + PIECE_BYTES], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = _allowed.get().left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, backend: httpcore2.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        left = _allowed.get().left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._backend.connect_tcp(host, port, left, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)
