"""Requests as the tests of the client make them."""

import asyncio
import math
from ipaddress import ip_network

import msgspec
import uvloop

from relay.push.http import client
from relay.push.http.answer import Answer
from relay.push.http.client import Destination
from relay.push.http.guard import Guard
from relay.push.http.lines import lines

LOOPBACK = [ip_network("127.0.0.1/32")]


class Request(msgspec.Struct, frozen=True):
    """One POST."""

    url: str
    headers: dict[str, str]
    body: bytes
    timeout_seconds: float
    send_before: float
    owner: str | None = None


class Client(client.Client):
    """One whose answers can be waited for."""

    async def post(self, request: Request) -> Answer:
        """Sends one request and waits for its answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(came: Answer) -> None:
            # Whoever waited may have been cancelled.
            if not answer.done():
                answer.set_result(came)

        self.send(
            Destination(request.url, request.timeout_seconds, request.owner),
            lines(request.headers.items()),
            request.body,
            request.send_before,
            answered,
        )
        return await answer


def request(
    url: str,
    *,
    timeout_seconds: float = 5.0,
    send_before: float = math.inf,
    owner: str | None = None,
) -> Request:
    """A small POST."""
    headers = {"content-type": "application/json"}
    return Request(url, headers, b"{}", timeout_seconds, send_before, owner)


def post(url: str, *, timeout_seconds: float = 5.0) -> Answer:
    """One request by a client of its own, to whom 127.0.0.1 is as good as public."""

    async def once() -> Answer:
        client = Client(Guard(LOOPBACK))
        try:
            return await client.post(request(url, timeout_seconds=timeout_seconds))
        finally:
            await client.close()

    return uvloop.run(once())
