"""What a consumer can see of a topic: how far it may read, and which messages are there."""

import re
import time

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

Offsets = dict[int, int]
# Partition and offset of the first arrival of each message.
Places = dict[int, tuple[int, int]]
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]

TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
WATCH_INTERVAL_SECONDS = 0.01
FETCH_MESSAGES = 10_000
# Relays that decode a message and encode it again may leave the blank out.
NUMBER = re.compile(rb'"n": ?(\d+)')


class Topic:
    """One topic, as a read_committed consumer sees it."""

    def __init__(self, bootstrap_servers: str, name: str) -> None:
        self.name = name
        self._bootstrap_servers = bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
        self._partitions = [TopicPartition(name, partition) for partition in self._described()]

    def _described(self) -> list[int]:
        """Its partitions; of a new topic a broker knows none for a moment. Raises RuntimeError."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            described = self._admin.list_topics(self.name, timeout=TIMEOUT_SECONDS)
            if partitions := list(described.topics[self.name].partitions):
                return partitions
            time.sleep(WATCH_INTERVAL_SECONDS)
        raise RuntimeError(f"{self.name} has no partitions after {TIMEOUT_SECONDS} s")

    def ends(self) -> Offsets:
        """The last stable offset of each partition: what an open transaction wrote is not yet in.

        Asking costs the broker next to nothing, where a consumer would take a share of the machine
        from the relay that is measured. Raises KafkaException.
        """
        answers = self._admin.list_offsets(
            {partition: LATEST for partition in self._partitions},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=TIMEOUT_SECONDS,
        )
        return {
            partition.partition: answer.result(TIMEOUT_SECONDS).offset
            for partition, answer in answers.items()
        }

    def read(self, start: Offsets, ends: Offsets, first: Places) -> None:
        """Notes where each message came first. Raises KafkaException and RuntimeError."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "group.id": "bench",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        consumer.assign(
            [TopicPartition(self.name, partition, offset) for partition, offset in start.items()]
        )
        behind = {partition for partition in start if start[partition] < ends[partition]}
        deadline = time.monotonic() + READ_TIMEOUT_SECONDS
        try:
            while behind:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} can't be read in {READ_TIMEOUT_SECONDS} s")
                for message in consumer.consume(FETCH_MESSAGES, timeout=0.5):
                    partition, offset, value = _opened(message)
                    if offset < ends[partition] and (found := NUMBER.search(value)):
                        first.setdefault(int(found[1]), (partition, offset))
                    if offset >= ends[partition] - 1:
                        behind.discard(partition)
        finally:
            consumer.close()

    def delete(self) -> None:
        """Gives its disk back: a run would leave gigabytes. Raises KafkaException."""
        self._admin.delete_topics([self.name])[self.name].result(TIMEOUT_SECONDS)


class Arrivals:
    """The messages 1 to `messages`, on their way into a topic that ended at `start`."""

    def __init__(self, topic: Topic, start: Offsets, messages: int, timeout_seconds: float) -> None:
        self._topic = topic
        self._start = start
        self._messages = messages
        self._timeout_seconds = timeout_seconds
        self._deadline = time.monotonic() + timeout_seconds
        self._seen = [(time.monotonic(), start)]
        self._read = start
        self._first: Places = {}

    def settle(self, seconds: float) -> None:
        """Until they may all be there, and for so long nothing more has come."""
        while time.monotonic() < self._deadline:
            at, ends = time.monotonic(), self._topic.ends()
            if ends != self._seen[-1][1]:
                self._seen.append((time.monotonic(), ends))
            elif _between(self._start, ends) >= self._messages and at > self._seen[-1][0] + seconds:
                return
            time.sleep(WATCH_INTERVAL_SECONDS)

    def ended_at(self) -> float | None:
        """When, by the monotonic clock, the last of them could be read; None if not yet.

        Repeats and the marks of transactions take up offsets too: only reading tells. Raises
        RuntimeError with what has come where the time is over.
        """
        ends = self._seen[-1][1]
        self._topic.read(self._read, ends, self._first)
        self._read = ends
        if len(self._first) == self._messages:
            return reached(self._seen, self._first)
        if time.monotonic() > self._deadline:
            raise RuntimeError(
                f"{len(self._first):,} of {self._messages:,} messages came within "
                f"{self._timeout_seconds:.0f} s"
            )
        return None


def _opened(message: Message) -> tuple[int, int, bytes]:
    """Partition, offset and value; at a partition's end the offset that comes next, no value."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    if error := message.error():
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        return partition, offset, b""
    return partition, offset, message.value() or b""


def _between(start: Offsets, ends: Offsets) -> int:
    return sum(ends[partition] - offset for partition, offset in start.items())


def reached(seen: list[tuple[float, Offsets]], first: Places) -> float:
    """When all first arrivals could be read; what is behind the last of them are repeats."""
    needed: Offsets = {}
    for partition, offset in first.values():
        needed[partition] = max(needed.get(partition, 0), offset + 1)
    return next(
        at
        for at, ends in seen
        if all(ends[partition] >= offset for partition, offset in needed.items())
    )
