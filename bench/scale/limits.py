"""What runs out first, and what the relay's own metrics say while it does."""

import threading
import time
import urllib.request
from collections.abc import Iterable, Mapping

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from bench.push.drain import CONCURRENCY
from bench.push.subscribers import CHANNEL, subscribed
from bench.scale.stage import Stage
from bench.writer import PUBLISH

TIMEOUT_SECONDS = 15
# What an endpoint that answers after 150 to 450 ms can't take: 32 open requests make 107 a second.
SLOW_RATE = 200
# 20,000 requests a second, which no relay sends on cores like these.
FAST_ENDPOINTS, FAST_RATE = 100, 200
# As often as the relay counts anew what waits.
SAMPLE_SECONDS = 6.0


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """What the metrics said of the last seconds of it.

    `busy`: process_cpu_seconds_total a second. `open_requests`: the seconds that
    outbox_relay_request_seconds gained a second. `undelivered` and `oldest_seconds`: the gauges of
    what is not delivered, in the end.
    """

    busy: float
    open_requests: float
    undelivered: float
    oldest_seconds: float


def slow_endpoint(stage: Stage) -> Overload:
    """One endpoint is offered more than its slots make of its slowness."""
    stage.tell(f"overload: an endpoint of 150 to 450 ms, {SLOW_RATE} messages/s")
    return _overload(stage, 1, "slow", SLOW_RATE)


def busy_relay(stage: Stage) -> Overload:
    """All endpoints are quick, and are offered more than one relay can send."""
    stage.tell(f"overload: {FAST_ENDPOINTS} quick endpoints, {FAST_RATE} messages/s to each")
    return _overload(stage, FAST_ENDPOINTS, "beside", FAST_RATE)


def _overload(stage: Stage, endpoints: int, path: str, rate: int) -> Overload:
    arena, seconds = stage.arena, stage.sizes.overload
    # Before the writer's end, since what waits is worked off then.
    look_at = threading.Event()
    with (
        subscribed(arena, stage.connection, endpoints, path),
        arena.relays(1) as ((_, port),),
    ):
        writer = arena.start("writer", arena.database_url, PUBLISH, CHANNEL, rate, seconds)
        try:
            look_at.wait(max(seconds - SAMPLE_SECONDS, 1.0))
            before, began_at = read(port), time.monotonic()
            look_at.wait(SAMPLE_SECONDS)
            after, ended_at = read(port), time.monotonic()
        finally:
            writer.kill()
            writer.communicate()
    took = ended_at - began_at

    def a_second(name: str) -> float:
        return (after[name] - before[name]) / took

    return Overload(
        busy=a_second("process_cpu_seconds_total"),
        open_requests=a_second("outbox_relay_request_seconds_sum"),
        undelivered=after["outbox_relay_undelivered_messages"],
        oldest_seconds=after["outbox_relay_undelivered_oldest_age_seconds"],
    )


SUMMED = (
    "process_cpu_seconds_total",
    "outbox_relay_request_seconds_sum",
    "outbox_relay_undelivered_messages",
)
HIGHEST = ("outbox_relay_undelivered_oldest_age_seconds",)


def read(port: int) -> Mapping[str, float]:
    """What a relay says of itself, over all subscriptions: added up, of ages the highest."""
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
        return totals(answer.read().decode())


def totals(text: str) -> Mapping[str, float]:
    """The same of a text in Prometheus's format; 0 for what is not there."""
    found: dict[str, list[float]] = {name: [] for name in (*SUMMED, *HIGHEST)}
    samples: Iterable[tuple[str, float]] = (
        (sample.name, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    )
    for name, value in samples:
        if name in found:
            found[name].append(value)
    return {name: max(v, default=0.0) if name in HIGHEST else sum(v) for name, v in found.items()}


# What an endpoint has open at once, at the most.
SLOTS = CONCURRENCY
