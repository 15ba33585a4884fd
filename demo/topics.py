"""What is in the topics, read as any consumer would read it."""

import time

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from demo.consumers.consumer import idempotency_key

ASK_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0


class Arrival(msgspec.Struct, frozen=True):
    """A record of a topic. Arrivals of one group come in the order of their offsets."""

    topic: str
    group_key: str | None
    idempotency_key: str


class Topics:
    """A reader that belongs to no group and commits nothing."""

    def __init__(self, bootstrap_servers: str, names: list[str]) -> None:
        self.names = names
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "demo.reader",  # Asked for by librdkafka, not used.
                "enable.auto.commit": False,
                "log_level": 2,
            }
        )

    def close(self) -> None:
        self._consumer.close()

    def counts(self) -> dict[str, int]:
        """How many records each topic holds. Raises KafkaException."""
        return {name: sum(high for _, high in self._ends(name)) for name in self.names}

    def read(self) -> list[Arrival]:
        """Every record from the first to what is the last now.

        Raises KafkaException, TimeoutError.
        """
        ends = {
            (name, partition): high
            for name in self.names
            for partition, high in self._ends(name)
            if high > 0
        }
        self._consumer.assign(
            [TopicPartition(name, partition, OFFSET_BEGINNING) for name, partition in ends]
        )
        arrivals = []
        deadline = time.monotonic() + READ_TIMEOUT_SECONDS
        while ends:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not read to the end in time: {list(ends)}")
            for message in self._consumer.consume(1000, timeout=0.1):
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                name, partition, offset = message.topic(), message.partition(), message.offset()
                assert name is not None
                assert partition is not None
                assert offset is not None
                key = message.key()
                group_key = key.decode() if isinstance(key, bytes) else key
                arrivals.append(Arrival(name, group_key, idempotency_key(message)))
                if offset + 1 >= ends.get((name, partition), 0):
                    ends.pop((name, partition), None)
        return arrivals

    def _ends(self, name: str) -> list[tuple[int, int]]:
        """Each partition of a topic, and the offset that its next record will have."""
        metadata = self._consumer.list_topics(name, timeout=ASK_TIMEOUT_SECONDS)
        ends = []
        for partition in metadata.topics[name].partitions:
            marks = self._consumer.get_watermark_offsets(
                TopicPartition(name, partition), timeout=ASK_TIMEOUT_SECONDS
            )
            ends.append((partition, marks[1]))
        return ends
