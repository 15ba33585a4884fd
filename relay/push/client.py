"""Makes the requests. What can go wrong is an Answer, never an exception."""

import math
import os
import re
import socket
import time
from contextvars import ContextVar
from functools import lru_cache
from importlib.metadata import version

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from yarl import URL

from relay.push.answer import LONGEST_BODY_BYTES, Answer, printable
from relay.push.guard import Guard
from relay.push.resolver import ForbiddenAddressError, LookUp, Resolver

# Below the 5 s that the commonest servers keep an idle connection: a request that crosses with
# their closing of it is a failed attempt, since nobody knows whether it was taken.
KEEP_ALIVE_SECONDS = 4.0
# What was looked up is looked at again at every dialling; this only spares the servers of names.
DNS_CACHE_SECONDS = 10
READ_BUFFER_BYTES = 16_384

HEADERS = {
    "User-Agent": f"outbox-relay/{version('outbox-relay')}",
    "Accept-Encoding": "identity",
}


class Request(msgspec.Struct, frozen=True):
    """One POST. `timeout_seconds` covers all of it, from the look-up to the answer's last byte.

    Nothing of it is written at or after `send_before`, a moment of time.monotonic(), which is the
    loop's clock as well.
    """

    url: str
    headers: dict[str, str]
    body: bytes
    timeout_seconds: float
    send_before: float


class LeaseOverError(Exception):
    """The time to send was over before the first byte."""


class Client:
    """One pool of connections for all endpoints; made and used inside the event loop.

    It follows no redirect, keeps no cookie, knows no proxy and unpacks no answer. How many
    requests may be in flight is counted by its user.
    """

    def __init__(self, guard: Guard, look_up: LookUp = socket.getaddrinfo) -> None:
        self._guard = guard
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=Resolver(guard, look_up),
                ttl_dns_cache=DNS_CACHE_SECONDS,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                limit=0,
                socket_factory=self._socket,
            ),
            request_class=_LeasedRequest,
            headers=HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
        )

    async def post(self, request: Request) -> Answer:
        """Sends one request and waits for its answer; raises nothing but CancelledError."""
        begin = time.monotonic()
        _send_before.set(request.send_before)
        try:
            if begin >= request.send_before:
                raise LeaseOverError
            response = await self._session.post(
                _url(request.url),
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                timeout=_timeout(request.timeout_seconds),
            )
            acknowledged = 200 <= response.status < 300
            # Where the end has come, the connection is back in the pool already.
            if acknowledged and response.content.is_eof():
                body = b""
            else:
                body = await _beginning(response)
        except Exception as error:
            word, detail = _reason(error, request)
            seconds = time.monotonic() - begin
            return Answer(None, word, printable(detail), b"", None, None, seconds)
        seconds = time.monotonic() - begin
        if acknowledged:
            return Answer(response.status, None, "", b"", None, None, seconds)
        return _failed(response, body, seconds)

    async def close(self) -> None:
        """Closes every connection; requests that are under way fail."""
        await self._session.close()

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        # The one place that every dialling passes: names, numbers in the URL, cached addresses.
        family, kind, protocol, _, where = address
        if not self._guard.allows(where[0]):
            raise ForbiddenAddressError(where[0])
        return socket.socket(family, kind, protocol)


_send_before: ContextVar[float] = ContextVar("send_before")


class _LeasedRequest(aiohttp.ClientRequest):
    """Looks at the clock when a connection is there and the first byte is about to be written."""

    async def write_bytes(
        self,
        writer: AbstractStreamWriter,
        conn: Connection,
        content_length: int | None = None,
    ) -> None:
        # Up to here the head is only buffered, and goes out with the body.
        if time.monotonic() < _send_before.get():
            await super().write_bytes(writer, conn, content_length)
        elif conn.protocol is not None:
            conn.protocol.set_exception(LeaseOverError())


_PLAIN = re.compile(r"[!-~]+")


@lru_cache(maxsize=10_000)
def _url(text: str) -> URL:
    """Raises InvalidURL where it is none to send to."""
    try:
        # As it was given, where it can stand in a request: a token in it may be signed as spelled.
        url = URL(text, encoded=bool(_PLAIN.fullmatch(text)))
        if url.scheme not in ("http", "https") or not url.raw_host or not url.port:
            raise aiohttp.InvalidURL(text)
        # Numbers are an address in many spellings (decimal, octal, hexadecimal, shortened): one is
        # meant, and judged.
        address = socket.inet_ntoa(socket.inet_aton(url.raw_host.rstrip(".")))
    except ValueError as error:
        raise aiohttp.InvalidURL(text) from error
    except OSError:
        return url
    return url.with_host(address)


@lru_cache(maxsize=1000)
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    # Not rounded up to whole seconds, as it would be from the threshold on: a lease counts on it.
    return aiohttp.ClientTimeout(total=seconds, ceil_threshold=math.inf)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """At most 16 KiB of the body. Where that is not all of it, the connection is closed."""
    content = response.content
    body = bytearray()
    try:
        while len(body) < LONGEST_BODY_BYTES:
            part = await content.read(LONGEST_BODY_BYTES - len(body))
            if not part:
                break
            body += part
    except (TimeoutError, aiohttp.ClientError, OSError):
        # The head has come, and with it the receiver's word: a body that breaks off changes none.
        pass
    finally:
        if not content.is_eof():
            response.close()
    return bytes(body)


def _failed(response: aiohttp.ClientResponse, body: bytes, seconds: float) -> Answer:
    status, headers = response.status, response.headers
    if 300 <= status < 400:
        word = "redirect"
        # Without its query, which may hold a secret.
        target = re.split(r"[?#]", headers.get("Location", ""))[0]
        detail = f"answered {status} to {target or 'nowhere'}, and redirects are never followed"
    else:
        word = f"http_{status}"
        detail = f"answered {status} {response.reason or ''}".rstrip()
    retry_after, date = headers.get("Retry-After"), headers.get("Date")
    return Answer(status, word, printable(detail), body, retry_after, date, seconds)


def _reason(error: Exception, request: Request) -> tuple[str, str]:
    """The word and the sentence of an Answer. The URL stays out: it may hold a secret."""
    match error:
        case LeaseOverError():
            return "lease_over", "the time to send was over before it was sent"
        case aiohttp.ClientConnectorError(os_error=ForbiddenAddressError() as forbidden):
            return "forbidden_address", str(forbidden.strerror or forbidden)
        case aiohttp.ClientConnectorDNSError():
            return "dns", f"{error.host}: {error.strerror or 'no such name'}"
        case aiohttp.ClientSSLError():
            return "tls", f"{error.host}:{error.port}: {error.os_error}"
        case aiohttp.ClientConnectorError():
            return "connect", f"{error.host}:{error.port}: {error.strerror or error.os_error}"
        case TimeoutError():
            return "timeout", f"no answer within {request.timeout_seconds:g} s"
        case aiohttp.ClientResponseError():
            return "protocol", f"no HTTP answer: {error.message}"
        case aiohttp.ClientPayloadError():
            return "protocol", f"no HTTP answer: {error}"
        case aiohttp.InvalidURL():
            return "url", "the endpoint is no http:// or https:// URL to send to: correct it"
        case aiohttp.ServerDisconnectedError():
            return "disconnected", "the connection was closed before an answer came"
        case aiohttp.ClientOSError():
            # Its own text names the URL.
            why = os.strerror(error.errno) if error.errno else "before an answer came"
            return "disconnected", f"the connection broke: {why}"
        case aiohttp.ClientConnectionError():
            return "disconnected", "the connection broke before an answer came"
        case _:
            return "fault", f"the request could not be made: {type(error).__name__}"
