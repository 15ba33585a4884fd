"""From a commit's answer until the endpoint has the request whole, at a steady rate."""

import time

from bench.arena import Connection
from bench.latency import MILLISECONDS
from bench.push.arena import PushArena
from bench.push.drain import WARM_UP_MESSAGES
from bench.push.endpoints import Request
from bench.push.subscribers import CHANNEL, fill, subscribed
from bench.watch import watch
from bench.writer import PUBLISH

WARM_UP_SECONDS = 1
PATIENCE_SECONDS = 60
POLL_SECONDS = 0.1


def measure(
    arena: PushArena,
    connection: Connection,
    subscriptions: int,
    rate: int,
    seconds: int,
) -> list[float]:
    """Milliseconds, of each delivery; `rate` is in deliveries a second, over all subscriptions.

    Each message goes to each of them. Raises RuntimeError where a message does not come.
    """
    per_second = max(rate // subscriptions, 1)
    with subscribed(arena, connection, subscriptions), arena.relay():
        fill(connection, WARM_UP_MESSAGES, first=-WARM_UP_MESSAGES)
        watch(connection, WARM_UP_MESSAGES * subscriptions)
        seconds += WARM_UP_SECONDS
        committed: list[tuple[int, int, int]] = arena.measure(
            "writer", arena.database_url, PUBLISH, CHANNEL, per_second, seconds
        )
        came = wait(arena, subscriptions, len(committed) + WARM_UP_MESSAGES)
    counted = {n: at for n, _, at in committed if n >= per_second * WARM_UP_SECONDS}
    return [(one.begin - counted[one.n]) * MILLISECONDS for one in came if one.n in counted]


def wait(arena: PushArena, subscriptions: int, messages: int) -> list[Request]:
    """The first request of each message to each endpoint that answers at once."""
    came: dict[tuple[str, int], Request] = {}
    count = subscriptions * messages
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        for path, requests in arena.endpoints.take().items():
            if path.startswith("/ok/"):
                for one in requests:
                    came.setdefault((path, one.n), one)
        if len(came) >= count:
            return list(came.values())
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(came):,} of {count:,} requests came in time")
        time.sleep(POLL_SECONDS)
