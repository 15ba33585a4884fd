"""Promises of the connectors' reckoning: whatever is off, it says so."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from demo.bridged import Bridged, reckon_bridged
from demo.comparison import Published
from demo.consumers.inventory import DEDUCT
from demo.places import Places
from demo.queue import Queue
from demo.reckoning import LOG
from demo.topics import Topics
from local.elasticmq import Queues
from tests.conftest import CreateTopic
from tests.demo import bridges
from tests.demo.bridges import Update

WAREHOUSE, PURCHASING = "warehouse: another Kafka", "purchasing: a FIFO queue"
KNOWN = "stocks that {} knows, and are so"


class Bridges:
    """Three updates, two of them of one product, in inventory's log."""

    def __init__(self, places: Places, books: Any, server: Queues) -> None:
        self.places = places
        self.books = books
        self.server = server
        for product in ("espresso", "house blend 250 g", "espresso"):
            books.execute(DEDUCT, [1, product])
        self.updates = bridges.updates(books)

    def to_kafka(self, *those: Update) -> None:
        bridges.to_kafka(self.places, those)

    def to_queue(self, *those: Update) -> None:
        bridges.to_queue(self.places, self.server, those)

    def reckon(self) -> Bridged:
        log = [Published(*row) for row in self.books.execute(LOG)]
        return reckon_bridged(self.places, self.books, log)

    def wrong(self) -> list[str]:
        """What the reckoning finds off."""
        found = self.reckon()
        names = [each.name for each in found.deliveries if not each.right]
        return names + [each.what for each in found.promises if not each.right]


@pytest.fixture
def there(
    inventory_url: str,
    kafka: str,
    create_topic: CreateTopic,
    topic_prefix: str,
    elasticmq: Queues,
) -> Iterator[Bridges]:
    name = f"{topic_prefix.removesuffix('.')}.fifo"
    elasticmq.create_queue(name)
    queue = Queue(elasticmq.url(name), elasticmq.ask)
    places = Places("", {}, "", topic_prefix, {}, kafka, queue)
    create_topic("stock")
    with psycopg.connect(inventory_url, autocommit=True) as books:
        yield Bridges(places, books, elasticmq)


def test_nothing_is_off_when_all_updates_arrived_once_and_in_order(there: Bridges) -> None:
    there.to_kafka(*there.updates)
    there.to_queue(*there.updates)
    assert there.wrong() == []
    assert [each.delivered for each in there.reckon().deliveries] == [3, 3]


def test_an_update_that_never_arrived_is_off(there: Bridges) -> None:
    there.to_kafka(*there.updates[1:])
    there.to_queue(*there.updates[:-1])
    assert there.wrong() == [WAREHOUSE, PURCHASING, KNOWN.format("purchasing")]


def test_updates_of_a_product_that_changed_places_are_off(there: Bridges) -> None:
    first, other, last = there.updates
    there.to_kafka(last, other, first)
    there.to_queue(other, first, last)
    assert there.wrong() == [WAREHOUSE, KNOWN.format("warehouse")]


@pytest.mark.parametrize(("kafka_repeats", "queue_repeats"), [(1, 0), (0, 1)])
def test_an_update_that_came_twice_is_off(
    there: Bridges, kafka_repeats: int, queue_repeats: int
) -> None:
    there.to_kafka(*there.updates, *there.updates[-1:] * kafka_repeats)
    there.to_queue(*there.updates, *there.updates[-1:] * queue_repeats)
    to = "another Kafka" if kafka_repeats else "a FIFO queue"
    assert there.wrong() == [f"repeats in {to}, exactly once"]


def test_an_update_that_was_rolled_back_and_arrived_is_off(there: Bridges) -> None:
    ghost = there.updates[1]._replace(key="uncommitted")
    there.to_kafka(*there.updates, ghost)
    there.to_queue(*there.updates, ghost)
    assert there.wrong() == [WAREHOUSE, PURCHASING]


def test_another_stock_than_there_is_is_off(there: Bridges) -> None:
    payload = there.updates[-1].payload.replace(b"4998", b"4997")
    altered = there.updates[-1]._replace(payload=payload)
    there.to_kafka(*there.updates)
    there.to_queue(*there.updates[:-1], altered)
    assert there.wrong() == [KNOWN.format("purchasing")]


def test_a_topic_is_read_to_its_end_behind_the_marks_of_transactions(there: Bridges) -> None:
    topic = there.places.other_topic
    servers = there.places.other_bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions(30)
    for key in ("committed", "aborted"):
        producer.begin_transaction()
        headers: dict[str, Any] = {"idempotency-key": key}
        producer.produce(topic, b"{}", "g", headers=headers)
        assert producer.flush(10) == 0
        if key == "committed":
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    with closing(Topics(servers, [topic])) as reader:
        assert [each.idempotency_key for each in reader.read()] == ["committed"]
        assert reader.counts() == {topic: 1}
