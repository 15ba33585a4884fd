"""What sends requests: one transport for threads, one for asyncio.

What answers is not trusted: an answer ends at a deadline and at a bound, none is unpacked, and no
redirect is followed, so that the key goes to no other host. Cookies are neither kept nor sent.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version
from typing import Any, TypedDict, TypeVar

import httpx2
from tenacity import AsyncRetrying, Retrying

from outbox_client import deadlines
from outbox_client.problems import Unanswered, Unreadable, problem
from outbox_client.request import Request
from outbox_client.retries import Earlier, Policy, policy

CONNECT_SECONDS = 5.0
# Nothing of the request has left then. A proxy's error comes before it leads anywhere.
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
NOT_FOUND = 404
# No answer of the API is as large, but for what a hostile server says in its place.
MAX_ANSWER_BYTES = 67_108_864

Answer = TypeVar("Answer")


class Transport:
    """Sends requests one by one; threads may share it."""

    def __init__(self, url: str, key: str, timeout_seconds: float, retry_seconds: float) -> None:
        self._http = httpx2.Client(**_options(url, key, timeout_seconds))
        deadlines.keep(self._http)
        self._retry_seconds = retry_seconds

    def send(self, request: Request[Answer]) -> Answer:
        """The answer, after as many attempts as it takes. Raises OutboxError.

        A deletion that finds nothing is done where an earlier attempt may have done it.
        """
        earlier = Earlier()
        for attempt in Retrying(**_policy(request, self._retry_seconds, earlier)):
            with attempt, _translated(request):
                content = _Content()
                built, seconds = _built(self._http, request)
                with deadlines.within(seconds):
                    response = self._http.send(built, stream=True)
                    try:
                        for piece in response.iter_raw():
                            content.add(piece)
                    finally:
                        response.close()
                return _read(request, response, content, earlier)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()


class AsyncTransport:
    """Sends many requests at once, in one event loop."""

    def __init__(self, url: str, key: str, timeout_seconds: float, retry_seconds: float) -> None:
        self._http = httpx2.AsyncClient(**_options(url, key, timeout_seconds))
        self._retry_seconds = retry_seconds

    async def send(self, request: Request[Answer]) -> Answer:
        """The answer, after as many attempts as it takes. Raises OutboxError.

        A deletion that finds nothing is done where an earlier attempt may have done it.
        """
        earlier = Earlier()
        async for attempt in AsyncRetrying(**_policy(request, self._retry_seconds, earlier)):
            with attempt, _translated(request):
                content = _Content()
                built, seconds = _built(self._http, request)
                async with deadlines.within_for_task(built, seconds):
                    response = await self._http.send(built, stream=True)
                    try:
                        async for piece in response.aiter_raw():
                            content.add(piece)
                    finally:
                        await response.aclose()
                return _read(request, response, content, earlier)
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()


class _TooLarge(Exception):
    """It is no answer of the API."""


class _Content:
    """Of an answer, as it comes."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def add(self, piece: bytes) -> None:
        """Raises _TooLarge."""
        self._kept += piece
        if len(self._kept) > MAX_ANSWER_BYTES:
            raise _TooLarge

    def of(self, response: httpx2.Response) -> bytes:
        """None of it where it is packed, which nobody has asked for."""
        packed = response.headers.get("content-encoding", "identity").lower() != "identity"
        return b"" if packed else bytes(self._kept)


class _Options(TypedDict):
    base_url: str
    headers: dict[str, str]
    cookies: CookieJar
    timeout: httpx2.Timeout


def _options(url: str, key: str, timeout_seconds: float) -> _Options:
    """What both of httpx2's clients take. Raises ValueError for a URL or a key that is none."""
    if httpx2.URL(url).scheme not in ("http", "https"):
        raise ValueError(f"url must begin with http:// or https://, and is {url!r}")
    if not re.fullmatch("[!-~]+", key):
        raise ValueError("key must be what `outbox-service keys create` printed, and nothing else")
    return _Options(
        base_url=url,
        headers={
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {key}",
            "User-Agent": f"outbox-client/{version('outbox-client')}",
        },
        # The key says who asks; a jar would grow with whatever an answer sets.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx2.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
    )


def _policy(request: Request[Any], retry_seconds: float, earlier: Earlier) -> Policy:
    return policy(earlier, repeatable=request.repeatable, retry_seconds=retry_seconds)


def _built(
    http: httpx2.Client | httpx2.AsyncClient, request: Request[Any]
) -> tuple[httpx2.Request, float | None]:
    """What is sent, and how long the whole of it may take."""
    own = request.timeout_seconds
    timeout = http.timeout if own is None else httpx2.Timeout(own, connect=CONNECT_SECONDS)
    built = http.build_request(
        request.method,
        request.path,
        params=request.query,
        content=request.content,
        headers=request.headers,
        timeout=timeout,
    )
    return built, timeout.read


@contextmanager
def _translated(request: Request[Any]) -> Iterator[None]:
    """Raises Unanswered in place of httpx2's errors, and Unreadable for what is too large."""
    try:
        yield
    except _TooLarge as error:
        detail = f"the answer is larger than {MAX_ANSWER_BYTES} bytes"
        raise Unreadable(request.name, request.key, detail) from error
    except httpx2.RequestError as error:
        sent = not isinstance(error, NEVER_SENT)
        detail = f"{type(error).__name__}: {error}".rstrip(": ")
        raise Unanswered(request.name, request.key, detail, sent) from error


def _read(
    request: Request[Answer], response: httpx2.Response, content: _Content, earlier: Earlier
) -> Answer:
    """Raises Problem for an answer other than 2xx, Unreadable for one that is not the API's.

    A deletion's 404 counts as done where an earlier attempt may have reached the service, which
    then did it, and no answer said so. Nobody can tell that from what was never there. After
    attempts that found no connection, or were refused for their rate, it is a NotFound.
    """
    said = content.of(response)
    if response.is_success:
        try:
            return request.decode(said)
        # Of msgspec's, of text that is none, and of what is nested without end.
        except (ValueError, RecursionError) as error:
            raise Unreadable(request.name, request.key, str(error)) from error
    if response.status_code == NOT_FOUND and request.method == "DELETE" and earlier.may_be_done:
        return request.decode(b"")
    raise problem(request.name, request.key, response, said)
