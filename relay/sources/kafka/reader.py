"""Reads one topic: what it holds at the partitions and offsets that it is told, and no group."""

import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from relay.kafka import errors
from relay.kafka.connectors import other_cluster
from relay.kafka.producers import DEFAULTS, LIBRARY
from relay.log.sink import SinkAway
from relay.settings import Settings
from relay.sources.record import Record

CONSTANTS: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # What is gone is said, and never guessed.
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "log_level": 2,
    "logger": LIBRARY,
}
# What is held of the topic at once: read ahead, and one answer to a fetch. librdkafka counts values
# alone as kilobytes: of records that are all headers their number is the bound.
READING: dict[str, Any] = {
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 100,
    "fetch.max.bytes": 8_388_608,
    # A full queue else stops fetching for a second.
    "fetch.queue.backoff.ms": 5,
}
# Another cluster may not be what it says it is: so large may one answer of it be.
OF_OTHERS: dict[str, Any] = {"receive.message.max.bytes": 33_554_432}
# Of a producer, which a consumer would complain about.
OF_PRODUCERS = ("linger.ms", "queue.buffering.max.kbytes")
ASK_SECONDS = 5.0
MAX_BATCH_BYTES = 8_388_608
MAX_BATCH_RECORDS = 10_000
# So many are taken out of librdkafka's queue at once. It makes megabytes of the headers of one, and
# gives none at all where they are more than 100,000.
SLICE = 8
# What is on its way when the first record of a batch is there. From then on a batch takes so long
# at most; and so long where records come one by one, each of which waits for it.
MORE_SECONDS = 0.003
MAX_BATCH_SECONDS = 0.2
TRICKLE_SECONDS = 0.02
# Said of groups, of which there is none.
NOT_OURS = frozenset({KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError._PARTITION_EOF})
GONE = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._LOG_TRUNCATION,
    }
)
ABSENT = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})

EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]

# The offset that is told where nothing of the time, or later, is there yet.
NOTHING_SO_LATE = -1


class OffsetGone(Exception):
    """A partition does not have the offset that was asked for; `cut`: its log was cut short."""

    def __init__(self, partition: int, *, cut: bool) -> None:
        super().__init__(partition)
        self.partition = partition
        self.cut = cut


class Absent(SinkAway):
    """There is no such topic."""


class LastError:
    """What a client said last. It is no part of the reader: in a circle with it a client, its
    threads and sockets, would last until the next collection.
    """

    def __init__(self) -> None:
        self.text = ""

    def note(self, error: KafkaError) -> None:
        if error.code() not in NOT_OURS:
            self.text = f"{error.name()}: {error.str()}"


class Reader:
    """`group` is a name that Kafka may log; nothing is committed under it."""

    def __init__(self, properties: dict[str, Any], topic: str, group: str) -> None:
        self.topic = topic
        self._last_error = LastError()
        common: dict[str, Any] = {
            name: value for name, value in properties.items() if name not in OF_PRODUCERS
        }
        common["error_cb"] = self._last_error.note
        try:
            self._admin = AdminClient(common)
            self._consumer = Consumer({**READING, **common, **CONSTANTS, "group.id": group})
        except KafkaException as refused:
            # As for a certificate that is none.
            raise SinkAway(refused.args[0].str()) from refused
        # Where each partition ended when it was read to its end, by partition.
        self.ends: dict[int, int] = {}
        # What the next batch begins with.
        self._unread: list[Message] = []

    def close(self) -> None:
        """Ends the session with the cluster."""
        self._consumer.close()

    def ask_topic(self) -> "Future[Any]":
        """What the cluster says of the topic, for `told`."""
        topics = TopicCollection([self.topic])
        answer = self._admin.describe_topics(topics, request_timeout=ASK_SECONDS)
        return answer[self.topic]

    def told(self, asked: "Future[Any]") -> tuple[str, list[int]]:
        """The topic's id and its partitions. Raises SinkAway where it is not there to be read."""
        found = self._answer(asked)
        return str(found.topic_id), sorted(one.id for one in found.partitions)

    def offsets(self, partitions: Collection[int], start: str) -> dict[int, int]:
        """Where `earliest`, `latest` or a time is, in each partition. Raises SinkAway."""
        if start == "earliest":
            return self._offsets(partitions, EARLIEST)
        ends = self._offsets(partitions, LATEST)
        if start == "latest":
            return ends
        # Below zero Kafka means other places.
        milliseconds = max(int(datetime.fromisoformat(start).timestamp() * 1000), 0)
        wanted = OffsetSpec.for_timestamp(milliseconds)
        found = self._offsets(partitions, wanted, lowest=NOTHING_SO_LATE)
        return {
            one: ends[one] if offset == NOTHING_SO_LATE else offset for one, offset in found.items()
        }

    def ends_of(self, partitions: Collection[int]) -> dict[int, int]:
        """Where these end; one that has no leader is left out. Raises SinkAway where all have none.

        A partition that can't be asked now must not hold up the others.
        """
        found: dict[int, int] = {}
        fault: SinkAway | None = None
        for one, answer in self._ask_offsets(partitions, LATEST).items():
            try:
                found[one] = self._offset(answer, lowest=0)
            except SinkAway as away:
                fault = away
        if fault is not None and not found:
            raise fault
        return found

    def _offsets(
        self, partitions: Collection[int], wanted: OffsetSpec, *, lowest: int = 0
    ) -> dict[int, int]:
        asked = self._ask_offsets(partitions, wanted)
        return {one: self._offset(answer, lowest) for one, answer in asked.items()}

    def _offset(self, answer: "Future[Any]", lowest: int) -> int:
        offset = int(self._answer(answer).offset)
        # librdkafka gives no error, and no offset, where the broker goes away before it answers.
        if offset < lowest:
            raise self._away("no answer")
        return offset

    def _ask_offsets(
        self, partitions: Collection[int], wanted: OffsetSpec
    ) -> "dict[int, Future[Any]]":
        if not partitions:
            return {}
        answers = self._admin.list_offsets(
            {TopicPartition(self.topic, one): wanted for one in partitions},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=ASK_SECONDS,
        )
        return {one.partition: answer for one, answer in answers.items()}

    def read_from(self, offsets: Mapping[int, int]) -> None:
        """From now on these partitions, from these offsets on."""
        self.ends.clear()
        self._unread = []
        self._consumer.assign(
            [TopicPartition(self.topic, one, offset) for one, offset in offsets.items()]
        )

    def end_of(self, partition: int) -> int:
        """The end as the last fetch told it, at no cost; -1 where it is not known."""
        place = TopicPartition(self.topic, partition)
        return self._consumer.get_watermark_offsets(place, cached=True)[1]

    def range_of(self, partition: int) -> tuple[int, int]:
        """The lowest offset and the end, asked of the broker. Raises SinkAway."""
        place = TopicPartition(self.topic, partition)
        try:
            low, high = self._consumer.get_watermark_offsets(place, timeout=ASK_SECONDS)
        except KafkaException as fault:
            raise self._away(fault.args[0].str()) from fault
        return low, high

    def wait(self, seconds: float) -> bool:
        """Waits so long for a record, and keeps it for `records`: whether there is one.

        A partition's end is noted in `ends`. Raises OffsetGone and SinkAway.
        """
        messages = self._unread or self._first(seconds)
        while messages:
            for place, message in enumerate(messages):
                if not self._notes(message):
                    self._unread = messages[place:]
                    return True
            messages = self._consumer.consume(SLICE, MORE_SECONDS)
        self._unread = []
        return False

    def records(self) -> Iterator[Record]:
        """A batch: what is there next of each partition, in its order, as it comes.

        A partition's end is noted in `ends`. Raises as `wait`.
        """
        size = records = 0
        messages, self._unread = self._unread, []
        began_at = time.monotonic()
        while messages:
            for place, message in enumerate(messages):
                if size >= MAX_BATCH_BYTES:
                    # The headers of a message take up memory once they are looked at.
                    self._unread = messages[place:]
                    return
                if not self._notes(message):
                    record = self._record(message)
                    size += record.size
                    records += 1
                    yield record
            taken = time.monotonic() - began_at
            if records >= MAX_BATCH_RECORDS or taken > MAX_BATCH_SECONDS:
                return
            # Then a batch waits for nothing more, and ends with what is there.
            trickles = taken > TRICKLE_SECONDS
            if trickles and len(messages) < SLICE:
                return
            messages = self._consumer.consume(SLICE, 0 if trickles else MORE_SECONDS)

    def _first(self, wait_seconds: float) -> list[Message]:
        message = self._consumer.poll(wait_seconds)
        return [] if message is None else [message]

    def _notes(self, message: Message) -> bool:
        """Whether it is no record but a word of its partition, which is noted. Raises as `wait`."""
        error = message.error()
        if error is None:
            return False
        partition = message.partition()
        if error.code() == KafkaError._PARTITION_EOF and partition is not None:
            self.ends[partition] = message.offset() or 0
        elif error.code() in GONE and partition is not None:
            raise OffsetGone(partition, cut=error.code() == KafkaError._LOG_TRUNCATION)
        elif error.code() not in NOT_OURS:
            raise SinkAway(f"{error.name()}: {error.str()}")
        return True

    def _record(self, message: Message) -> Record:
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        if self.ends:
            self.ends.pop(partition, None)
        key: Any = message.key()
        value: Any = message.value()
        try:
            headers: Any = message.headers() or ()
        except UnicodeDecodeError:
            # A header's name is no text: none of them can be had.
            headers = ()
        return Record(self.topic, partition, offset, key, value, headers)

    def _answer(self, asked: "Future[Any]") -> Any:
        try:
            return asked.result(ASK_SECONDS + 1)
        except KafkaException as failed:
            error = failed.args[0]
            if error.code() in errors.MISSING:
                kind = Absent if error.code() in ABSENT else SinkAway
                words = f"topic {self.topic} does not exist, or may not be read"
                raise kind(f"{error.name()}: {words}") from failed
            raise self._away(error.str()) from failed
        except TimeoutError as failed:
            raise self._away("no answer") from failed

    def _away(self, otherwise: str) -> SinkAway:
        return SinkAway(self._last_error.text or otherwise)


def properties_of(cluster: str, settings: Settings, made_by: str | None = None) -> dict[str, Any]:
    """Of the cluster that a connector names, or of the relay's own.

    Raises SinkAway where the environment names none, and as other_cluster.properties.
    """
    if cluster:
        return {**other_cluster.properties(cluster, settings, made_by), **OF_OTHERS}
    if "bootstrap.servers" not in settings.kafka:
        raise SinkAway("KAFKA_BOOTSTRAP_SERVERS is not set")
    return {**DEFAULTS, **settings.kafka}
