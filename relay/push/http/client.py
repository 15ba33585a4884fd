"""Makes the requests. What can go wrong is an Answer, never an exception."""

import re
import socket
import time
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version

import msgspec

from relay.push.fair_turns import Owner
from relay.push.http.answer import Answer, printable
from relay.push.http.connection import Connection
from relay.push.http.dial import Dialler
from relay.push.http.fault import Fault
from relay.push.http.guard import Guard
from relay.push.http.pool import Pool
from relay.push.http.proxy import Proxy
from relay.push.http.reply import Reply
from relay.push.http.resolver import LookUp, Resolver
from relay.push.http.url import Url, parse

MAX_CONNECTIONS = 10_000

_USER_AGENT = f"outbox-relay/{version('outbox-relay')}"


class Request(msgspec.Struct, frozen=True):
    """One POST. `timeout_seconds` covers all of it, from the look-up to the answer's last byte.

    Nothing of it is written at or after `send_before`, a moment of time.monotonic(). `owner` is its
    subscription's.
    """

    url: str
    headers: dict[str, str]
    body: bytes
    timeout_seconds: float
    send_before: float
    owner: Owner = None


class Client:
    """One pool of connections for all endpoints; made and used inside the event loop.

    HTTP/1.1 as RFC 9112 has it, and no more of it than a POST needs: it follows no redirect, keeps
    no cookie, takes no proxy from the environment and unpacks no answer. How many requests may be
    in flight is counted by its user, how many connections may be open here: `most_connections`.
    """

    def __init__(
        self,
        guard: Guard,
        look_up: LookUp = socket.getaddrinfo,
        *,
        proxy: Proxy | None = None,
        most_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._pool = Pool(Dialler(guard, Resolver(look_up), proxy), most_connections)

    async def post(self, request: Request) -> Answer:
        """Sends one request and waits for its answer; raises nothing but CancelledError."""
        began_at = time.monotonic()
        try:
            reply = await self._exchange(request, began_at + request.timeout_seconds)
        except Fault as fault:
            return _without(fault.word, fault.detail, began_at)
        except TimeoutError:
            return _without("timeout", f"no answer within {request.timeout_seconds:g} s", began_at)
        except Exception as error:
            detail = f"the request could not be made: {type(error).__name__}"
            return _without("fault", detail, began_at)
        seconds = time.monotonic() - began_at
        if reply.acknowledged:
            return Answer(reply.status, None, "", b"", None, None, seconds)
        return _failed(reply, seconds)

    async def close(self) -> None:
        """Closes every connection; requests that are under way fail."""
        self._pool.close()

    async def _exchange(self, request: Request, deadline: float) -> Reply:
        url = parse(request.url)
        head = _head(url, request)
        connection = self._pool.take(url)
        if connection is None:
            if time.monotonic() >= request.send_before:
                raise _lease_over()
            connection = await self._pool.open(url, request.owner, deadline)
        # From here on nothing is waited for until the request is written.
        if time.monotonic() >= request.send_before:
            self._hand_back(connection)
            raise _lease_over()
        return await connection.exchange(head, request.body, deadline)

    def _hand_back(self, connection: Connection) -> None:
        if connection.requests:
            self._pool.rest(connection)
        else:
            connection.abort()


def _lease_over() -> Fault:
    return Fault("lease_over", "the time to send was over before it was sent")


def _head(url: Url, request: Request) -> bytes:
    """Raises ValueError where a header would say more than its name and value."""
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    head = "\r\n".join([_beginning(url), f"content-length: {len(request.body)}", *lines])
    own_breaks = len(lines) + _beginning(url).count("\n") + 1
    if head.count("\n") != own_breaks or head.count("\r") != own_breaks or "\0" in head:
        raise ValueError("a header with a line break")
    return b"%b\r\n\r\n" % head.encode("ascii")


@lru_cache(maxsize=10_000)
def _beginning(url: Url) -> str:
    return "\r\n".join(
        (
            f"POST {url.target} HTTP/1.1",
            f"host: {url.authority}",
            "accept: */*",
            "accept-encoding: identity",
            f"user-agent: {_USER_AGENT}",
        )
    )


def _without(word: str, detail: str, began_at: float) -> Answer:
    seconds = time.monotonic() - began_at
    return Answer(None, word, printable(detail), b"", None, None, seconds)


def _failed(reply: Reply, seconds: float) -> Answer:
    status = reply.status
    if 300 <= status < 400:
        word = "redirect"
        # Without its query, which may hold a secret.
        target = re.split(r"[?#]", reply.location or "")[0]
        detail = f"answered {status} to {target or 'nowhere'}, and redirects are never followed"
    else:
        word = f"http_{status}"
        detail = f"answered {status} {_phrase(status)}".rstrip()
    return Answer(
        status, word, printable(detail), reply.body, reply.retry_after, reply.date, seconds
    )


def _phrase(status: int) -> str:
    """The standard's, and not the endpoint's: its words stay out of what is shown."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
