"""What is in the topics, read as any consumer would read it."""

import time
from collections.abc import Sequence

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from demo.consumers.consumer import idempotency_key, payload_of

ASK_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0
AGAIN_SECONDS = 0.1
AT_ONCE = 1_000


class Arrival(msgspec.Struct, frozen=True):
    """A record of a topic. Arrivals of one group come in the order of their offsets."""

    topic: str
    group_key: str | None
    idempotency_key: str
    payload: bytes


class Topics:
    """A reader that belongs to no group and commits nothing; it sees only what committed.

    `arrivals` is what it has read so far.
    """

    def __init__(self, bootstrap_servers: str, names: Sequence[str]) -> None:
        """Raises KafkaException, TimeoutError."""
        self.names = names
        self.arrivals: list[Arrival] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "demo.reader",  # Asked for by librdkafka, not used.
                "enable.auto.commit": False,
                # Marks of transactions are no messages: only the end tells of the last one.
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "log_level": 2,
            }
        )
        places = [(name, partition) for name in names for partition in self._partitions(name)]
        self._unread = set(places)
        self._consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])

    def close(self) -> None:
        self._consumer.close()

    def counts(self) -> dict[str, int]:
        """How many records of each topic have come here by now. Raises KafkaException."""
        while self._take(0):
            pass
        counts = dict.fromkeys(self.names, 0)
        for arrival in self.arrivals:
            counts[arrival.topic] += 1
        return counts

    def read(self) -> list[Arrival]:
        """Every record from the first to what is the last now, of a new reader.

        Raises KafkaException, TimeoutError.
        """
        deadline = time.monotonic() + READ_TIMEOUT_SECONDS
        while self._unread:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not read to the end in time: {self._unread}")
            self._take(0.1)
        return self.arrivals

    def _take(self, timeout_seconds: float) -> int:
        """How many events there were."""
        messages = self._consumer.consume(AT_ONCE, timeout_seconds)
        for message in messages:
            name, error = message.topic(), message.error()
            if error is None:
                key = message.key()
                group_key = key.decode() if isinstance(key, bytes) else key
                assert name is not None
                arrival = Arrival(name, group_key, idempotency_key(message), payload_of(message))
                self.arrivals.append(arrival)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._unread.discard((name, message.partition()))
            elif error.fatal():
                raise KafkaException(error)
        return len(messages)

    def _partitions(self, name: str) -> list[int]:
        """Of a topic, which may be so new that not every broker knows it yet."""
        deadline = time.monotonic() + ASK_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            found = self._consumer.list_topics(name, timeout=ASK_TIMEOUT_SECONDS).topics[name]
            if found.error is None and found.partitions:
                return list(found.partitions)
            time.sleep(AGAIN_SECONDS)
        raise TimeoutError(f"topic {name} is not there")
