"""How many endpoints one relay serves, and four: latency at a steady rate, processor, memory."""

import msgspec

from bench.latency import MILLISECONDS, percentile
from bench.process import peak_memory_bytes
from bench.push.latency import WARM_UP_SECONDS, wait
from bench.push.subscribers import CHANNEL, fill, subscribed
from bench.scale.meter import Meter
from bench.scale.stage import Stage
from bench.watch import watch
from bench.writer import PUBLISH

DELIVERIES = 1000
# To each endpoint: they have their first connections then.
WARM_UP_MESSAGES = 10


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries a second, milliseconds from commit to request, cores and bytes of all relays."""

    deliveries: float
    p50: float
    p99: float
    relay_cores: float
    postgres_cores: float
    relay_bytes: float


def serve(stage: Stage, relays: int, endpoints: int) -> Served:
    """Each message goes to every endpoint, DELIVERIES a second in all."""
    stage.tell(f"{endpoints} endpoints by {relays} relays, {DELIVERIES:,} deliveries/s")
    arena, connection = stage.arena, stage.connection
    per_second = max(DELIVERIES // endpoints, 1)
    with subscribed(arena, connection, endpoints), arena.relays(relays) as started:
        processes = [relay for relay, _ in started]
        fill(connection, WARM_UP_MESSAGES, first=-WARM_UP_MESSAGES)
        watch(connection, WARM_UP_MESSAGES * endpoints)
        meter = Meter(arena, connection, processes)
        seconds = stage.sizes.served + WARM_UP_SECONDS
        committed: list[tuple[int, int, int]] = arena.measure(
            "writer", arena.database_url, PUBLISH, CHANNEL, per_second, seconds
        )
        used = meter.used()
        came = wait(arena, endpoints, len(committed) + WARM_UP_MESSAGES)
        peak = sum(peak_memory_bytes(relay.pid) for relay in processes)
    counted = {n: at for n, _, at in committed if n >= per_second * WARM_UP_SECONDS}
    times = [(one.begin - counted[one.n]) * MILLISECONDS for one in came if one.n in counted]
    return Served(
        deliveries=per_second * endpoints,
        p50=percentile(times, 50),
        p99=percentile(times, 99),
        # The writer takes a while to begin, and nothing else is done then.
        relay_cores=sum(used.relay_seconds) / seconds,
        postgres_cores=used.postgres_seconds / seconds,
        relay_bytes=peak,
    )
