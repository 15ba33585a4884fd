"""Kafka: a run is produced as it is read, and confirmed by one barrier at its end."""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from relay.settings import Settings
from relay.sink import Blocked, Dead, Outcome, Row, SinkAway, Stopped, microseconds
from relay.sinks.topics import (
    ASK_TIMEOUT_SECONDS,
    DEFAULT_LIMIT_BYTES,
    TOPIC_ERRORS,
    Missing,
    Topic,
    Topics,
)

log = structlog.get_logger()

# What holds the guarantee; nobody may set it otherwise.
CONSTANTS: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    # Keys land where Java clients expect them.
    "partitioner": "murmur2_random",
    "delivery.report.only.error": True,
    # Above every other bound: a message that expired alone would leave a gap, and its repeat would
    # come behind its successors. A run is given up as a whole or not at all.
    "message.timeout.ms": 600_000,
    "message.max.bytes": DEFAULT_LIMIT_BYTES,
}
# What the environment may change: see Settings.
DEFAULTS: dict[str, Any] = {
    "client.id": "outbox-relay",
    # A mistyped channel must not become a topic.
    "allow.auto.create.topics": False,
    # Full speed within a second or two of a broker's return.
    "reconnect.backoff.max.ms": 1000,
    "socket.keepalive.enable": True,
    "log_level": 3,
}
# librdkafka's default; and what a batch costs besides its messages.
BATCH_BYTES = 1_000_000
BATCH_OVERHEAD_BYTES = 512
# After a signal to stop, what is in flight gets this long to be acknowledged.
STOP_SECONDS = 4.0
SLICE_SECONDS = 0.2

# A broker says these of a message (or of the batch that it came in), and would say them for ever.
NEVER = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError._INVALID_DIFFERENT_RECORD,
    }
)

_headers = msgspec.json.Decoder(dict[str, str])


class Lane(msgspec.Struct, frozen=True):
    """A topic with the producer that serves it, and its bound method: one lookup a message."""

    topic: Topic
    producer: Producer
    produce: Callable[..., None]


class KafkaSink:
    """One cluster.

    Its producers differ only in batch.size: a batch above its topic's limit would fail with all its
    good messages, so a topic with a small limit gets a producer with small batches.
    """

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._properties = {**DEFAULTS, **settings.kafka}
        self._barrier_seconds = settings.barrier_seconds
        self._grace_seconds = settings.topic_grace_seconds
        self._source = settings.event_source.encode()
        self._stop = stop
        self._topics = Topics(self._properties, settings.topic_prefix)
        self._producers: dict[int, Producer] = {}
        self._lanes: dict[bytes, Lane] = {}
        self._failures: list[tuple[KafkaError, Message]] = []
        self._seconds: dict[int, bytes] = {}
        self._last_error = ""

    def open(self) -> None:
        try:
            self._producer(BATCH_BYTES).list_topics(timeout=ASK_TIMEOUT_SECONDS)
        except KafkaException as failed:
            self._purge()
            raise SinkAway(self._last_error or failed.args[0].str()) from failed

    def close(self) -> None:
        self._purge()

    def blocked(self, channel: str) -> Blocked | None:
        found = self._lane(channel.encode())
        return found if isinstance(found, Blocked) else None

    def deliver(self, rows: Iterable[Row]) -> Outcome:
        self._failures.clear()
        sent: list[Row] = []
        dead: list[Dead] = []
        try:
            stopped = self._produce(rows, sent, dead)
            self._barrier()
            if self._failures:
                failed = self._failed(sent)
                stopped = self._stop_at_lost_topic(failed) or stopped
                dead += self._alone(failed, stopped)
        except BaseException:
            # Nothing may still be on its way when the caller lets the cursor's lock go.
            self._purge()
            raise
        if dead or stopped is not None:
            end = stopped.message_id if stopped else sys.maxsize
            dead = [letter for letter in dead if letter.message_id < end]
            gone = {letter.message_id for letter in dead}
            sent = [row for row in sent if row[0] < end and row[0] not in gone]
        return Outcome(
            messages=len(sent),
            bytes=sum([len(row[7]) for row in sent]),
            created_at=[microseconds(row[8]) for row in sent],
            dead=dead,
            stopped=stopped,
        )

    def _produce(self, rows: Iterable[Row], sent: list[Row], dead: list[Dead]) -> Stopped | None:
        lanes = self._lanes
        for row in rows:
            message_id, channel, _, key, _, _, _, payload, _ = row
            lane = lanes.get(channel)
            if lane is None:
                found = self._lane(channel)
                if isinstance(found, Blocked):
                    return Stopped(message_id, found)
                lane = found
            if key is None and lane.topic.compacted:
                detail = f"topic {lane.topic.name} is compacted: a message needs a group key"
                dead.append(Dead(message_id, "INVALID_RECORD", detail))
                continue
            try:
                lane.produce(lane.topic.name, payload, key, headers=self._headers(row))
            except BufferError:
                self._produce_patiently(lane, row)
            except KafkaException as refused:
                error = refused.args[0]
                if error.code() not in NEVER:
                    raise SinkAway(error.str()) from refused
                dead.append(Dead(message_id, error.name(), error.str()))
                continue
            sent.append(row)
        return None

    def _headers(self, row: Row) -> dict[str, str | bytes]:
        """CloudEvents 1.0, Kafka binary mode, then the message's own."""
        _, _, type_, _, idempotency_key, headers, content_type, _, created_at = row
        second, fraction = divmod(microseconds(created_at), 1_000_000)
        prefix = self._seconds.get(second)
        if prefix is None:
            if len(self._seconds) > 1000:
                self._seconds.clear()
            prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
            self._seconds[second] = prefix
        standard: dict[str, str | bytes] = {
            "ce_specversion": b"1.0",
            "ce_id": idempotency_key,
            "ce_type": type_,
            "ce_source": self._source,
            "ce_time": b"%b.%06dZ" % (prefix, fraction),
            "content-type": content_type,
            "idempotency-key": idempotency_key,
        }
        if headers is not None:
            standard.update(_headers.decode(headers))
        return standard

    def _produce_patiently(self, lane: Lane, row: Row) -> None:
        deadline = time.monotonic() + self._barrier_seconds
        while True:
            lane.producer.poll(0.01)
            try:
                lane.produce(lane.topic.name, row[7], row[3], headers=self._headers(row))
            except BufferError:
                if self._stop.is_set() or time.monotonic() > deadline:
                    raise SinkAway(self._last_error or "the producer's queue stays full") from None
            else:
                return

    def _barrier(self) -> None:
        """Returns when everything that was produced is acknowledged or has failed."""
        deadline = time.monotonic() + self._barrier_seconds
        for producer in self._producers.values():
            while producer.flush(SLICE_SECONDS):
                if self._stop.is_set():
                    deadline = min(deadline, time.monotonic() + STOP_SECONDS)
                if time.monotonic() > deadline:
                    raise SinkAway(self._last_error or "no acknowledgement in time")
        for error, _ in self._failures:
            if error.code() not in NEVER | TOPIC_ERRORS:
                raise SinkAway(error.str())

    def _failed(self, sent: list[Row]) -> list[tuple[Row, KafkaError]]:
        """The rows that failed, in their order.

        A report names no id, only what was sent: rows that are equal in all of it fail together,
        which repeats some rather than lose one.
        """
        errors = {
            (message.topic(), message.key(), message.value()): error
            for error, message in self._failures
        }
        self._failures.clear()
        failed = []
        for row in sent:
            error = errors.get((self._lanes[row[1]].topic.name, row[3], row[7]))
            if error is not None:
                failed.append((row, error))
        return failed

    def _stop_at_lost_topic(self, failed: list[tuple[Row, KafkaError]]) -> Stopped | None:
        """Where a topic went away in the middle of the run: before its first message."""
        for row, error in failed:
            if error.code() in TOPIC_ERRORS:
                lost = Blocked(row[1].decode(), error.str(), seconds=0.0, lasting=False)
                return Stopped(row[0], lost)
        return None

    def _alone(self, failed: list[tuple[Row, KafkaError]], stopped: Stopped | None) -> list[Dead]:
        """Sends each failed message once more and by itself: only then is the broker's word on it
        believed, since a batch is refused with all its good messages."""
        dead = []
        for row, _ in failed:
            if stopped is not None and row[0] >= stopped.message_id:
                break
            lane = self._lanes[row[1]]
            lane.produce(lane.topic.name, row[7], row[3], headers=self._headers(row))
            self._barrier()
            for error, _ in self._failures:
                if error.code() in TOPIC_ERRORS:
                    raise SinkAway(error.str())
                dead.append(Dead(row[0], error.name(), error.str()))
            self._failures.clear()
        if failed:
            # A limit may have changed under us: ask again before the next run.
            self._lanes.clear()
        return dead

    def _lane(self, channel: bytes) -> Lane | Blocked:
        found = self._topics.look_up(channel, self._producer(BATCH_BYTES))
        if isinstance(found, Missing):
            seconds = time.monotonic() - found.since
            lasting = seconds >= self._grace_seconds
            return Blocked(channel.decode(), found.reason, seconds, lasting)
        batch_bytes = min(BATCH_BYTES, max(found.limit_bytes - BATCH_OVERHEAD_BYTES, 1))
        producer = self._producer(batch_bytes)
        lane = self._lanes[channel] = Lane(found, producer, producer.produce)
        return lane

    def _producer(self, batch_bytes: int) -> Producer:
        producer = self._producers.get(batch_bytes)
        if producer is None:
            producer = self._producers[batch_bytes] = Producer(
                {
                    **self._properties,
                    **CONSTANTS,
                    "batch.size": batch_bytes,
                    "on_delivery": self._on_failure,
                    "error_cb": self._on_error,
                }
            )
        return producer

    def _on_failure(self, error: KafkaError, message: Message) -> None:
        self._failures.append((error, message))

    def _on_error(self, error: KafkaError) -> None:
        self._last_error = f"{error.name()}: {error.str()}"
        log.debug("kafka_error", error=self._last_error)

    def _purge(self) -> None:
        """Throws away what is queued and in flight, with the producers: a new one starts clean."""
        producers = list(self._producers.values())
        self._producers.clear()
        self._lanes.clear()
        for producer in producers:
            producer.purge(in_queue=True, in_flight=True, blocking=False)
            producer.flush(SLICE_SECONDS)
        self._failures.clear()
