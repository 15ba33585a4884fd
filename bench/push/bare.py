"""The ceiling: the messages of the log, held in memory, through a bare aiohttp loop.

Each subscription has as many workers as the relay may have requests in flight for it; the same
bodies, headers and signatures, made where the relay makes them but for what never changes.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator

import aiohttp
import psycopg
import uvloop

from relay.log.message import as_sent
from relay.push.requests.headers import Headers
from relay.push.requests.signature import Signer

# As the relay's own client says it.
HEADERS = {"User-Agent": "outbox-relay/bench", "Accept-Encoding": "identity"}

# One message: its body, and the headers that stay the same on every attempt.
Prepared = tuple[bytes, dict[str, str]]

READ = """
select id, channel, type, group_key, idempotency_key, null::text, content_type, payload, created_at
from outbox.message
order by id
"""
READ_SUBSCRIPTIONS = """
select s.settings ->> 'endpoint', x.key
from outbox.subscription s
join outbox.secret x on x.subscription_id = s.id
order by s.id
"""


def prepare(database_url: str) -> tuple[list[Prepared], list[tuple[str, bytes]]]:
    """The whole log, and the endpoint and key of each subscription."""
    make = Headers("/outbox")
    with psycopg.connect(database_url) as connection, connection.cursor(binary=True) as cursor:
        subscriptions = cursor.execute(READ_SUBSCRIPTIONS).fetchall()
        as_sent(cursor)
        rows = cursor.execute(READ).fetchall()
    messages = [(row[7], _headers(make.of((*row, 0), replayed=False))) for row in rows]
    return messages, subscriptions


def _headers(lines: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in lines.decode().splitlines())


async def work(
    session: aiohttp.ClientSession, url: str, key: bytes, messages: Iterator[Prepared]
) -> None:
    """One request after the other. Raises RuntimeError where one is not acknowledged."""
    signer = Signer([key])
    for body, constant in messages:
        stamp = int(time.time())
        signature = signer.sign(constant["webhook-id"].encode(), stamp, body).decode()
        headers = {
            **constant, "webhook-timestamp": str(stamp), "webhook-signature": signature
        }  # fmt: skip
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()
            if response.status != 200:
                raise RuntimeError(f"{url} answered {response.status}")


async def send(
    session: aiohttp.ClientSession,
    subscriptions: list[tuple[str, bytes]],
    messages: list[Prepared],
    concurrency: int,
) -> None:
    """Every message to every subscription."""
    async with asyncio.TaskGroup() as group:
        for url, key in subscriptions:
            shared = iter(messages)
            for _ in range(min(concurrency, len(messages))):
                group.create_task(work(session, url, key, shared))


async def main(database_url: str, concurrency: int, first: int) -> None:
    """Prints {seconds, cpu_seconds}; the log's messages before `first` warm up."""
    messages, subscriptions = prepare(database_url)
    # A collection would walk all these messages, which no relay has in memory.
    gc.freeze()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
        timeout=aiohttp.ClientTimeout(total=15),
    ) as session:
        await send(session, subscriptions, messages[:first], concurrency)
        began_at, used = time.monotonic(), time.process_time()
        await send(session, subscriptions, messages[first:], concurrency)
        seconds, cpu_seconds = time.monotonic() - began_at, time.process_time() - used
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], *map(int, sys.argv[2:])))
