"""Orders at a steady rate while one relay carries them, and what that takes."""

import time

import msgspec

from bench.model import Processor
from bench.process import peak_memory_bytes
from bench.push.subscribers import fill
from bench.scale.meter import Meter
from bench.scale.sale import ENDPOINT_CHANNEL, KAFKA_CHANNELS
from bench.scale.stage import Stage
from bench.watch import wait_until_gone, watch

WRITERS = 4
WARM_UP_ORDERS = 40
REST_SECONDS = 1.0
IDLE_SECONDS = 2.0
NOW = "select clock_timestamp()"
PAUSE = "update outbox.subscription set paused = %s"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Cores and bytes are a second's, `relay_bytes` the relay's memory at its peak.

    Runs are those that a subscription of the kind was in, a second. Without a subscription there
    is no relay, and what is its own is 0.
    """

    orders: float
    kafka: int
    endpoints: int
    relay_cores: float
    postgres_cores: float
    idle_relay: float
    idle_postgres: float
    wal_bytes: float
    disk_bytes: float
    relay_bytes: float
    kafka_runs: float
    endpoint_runs: float


def turn(stage: Stage, rate: int, seconds: int, kafka: int, endpoints: int) -> Turn:
    """So many orders a second; the clock stops when all of it has gone."""
    stage.tell(f"{rate} orders/s, {kafka} subscriptions to Kafka, {endpoints} endpoints")
    connection, sale = stage.connection, stage.sale
    count = rate * seconds
    count -= count % WRITERS
    sale.make(connection, count + WARM_UP_ORDERS)
    deliveries = len(KAFKA_CHANNELS) * kafka + endpoints

    def pay(orders: int, per_second: int | None) -> None:
        row = connection.execute(NOW).fetchone()
        assert row is not None
        sale.pay(orders, WRITERS, per_second)
        if deliveries:
            wait_until_gone(connection, row[0], orders * deliveries)

    with (
        stage.subscribed(kafka, endpoints),
        stage.arena.relays(1 if deliveries else 0) as started,
    ):
        relays = [relay for relay, _ in started]
        pay(WARM_UP_ORDERS, rate)
        time.sleep(REST_SECONDS)
        meter = Meter(stage.arena, connection, relays)
        time.sleep(IDLE_SECONDS)
        idle = meter.used()
        meter = Meter(stage.arena, connection, relays)
        pay(count, rate)
        used = meter.used()
        peak = max([peak_memory_bytes(relay.pid) for relay in relays], default=0)
    took = used.seconds
    return Turn(
        orders=count / took,
        kafka=kafka,
        endpoints=endpoints,
        relay_cores=sum(used.relay_seconds) / took,
        postgres_cores=used.postgres_seconds / took,
        idle_relay=sum(idle.relay_seconds) / idle.seconds,
        idle_postgres=idle.postgres_seconds / idle.seconds,
        wal_bytes=used.wal_bytes / took,
        disk_bytes=used.log_bytes / took,
        relay_bytes=peak,
        kafka_runs=used.checkpoints.get("kafka", 0) / max(kafka, 1) / took,
        endpoint_runs=used.checkpoints.get("http", 0) / max(endpoints, 1) / took,
    )


class Drained(msgspec.Struct, frozen=True):
    """A backlog: deliveries a second, and the processor time of each."""

    deliveries_per_second: float
    each: Processor
    relay_bytes: float


def drain(
    stage: Stage, deliveries: int, kafka: int = 0, endpoints: int = 0, relays: int = 1
) -> Drained:
    """By relays that are connected already; runs are long, so that they count for nothing."""
    streams = kafka + endpoints
    stage.tell(f"a backlog of {deliveries:,} to {streams} subscriptions by {relays} relays")
    connection, messages = stage.connection, deliveries // streams
    with stage.subscribed(kafka, endpoints), stage.arena.relays(relays) as started:
        processes = [relay for relay, _ in started]
        row = connection.execute(NOW).fetchone()
        assert row is not None
        fill(connection, WARM_UP_ORDERS, channel=ENDPOINT_CHANNEL)
        wait_until_gone(connection, row[0], WARM_UP_ORDERS * streams)
        connection.execute(PAUSE, (True,))
        fill(connection, messages, channel=ENDPOINT_CHANNEL)
        meter = Meter(stage.arena, connection, processes)
        connection.execute(PAUSE, (False,))
        seconds = watch(connection, messages * streams)
        used = meter.used()
        peak = max(peak_memory_bytes(relay.pid) for relay in processes)
    per = messages * streams / 1e6
    return Drained(
        messages * streams / seconds,
        Processor(
            relay=sum(used.relay_seconds) / per,
            postgres=used.postgres_seconds / per,
        ),
        peak,
    )
