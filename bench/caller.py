"""A payment provider in a hurry: webhooks over keep-alive connections, bodies made beforehand."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator

import uvloop

from bench.orders import order_id

BODY = """{"eventType": "ATTEMPT_SUCCESS", "timestamp": 1767225600000, "payload": {
"timestamp": "2026-01-01T00:00:00Z", "source": "provider",
"transaction": {"id": "00000000-0000-4000-8001-%(n)012x", "uid": "t-%(n)d", "status": "PAID",
"total": "25.50", "paid": "25.50", "sourceType": "SaleOrder", "sourceId": "%(order)s"},
"attempt": {"id": "00000000-0000-4000-8002-%(n)012x", "uid": "a-%(n)d", "status": "SUCCESS",
"amount": "25.50", "paymentProvider": "provider",
"metadata": {"source": {"id": "%(order)s", "uid": "o-%(n)d", "type": "SaleOrder"}}}}}"""
HEAD = (
    "POST /v1/api/sale/webhooks/payment HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
TIMEOUT_SECONDS = 120


def request(n: int) -> bytes:
    """The webhook that pays order n in full."""
    body = (BODY % {"n": n, "order": order_id(n)}).encode()
    return (HEAD % len(body)).encode() + body


async def call(port: int, requests: Iterator[bytes]) -> int:
    """One connection, one request after the other; how many were acknowledged."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    acknowledged = 0
    for one in requests:
        writer.write(one)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        answer = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200") or not json.loads(answer)["acknowledged"]:
            raise RuntimeError(f"not acknowledged: {head!r} {answer!r}")
        acknowledged += 1
    writer.close()
    return acknowledged


async def main(port: int, first: int, count: int, connections: int) -> None:
    """Prints {acknowledged, seconds}."""
    requests = iter([request(n) for n in range(first, first + count)])
    began_at = time.monotonic()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        answered = await asyncio.gather(*(call(port, requests) for _ in range(connections)))
    seconds = time.monotonic() - began_at
    print(json.dumps({"acknowledged": sum(answered), "seconds": seconds}))


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:])))
