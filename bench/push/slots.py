"""How many of its slots a subscription uses, where an endpoint takes 300 ms, more or less."""

from bench.arena import Connection
from bench.push.arena import PushArena
from bench.push.drain import CONCURRENCY, WARM_UP_MESSAGES
from bench.push.endpoints import Request
from bench.push.subscribers import fill, subscribed
from bench.watch import watch

# Neither the ramp at the beginning nor the one at the end counts.
RAMP_SECONDS = 1.0
MEAN_SECONDS = 0.3


def by_relay(arena: PushArena, connection: Connection, seconds: int) -> float:
    """The share of its slots that were taken, on average."""
    messages = _messages(seconds)
    with subscribed(arena, connection, 1, "slow", attempts_log="none"), arena.relay():
        fill(connection, messages)
        watch(connection, messages)
    return _used(arena, messages)


def by_bare_loop(arena: PushArena, connection: Connection, seconds: int) -> float:
    """The same, of its workers."""
    messages = _messages(seconds)
    with subscribed(arena, connection, 1, "slow"):
        fill(connection, messages)
        arena.measure("push.bare", arena.database_url, CONCURRENCY, WARM_UP_MESSAGES)
    return _used(arena, messages)


def _messages(seconds: int) -> int:
    return round(CONCURRENCY * (seconds + 2 * RAMP_SECONDS) / MEAN_SECONDS)


def _used(arena: PushArena, messages: int) -> float:
    requests = [one for each in arena.endpoints.take().values() for one in each]
    if (came := len({one.n for one in requests})) != messages:
        raise RuntimeError(f"{came:,} of {messages:,} messages came")
    return used(requests, CONCURRENCY, round(RAMP_SECONDS * 1e9))


def used(requests: list[Request], concurrency: int, ramp: int) -> float:
    """Time in flight ÷ (time times concurrency), without `ramp` nanoseconds at either end."""
    begins = [one.begin for one in requests]
    first, last = min(begins) + ramp, max(begins) - ramp
    in_flight = sum(max(0, min(one.end, last) - max(one.begin, first)) for one in requests)
    return in_flight / (last - first) / concurrency
