"""Requests as the tests of the client make them."""

import math
from ipaddress import ip_network

import uvloop

from relay.push.http.answer import Answer
from relay.push.http.client import Client, Request
from relay.push.http.guard import Guard

LOOPBACK = [ip_network("127.0.0.1/32")]


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
