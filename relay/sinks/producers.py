"""Idempotent librdkafka producers: their constants, the barrier over all of them, and their end."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from relay.sink import SinkAway
from relay.sinks.kafka import BATCH_BYTES, Failures, Refused, Route
from relay.sinks.topics import DEFAULT_LIMIT_BYTES

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
    # A run's last segment must not wait for the acknowledgement of the one before: 40 ms on Linux.
    "socket.nagle.disable": True,
    # What goes wrong is in the error callback, and would else come line by line on standard error.
    "log_level": 2,
}
# librdkafka's own lines, which would stand between ours: the callbacks and the errors say it all.
LIBRARY = logging.getLogger("relay.librdkafka")
LIBRARY.addHandler(logging.NullHandler())
LIBRARY.propagate = False
# After a signal to stop, what is in flight gets this long to be acknowledged.
STOP_SECONDS = 4.0
SLICE_SECONDS = 0.2


class Reports:
    """What librdkafka calls back with: the messages that failed, and its last word on the cluster.

    `patience_seconds` bounds every wait for the cluster, `stop` shortens it.
    """

    def __init__(self, patience_seconds: float, stop: threading.Event) -> None:
        self.failures: Failures = []
        self.last_error = ""
        self.patience_seconds = patience_seconds
        self._stop = stop

    @property
    def callbacks(self) -> dict[str, Any]:
        """A producer's configuration."""
        return {"on_delivery": self._on_failure, "error_cb": self._on_error}

    def deadline(self, patience_seconds: float | None = None) -> float:
        """When a wait that begins now has to end, by the monotonic clock."""
        return time.monotonic() + (patience_seconds or self.patience_seconds)

    def is_over(self, deadline: float) -> bool:
        """Waits a moment; whether the deadline has passed, or a stop was asked for."""
        return self._stop.wait(0.02) or time.monotonic() > deadline

    def make_room(self, producer: Producer, deadline: float) -> None:
        """Waits a little for room in a full queue. Raises SinkAway after the deadline."""
        if self._stop.is_set() or time.monotonic() > deadline:
            raise self.away("the producer's queue stays full")
        _called_back(producer.poll, 0.01)

    def flush(self, producer: Producer, deadline: float) -> None:
        """Returns when nothing is in flight. Raises Refused, and SinkAway after the deadline."""
        while _called_back(producer.flush, SLICE_SECONDS):
            if self._stop.is_set():
                deadline = min(deadline, time.monotonic() + STOP_SECONDS)
            if time.monotonic() > deadline:
                raise self.away("no acknowledgement in time")

    def away(self, otherwise: str) -> SinkAway:
        """The cluster's last word on what is wrong, or `otherwise` where it said nothing."""
        return SinkAway(self.last_error or otherwise)

    def take_failures(self) -> Failures:
        """What failed since the last time, in the order of the reports."""
        failures, self.failures, self.last_error = self.failures, [], ""
        return failures

    def _on_failure(self, error: KafkaError, message: Message) -> None:
        self.failures.append((error, message))

    def _on_error(self, error: KafkaError) -> None:
        self.last_error = f"{error.name()}: {error.str()}"
        logger.debug("kafka_error", error=self.last_error)


class Producers:
    """Producers of one cluster by batch.size, made as they are needed."""

    transactions = None

    def __init__(self, properties: dict[str, Any], reports: Reports) -> None:
        self.routes: dict[bytes, Route] = {}
        self._properties = properties
        self._reports = reports
        self._producers: dict[tuple[int, bool], Producer] = {}

    def any(self) -> Producer:
        return self.get(BATCH_BYTES)

    def begin(self) -> None:
        self._reports.take_failures()

    def get(self, batch_bytes: int) -> Producer:
        return self._get(batch_bytes, gapless=True)

    def alone(self, route: Route) -> Producer:
        return self._get(route.batch_bytes, gapless=False)

    def make_room(self, deadline: float) -> None:
        for producer in self._producers.values():
            self._reports.make_room(producer, deadline)

    def deadline(self) -> float:
        return self._reports.deadline()

    def barrier(self) -> None:
        deadline = self.deadline()
        for producer in self._producers.values():
            self._reports.flush(producer, deadline)
        if self._reports.failures:
            raise Refused

    def away(self, otherwise: str) -> SinkAway:
        return self._reports.away(otherwise)

    def close(self) -> None:
        self.purge()

    def purge(self) -> Failures:
        """The producers end with what is queued and in flight: new ones start clean."""
        producers = list(self._producers.values())
        self._producers.clear()
        self.routes.clear()
        for producer in producers:
            discard(producer)
        return self._reports.take_failures()

    def refused(self, *, alone: bool) -> Failures:
        # The producer of those that go alone does not stop at a refusal, and nothing else is out.
        return self._reports.take_failures() if alone else self.purge()

    def _get(self, batch_bytes: int, *, gapless: bool) -> Producer:
        """`gapless`: it stops at a batch that is refused, so that the next can't overtake it."""
        producer = self._producers.get((batch_bytes, gapless))
        if producer is None:
            producer = self._producers[batch_bytes, gapless] = Producer(
                {
                    **self._properties,
                    **CONSTANTS,
                    **self._reports.callbacks,
                    "batch.size": batch_bytes,
                    "enable.gapless.guarantee": gapless,
                },
                logger=LIBRARY,
            )
        return producer


def discard(producer: Producer) -> None:
    """Throws away what is queued and in flight, reporting it; the producer is of no use then."""
    producer.purge(in_queue=True, in_flight=True)
    # A producer that a refusal has stopped says so here too.
    with suppress(KafkaException, SystemError):
        producer.flush(SLICE_SECONDS)


def _called_back(call: Callable[[float], int], seconds: float) -> int:
    """Polls or flushes, in which the reports come. Raises Refused and SinkAway."""
    try:
        return call(seconds)
    except (KafkaException, SystemError) as fault:
        error = said(fault)
        if error.code() == KafkaError._GAPLESS_GUARANTEE:
            raise Refused from fault
        raise SinkAway(error.str()) from fault


def said(fault: KafkaException | SystemError) -> KafkaError:
    """What librdkafka said. Raises `fault` where it is another's.

    A fatal error is raised out of the callbacks, and spoils what they were called in: that ends in
    a SystemError, which the error is the cause of.
    """
    cause = fault if isinstance(fault, KafkaException) else fault.__cause__
    if not isinstance(cause, KafkaException):
        raise fault
    error: KafkaError = cause.args[0]
    return error
