"""The reckoning of the connectors: inventory's log, another Kafka's topic and a FIFO queue."""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any, Protocol

import msgspec
import psycopg

from demo.comparison import Delivery, Promise, Published, compare
from demo.connectors import CONNECTORS, PURCHASING, WAREHOUSE
from demo.consumers import inventory
from demo.places import Places
from demo.topics import Topics


class Bridged(msgspec.Struct, frozen=True):
    """The whole of it, by connector."""

    deliveries: list[Delivery]
    promises: list[Promise]


class Arrival(Protocol):
    """What both a record of a topic and a message of a queue have."""

    @property
    def idempotency_key(self) -> str: ...

    @property
    def payload(self) -> bytes: ...


STOCK = "select product, on_hand from inventory.stock where on_hand < opening"


def reckon_bridged(
    places: Places, books: psycopg.Connection[Any], log: Iterable[Published]
) -> Bridged:
    """Reads the other topic from its beginning and empties the queue.

    Raises psycopg.Error, KafkaException, OSError, TimeoutError.
    """
    updates = [message for message in log if message.channel == inventory.CHANNEL]
    with closing(Topics(places.other_bootstrap_servers, [places.other_topic])) as topic:
        arrivals: dict[str, Sequence[Arrival]] = {
            WAREHOUSE: topic.read(),
            PURCHASING: places.queue.drain(),
        }
    deliveries = {
        name: compare(f"{name}: {to}", updates, [each.idempotency_key for each in arrivals[name]])
        for name, to in CONNECTORS.items()
    }
    stock = dict(books.execute(STOCK).fetchall())
    return Bridged(
        deliveries=list(deliveries.values()),
        promises=[
            *(
                Promise(f"repeats in {to}, exactly once", 0, deliveries[name].repeated)
                for name, to in CONNECTORS.items()
            ),
            *(
                Promise(f"stocks that {name} knows, and are so", len(stock), _known(stock, told))
                for name, told in arrivals.items()
            ),
        ],
    )


def _known(stock: dict[str, int], arrivals: Iterable[Arrival]) -> int:
    """Of how many products the last update that arrived tells the stock that there is."""
    updates = [json.loads(arrival.payload) for arrival in arrivals]
    last = {update["product"]: update["onHand"] for update in updates}
    return sum(last.get(product) == on_hand for product, on_hand in stock.items())
