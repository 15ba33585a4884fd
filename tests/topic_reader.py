"""Reads topics to their end: what a consumer that was there from the start has seen."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.eventually import eventually

# What a consumer sees of transactions: those that committed, or whatever was written.
Isolation = Literal["read_committed", "read_uncommitted"]

ANSWER_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
# What a broker says for a moment of a topic that was just made, and after its own start.
LEADERLESS = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)


class Arrival(NamedTuple):
    """One message as a topic holds it. `idempotency_key` is the header of that name."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]

    @property
    def idempotency_key(self) -> str:
        found = [value for name, value in self.headers if name == "idempotency-key"]
        assert len(found) == 1, f"{self} has {len(found)} idempotency keys"
        return found[0].decode()


def read_topic(
    bootstrap_servers: str, topic: str, isolation: Isolation = "read_committed"
) -> list[Arrival]:
    """Everything in a topic up to now, partition by partition, each in the order of its offsets.

    Without transactions both isolations see the same. A committed reader ends before the first
    message of a transaction that is still open.
    Raises AssertionError where the end takes more than a minute, KafkaException for no answer.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "tests.topic_reader",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 2,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=ANSWER_TIMEOUT_SECONDS).topics[topic]
        assert partitions.error is None, partitions.error
        arrivals = []
        for partition in sorted(partitions.partitions):
            arrivals += list(_read_partition(consumer, TopicPartition(topic, partition, 0)))
        return arrivals
    finally:
        consumer.close()


def _read_partition(consumer: Consumer, partition: TopicPartition) -> Iterator[Arrival]:
    """Reads until the consumer says that it is there.

    Only it knows: what stands before the end may be a gap, an aborted message or a marker.
    """
    end = eventually(lambda: _end(consumer, partition))
    if end == 0:
        return
    consumer.assign([partition])
    deadline = time.monotonic() + READ_TIMEOUT_SECONDS
    while True:
        assert time.monotonic() < deadline, f"{partition} was not read to {end}"
        for message in consumer.consume(10_000, timeout=0.1):
            error = message.error()
            if error is None:
                yield _arrival(message)
                continue
            assert error.code() == KafkaError._PARTITION_EOF, error
            at = message.offset()
            assert at is not None
            if at >= end:
                return


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    """The offset behind the last message. Raises AssertionError while it has no leader."""
    try:
        _, end = consumer.get_watermark_offsets(partition, timeout=ANSWER_TIMEOUT_SECONDS)
    except KafkaException as refused:
        if refused.args[0].code() in LEADERLESS:
            raise AssertionError(str(refused)) from refused
        raise
    return int(end)


def _arrival(message: Message) -> Arrival:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    key, value = message.key(), message.value()
    headers: list[tuple[str, bytes]] = []
    found: Any = message.headers() or []
    for name, header in found:
        assert isinstance(header, bytes)
        headers.append((name, header))
    assert key is None or isinstance(key, bytes)
    assert isinstance(value, bytes)
    return Arrival(topic, partition, offset, key, value, headers)


def first_arrivals(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Without the repeats: what is left to a consumer that drops the keys that it has seen."""
    seen: set[str] = set()
    first = []
    for arrival in arrivals:
        if arrival.idempotency_key not in seen:
            seen.add(arrival.idempotency_key)
            first.append(arrival)
    return first


def by_key(arrivals: Sequence[Arrival]) -> dict[bytes | None, list[Arrival]]:
    """The arrivals of each key, in the order of their partition."""
    keyed: dict[bytes | None, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        keyed[arrival.key].append(arrival)
    return keyed
