"""What every part of this benchmark plays on, and the subscriptions that it plays for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from bench.arena import Connection
from bench.push.subscribers import subscribe
from bench.scale.arena import ScaleArena
from bench.scale.sale import ENDPOINT_CHANNEL, KAFKA_CHANNELS, Sale
from bench.subscriptions import SUBSCRIBE

FORGET = "select outbox.delete_subscription(name, true) from outbox.subscription"


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, unless they say what they count."""

    orders_of_a_writer: int = 1500
    most_orders: int = 6000
    publishes: int = 5000
    filled_messages: int = 20_000
    backlog: int = 60_000
    warm_up: int = 12
    steady_rate: int = 400
    steady: int = 5
    many_kafka: int = 10
    many_endpoints: int = 10
    served_endpoints: tuple[int, ...] = (10, 100, 300)
    served: int = 4
    served_backlog: int = 30_000
    overload: int = 8
    databases: int = 8
    checked: int = 6


QUICK = Sizes(
    orders_of_a_writer=150,
    most_orders=600,
    publishes=500,
    filled_messages=5_000,
    backlog=10_000,
    warm_up=3,
    steady=3,
    served_endpoints=(10, 50),
    served=2,
    served_backlog=5_000,
    overload=6,
    databases=4,
    checked=3,
)


class Stage(msgspec.Struct, frozen=True):
    """`tell` prints how far it is."""

    arena: ScaleArena
    connection: Connection
    sale: Sale
    sizes: Sizes
    tell: Callable[[str], None]

    def make_topics(self, subscriptions: int) -> None:
        """Those of so many subscriptions to Kafka."""
        for number in range(subscriptions):
            for channel in KAFKA_CHANNELS:
                self.arena.make_topic(f"s{number}.{channel}")

    @contextmanager
    def subscribed(self, kafka: int, endpoints: int) -> Iterator[None]:
        """So many to topics of their own, and so many endpoints, over an empty log."""
        self.connection.execute("truncate outbox.message")
        for number in range(kafka):
            values = {"name": f"s{number}", "prefix": f"s{number}."}
            self.connection.execute(SUBSCRIBE, values)
        for number in range(endpoints):
            url = f"{self.arena.endpoints.url}/beside/{number}"
            subscribe(self.connection, f"endpoint-{number}", url, ENDPOINT_CHANNEL)
        try:
            yield
        finally:
            self.connection.execute(FORGET)
