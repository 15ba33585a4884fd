"""The sink's librdkafka producers: their constants, the barrier over all of them, and their end."""

import threading
import time
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from relay.sink import SinkAway
from relay.sinks.topics import DEFAULT_LIMIT_BYTES, TOPIC_ERRORS

logger = structlog.get_logger()

# What holds the guarantees; nobody may set it otherwise.
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
    "linger.ms": 50,
    # A mistyped channel must not become a topic.
    "allow.auto.create.topics": False,
    # Full speed within a second or two of a broker's return.
    "reconnect.backoff.max.ms": 1000,
    "socket.keepalive.enable": True,
    # What goes wrong is in the error callback, and would else come line by line on standard error.
    "log_level": 2,
}
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


class BatchRefused(Exception):
    """A batch was refused with all its messages; nothing behind it has gone to its partition."""


class Producers:
    """Producers of one cluster by batch.size, made as they are needed."""

    def __init__(
        self, properties: dict[str, Any], barrier_seconds: float, stop: threading.Event
    ) -> None:
        self._properties = properties
        self._barrier_seconds = barrier_seconds
        self._stop = stop
        self._producers: dict[tuple[int, bool], Producer] = {}
        # What failed since the last barrier, in the order of the reports.
        self.failures: list[tuple[KafkaError, Message]] = []
        self.last_error = ""

    def get(self, batch_bytes: int, *, gapless: bool = True) -> Producer:
        """A producer of batches up to `batch_bytes`.

        `gapless`: it stops at a batch that is refused, so that the next one can't overtake it.
        """
        producer = self._producers.get((batch_bytes, gapless))
        if producer is None:
            producer = self._producers[batch_bytes, gapless] = Producer(
                {
                    **self._properties,
                    **CONSTANTS,
                    "batch.size": batch_bytes,
                    "enable.gapless.guarantee": gapless,
                    "on_delivery": self._on_failure,
                    "error_cb": self._on_error,
                }
            )
        return producer

    def deadline(self) -> float:
        """When a wait that begins now has to end, by the monotonic clock."""
        return time.monotonic() + self._barrier_seconds

    def barrier(self) -> None:
        """Returns when everything that was produced is acknowledged or stands in `failures`.

        Raises SinkAway where that takes too long or the cluster is to blame, BatchRefused where a
        refused batch stopped a producer.
        """
        deadline = self.deadline()
        for producer in self._producers.values():
            while _flush(producer):
                if self._stop.is_set():
                    deadline = min(deadline, time.monotonic() + STOP_SECONDS)
                if time.monotonic() > deadline:
                    raise self.away("no acknowledgement in time")
        for error, _ in self.failures:
            if error.code() not in NEVER | TOPIC_ERRORS:
                raise SinkAway(error.str())

    def make_room(self, producer: Producer, deadline: float) -> None:
        """Waits a little for room in a full queue. Raises SinkAway after the deadline."""
        if self._stop.is_set() or time.monotonic() > deadline:
            raise self.away("the producer's queue stays full")
        producer.poll(0.01)

    def away(self, otherwise: str) -> SinkAway:
        """The cluster's last word on what is wrong, or `otherwise` where it said nothing."""
        return SinkAway(self.last_error or otherwise)

    def purge(self) -> None:
        """Throws away what is queued and in flight, with the producers: new ones start clean."""
        producers = list(self._producers.values())
        self._producers.clear()
        self.last_error = ""
        for producer in producers:
            producer.purge(in_queue=True, in_flight=True)
            # A producer that a refusal has stopped says so here too.
            with suppress(KafkaException, SystemError):
                producer.flush(SLICE_SECONDS)
        self.failures.clear()

    def _on_failure(self, error: KafkaError, message: Message) -> None:
        self.failures.append((error, message))

    def _on_error(self, error: KafkaError) -> None:
        self.last_error = f"{error.name()}: {error.str()}"
        logger.debug("kafka_error", error=self.last_error)


def _flush(producer: Producer) -> int:
    """What is still in flight after a slice of time."""
    try:
        return producer.flush(SLICE_SECONDS)
    except (KafkaException, SystemError) as fatal:
        # A fatal error is raised out of the callbacks, and spoils the report that follows it.
        cause = fatal if isinstance(fatal, KafkaException) else fatal.__cause__
        if not isinstance(cause, KafkaException):
            raise
        if cause.args[0].code() == KafkaError._GAPLESS_GUARANTEE:
            raise BatchRefused from fatal
        raise SinkAway(cause.args[0].str()) from fatal
