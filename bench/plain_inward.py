"""The ceiling of what enters: a loop that consumes and copies, with no position and no check."""

import sys
from typing import Any

import msgspec
import psycopg
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from relay.sources.entering import COPY, TYPES

BATCH_RECORDS = 20_000
PATIENCE_SECONDS = 30


def nothing(message: Message) -> None:
    """Of a record, without a look at it."""


def json_of(message: Message) -> str:
    """Those of its event, by the names that the log takes."""
    headers: Any = message.headers()
    event = {
        name.replace("ce_", "event-"): value.decode()
        for name, value in headers
        if name.startswith("ce_")
    }
    return msgspec.json.encode(event).decode()


def main(database_url: str, bootstrap_servers: str, topic: str, count: str, headers: str) -> None:
    """Prints how many are in after each batch. `headers` 1: with the records' own, as JSON."""
    encoded = json_of if headers == "1" else nothing
    left = wanted = int(count)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 5,
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    messages = consumer.consume(1, PATIENCE_SECONDS)
    with psycopg.connect(database_url) as connection:
        while left:
            with connection.cursor() as cursor, cursor.copy(COPY) as copy:
                copy.set_types(TYPES)
                for message in messages:
                    if error := message.error():
                        raise KafkaException(error)
                    place = f"{topic}-{message.partition()}-{message.offset()}"
                    key = message.key()
                    text = key.decode() if isinstance(key, bytes) else key
                    kind = "application/json"
                    copy.write_row(
                        (3, "bare", topic, text, place, encoded(message), kind, message.value())
                    )
            connection.commit()
            left -= len(messages)
            print(wanted - left, flush=True)
            messages = consumer.consume(min(BATCH_RECORDS, left), 0.2) if left else []


if __name__ == "__main__":
    main(*sys.argv[1:])
