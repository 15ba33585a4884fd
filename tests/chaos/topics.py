"""Reads topics to their end as a consumer does that reads only what was committed."""

import time
from collections.abc import Iterator
from zlib import crc32

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.chaos.checker import Arrival

ANSWER_TIMEOUT_SECONDS = 10
# A transaction that its relay left behind holds readers back until Kafka gives it up.
READ_TIMEOUT_SECONDS = 120


def read(bootstrap_servers: str, topic: str, channel: str) -> Iterator[Arrival]:
    """Everything in a topic up to now, each partition in the order of its offsets.

    Raises TimeoutError where its end is out of reach for two minutes, KafkaException for no answer.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "chaos.checker",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 20,
            "log_level": 2,
        }
    )
    try:
        metadata = consumer.list_topics(topic, timeout=ANSWER_TIMEOUT_SECONDS).topics[topic]
        if metadata.error is not None:
            raise KafkaException(metadata.error)
        for partition in sorted(metadata.partitions):
            yield from _read_partition(consumer, TopicPartition(topic, partition, 0), channel)
    finally:
        consumer.close()


def _read_partition(
    consumer: Consumer, partition: TopicPartition, channel: str
) -> Iterator[Arrival]:
    _, end = consumer.get_watermark_offsets(partition, timeout=ANSWER_TIMEOUT_SECONDS)
    consumer.assign([partition])
    deadline = time.monotonic() + READ_TIMEOUT_SECONDS
    offset = 0
    while offset < end:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{partition.topic}[{partition.partition}]: {offset} of {end} read")
        for message in consumer.consume(10_000, timeout=0.2):
            error = message.error()
            if error is None:
                yield _arrival(message, channel)
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            # Control records are no messages: only the end of the partition tells of the last one.
            # It lies below `end` while a transaction is open.
            offset = max(offset, (message.offset() or 0) + (error is None))


def _arrival(message: Message, channel: str) -> Arrival:
    found = [value for name, value in headers(message) if name == "idempotency-key"]
    key, value = message.key(), message.value()
    return Arrival(
        channel,
        message.partition() or 0,
        message.offset() or 0,
        key.encode() if isinstance(key, str) else key,
        found[0].decode() if len(found) == 1 else None,
        crc32(value.encode() if isinstance(value, str) else value or b""),
    )


def headers(message: Message) -> list[tuple[str, bytes]]:
    """The headers that have a value."""
    found = message.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    return [
        (name, value.encode() if isinstance(value, str) else value)
        for name, value in pairs
        if value is not None
    ]
