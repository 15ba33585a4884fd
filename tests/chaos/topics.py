"""Makes many topics at once, and reads topics to their end as a consumer does that reads only what
was committed."""

import time
from collections.abc import Iterator, Mapping
from zlib import crc32

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.chaos.checker import Arrival

MAKE_TIMEOUT_SECONDS = 60
ANSWER_TIMEOUT_SECONDS = 10
# A transaction that its relay left behind holds readers back until Kafka gives it up.
READ_TIMEOUT_SECONDS = 120


def make(bootstrap_servers: str, topics: Mapping[str, Mapping[str, str]]) -> None:
    """Each with its settings and one partition. Raises KafkaException."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
    new = [
        NewTopic(name, num_partitions=1, replication_factor=1, config=dict(config))
        for name, config in topics.items()
    ]
    timeout = MAKE_TIMEOUT_SECONDS
    answers = admin.create_topics(new, operation_timeout=timeout, request_timeout=timeout)
    for answer in answers.values():
        answer.result(timeout)


def read(bootstrap_servers: str, topics: Mapping[str, str]) -> Iterator[Arrival]:
    """Everything up to now in topics, each with its channel, and each partition in the order of its
    offsets.

    Raises TimeoutError where nothing comes for two minutes before their ends, KafkaException for no
    answer.
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
        ends = _ends(consumer, topics)
        consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in ends])
        yield from _read(consumer, ends, topics)
    finally:
        consumer.close()


def _ends(consumer: Consumer, topics: Mapping[str, str]) -> dict[tuple[str, int], int]:
    """Of each partition that has one, its end: the offset of what comes next."""
    metadata = consumer.list_topics(timeout=ANSWER_TIMEOUT_SECONDS)
    ends = {}
    for topic in topics:
        found = metadata.topics.get(topic)
        if found is None:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        for partition in found.partitions:
            _, end = consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=ANSWER_TIMEOUT_SECONDS
            )
            if end > 0:
                ends[topic, partition] = end
    return ends


def _read(
    consumer: Consumer, ends: Mapping[tuple[str, int], int], topics: Mapping[str, str]
) -> Iterator[Arrival]:
    deadline = time.monotonic() + READ_TIMEOUT_SECONDS
    left = dict(ends)
    while left:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the ends {left} are out of reach")
        for message in consumer.consume(1_000, timeout=0.05):
            error = message.error()
            topic, offset = message.topic() or "", message.offset() or 0
            if error is None:
                deadline = time.monotonic() + READ_TIMEOUT_SECONDS
                yield _arrival(message, topics[topic])
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            # Control records are no messages: only the end of the partition tells of the last one.
            # It lies below `end` while a transaction is open.
            partition = topic, message.partition() or 0
            if offset + (error is None) >= ends[partition]:
                left.pop(partition, None)


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
