"""Makes the requests. What can go wrong is an Answer, never an exception."""

import asyncio
import socket
import time
from functools import lru_cache
from importlib.metadata import version

import msgspec

from relay.push.fair_turns import Owner
from relay.push.http.answer import unanswered
from relay.push.http.connection import Answered, Connection
from relay.push.http.dial import Dialler
from relay.push.http.fault import Fault
from relay.push.http.guard import Guard
from relay.push.http.lines import Lines
from relay.push.http.pool import Pool
from relay.push.http.proxy import Proxy
from relay.push.http.resolver import LookUp, Resolver
from relay.push.http.url import Url, parse

MAX_CONNECTIONS = 10_000

_USER_AGENT = f"outbox-relay/{version('outbox-relay')}"


class Destination(msgspec.Struct, frozen=True):
    """Where requests go.

    `timeout_seconds` covers all of one, from the look-up to the answer's last byte. `owner` is the
    subscription's.
    """

    url: str
    timeout_seconds: float
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
        self._loop = asyncio.get_running_loop()
        self._dialler = Dialler(guard, Resolver(look_up), proxy)
        self._pool = Pool(self._dialler, most_connections)
        # Requests for which a connection has to be opened or waited for.
        self._opening: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def late_seconds(self) -> float:
        """How long what has come of handshakes and answers has waited to be computed."""
        return self._dialler.late_seconds

    def send(
        self,
        to: Destination,
        lines: Lines,
        body: bytes,
        send_before: float,
        answered: Answered,
    ) -> None:
        """Makes one POST, at once where a connection is open; `answered` is called later.

        With its answer, or why there is none; never within this call, and not at all once the
        client is closed. Nothing is written at or after `send_before`, of time.monotonic().
        """
        if self._is_closed:
            return
        try:
            url = parse(to.url)
        except Fault as fault:
            self._loop.call_soon(answered, unanswered(fault.word, fault.detail, 0.0))
            return
        head = b"%bcontent-length: %d\r\n%b\r\n" % (_beginning(to.url), len(body), lines)
        # Who waits for a connection is first: it may be this one.
        connection = None if self._pool.is_awaited(url) else self._pool.take(url)
        now = time.monotonic()
        if connection is not None and now < send_before:
            connection.ask(head, body, now, to.timeout_seconds, answered)
            return
        if connection is not None:
            self._pool.rest(connection)
        opening = self._send_when_open(to, url, head, body, send_before, now, answered)
        task = self._loop.create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def close(self) -> None:
        """Closes every connection; requests that are under way get no answer."""
        self._is_closed = True
        self._pool.close()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)

    async def _send_when_open(
        self,
        to: Destination,
        url: Url,
        head: bytes,
        body: bytes,
        send_before: float,
        began_at: float,
        answered: Answered,
    ) -> None:
        try:
            deadline = began_at + to.timeout_seconds
            connection = await self._open(to, url, send_before, deadline)
        except Fault as fault:
            word, detail = fault.word, fault.detail
        except TimeoutError:
            word, detail = "timeout", f"no answer within {to.timeout_seconds:g} s"
        except Exception as error:
            word = "fault"
            detail = f"the request could not be made: {type(error).__name__}"
        else:
            # Since it was seen to be open nothing has been waited for.
            connection.ask(head, body, began_at, to.timeout_seconds, answered)
            return
        answered(unanswered(word, detail, time.monotonic() - began_at))

    async def _open(
        self, to: Destination, url: Url, send_before: float, deadline: float
    ) -> Connection:
        """A connection that takes a request now. Raises Fault, and TimeoutError."""
        if time.monotonic() >= send_before:
            raise _lease_over()
        connection = await self._pool.open(url, to.owner, deadline)
        if time.monotonic() >= send_before:
            if connection.requests:
                self._pool.rest(connection)
            else:
                connection.abort()
            raise _lease_over()
        if not connection.check_open():
            connection.abort()
            raise connection.why_closed()
        return connection


def _lease_over() -> Fault:
    return Fault("lease_over", "the time to send was over before it was sent")


@lru_cache(maxsize=10_000)
def _beginning(text: str) -> bytes:
    """What is the same in all requests to this URL."""
    url = parse(text)
    return (
        f"POST {url.target} HTTP/1.1\r\n"
        f"host: {url.authority}\r\n"
        "accept: */*\r\n"
        "accept-encoding: identity\r\n"
        f"user-agent: {_USER_AGENT}\r\n"
    ).encode("ascii")
