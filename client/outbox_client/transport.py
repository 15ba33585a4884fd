"""What sends requests: one transport for threads, one for asyncio."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypedDict, TypeVar

import httpx2
import msgspec
from tenacity import AsyncRetrying, Retrying

from outbox_client.problems import Unanswered, Unreadable, problem
from outbox_client.request import Request
from outbox_client.retries import Policy, policy

CONNECT_SECONDS = 5.0
# Nothing of the request has left then.
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
NOT_FOUND = 404

Answer = TypeVar("Answer")


class Transport:
    """Sends requests one by one; threads may share it."""

    def __init__(self, url: str, key: str, timeout_seconds: float, retry_seconds: float) -> None:
        self._http = httpx2.Client(**_options(url, key, timeout_seconds))
        self._retry_seconds = retry_seconds

    def send(self, request: Request[Answer]) -> Answer:
        """The answer, after as many attempts as it takes. Raises OutboxError."""
        for attempt in Retrying(**_policy(request, self._retry_seconds)):
            with attempt, _translated(request):
                response = self._http.send(_built(self._http, request))
                return _read(request, response, attempt.retry_state.attempt_number)
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
        """The answer, after as many attempts as it takes. Raises OutboxError."""
        async for attempt in AsyncRetrying(**_policy(request, self._retry_seconds)):
            with attempt, _translated(request):
                response = await self._http.send(_built(self._http, request))
                return _read(request, response, attempt.retry_state.attempt_number)
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()


class _Options(TypedDict):
    base_url: str
    headers: dict[str, str]
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
            "Authorization": f"Bearer {key}",
            "User-Agent": f"outbox-client/{version('outbox-client')}",
        },
        timeout=httpx2.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
    )


def _policy(request: Request[Any], retry_seconds: float) -> Policy:
    return policy(repeatable=request.repeatable, retry_seconds=retry_seconds)


def _built(http: httpx2.Client | httpx2.AsyncClient, request: Request[Any]) -> httpx2.Request:
    own = request.timeout_seconds
    timeout = http.timeout if own is None else httpx2.Timeout(own, connect=CONNECT_SECONDS)
    return http.build_request(
        request.method,
        request.path,
        params=request.query,
        content=request.content,
        headers=request.headers,
        timeout=timeout,
    )


@contextmanager
def _translated(request: Request[Any]) -> Iterator[None]:
    """Raises Unanswered in place of httpx2's errors."""
    try:
        yield
    except httpx2.RequestError as error:
        sent = not isinstance(error, NEVER_SENT)
        detail = f"{type(error).__name__}: {error}".rstrip(": ")
        raise Unanswered(request.name, request.key, detail, sent) from error


def _read(request: Request[Answer], response: httpx2.Response, attempt_number: int) -> Answer:
    """Raises Problem for an answer other than 2xx, Unreadable for one that is not the API's."""
    if response.is_success:
        try:
            return request.decode(response.content)
        except msgspec.DecodeError as error:
            raise Unreadable(request.name, request.key, str(error)) from error
    if response.status_code == NOT_FOUND and request.method == "DELETE" and attempt_number > 1:
        # An attempt before it did it, and its answer was lost.
        return request.decode(b"")
    raise problem(request.name, request.key, response)
