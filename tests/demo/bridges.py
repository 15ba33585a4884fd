"""Messages of inventory's log as connectors carry them: to another Kafka and to a FIFO queue."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from confluent_kafka import Producer

from demo.consumers import inventory
from demo.places import Places
from local.elasticmq import Queues


class Update(NamedTuple):
    """A message of inventory.updates."""

    group_key: str
    key: str
    payload: bytes


UPDATES = """
    select group_key, idempotency_key, payload from outbox.message where channel = %s order by id
"""


def updates(books: Any) -> list[Update]:
    """All that is in the log."""
    return [Update(*row) for row in books.execute(UPDATES, [inventory.CHANNEL])]


def to_kafka(places: Places, those: Iterable[Update]) -> None:
    """Writes them to the other Kafka, in their order."""
    producer = Producer({"bootstrap.servers": places.other_bootstrap_servers})
    for one in those:
        headers: dict[str, Any] = {"idempotency-key": one.key}
        producer.produce(places.other_topic, one.payload, one.group_key, headers=headers)
    assert producer.flush(10) == 0


def to_queue(places: Places, server: Queues, those: Iterable[Update]) -> None:
    """Sends them to the queue, in their order, none of them known to it."""
    for number, one in enumerate(those):
        server.ask(
            "SendMessage",
            QueueUrl=places.queue.url,
            MessageBody=one.payload.decode(),
            MessageGroupId=one.group_key.replace(" ", "-"),
            MessageDeduplicationId=str(number),
            MessageAttributes={"idempotency-key": {"DataType": "String", "StringValue": one.key}},
        )
