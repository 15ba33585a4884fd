"""What librdkafka reports of the messages that it was given, and the waits for it."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, ThrottleEvent

from relay.kafka.rules import KAFKA, Rules
from relay.log.sink import SinkAway, Unanswered
from relay.process.heartbeat import Heartbeat

logger = structlog.get_logger()

# Without a message where it is not known whose the error is.
Failures = list[tuple[KafkaError, Message | None]]

# After a signal to stop, what is in flight gets this long to be acknowledged.
STOP_SECONDS = 4.0
SLICE_SECONDS = 0.2
# A flush in which nothing was acknowledged for so long may be waiting for one topic alone.
SILENT_SECONDS = 1.0
# A broker may say more, after much was sent; by then its quota has long been free again.
MAX_HELD_SECONDS = 60.0

# The name of librdkafka's line that says so; `debug` has to be `eos` for it.
ASSUMED = "IMPLICITACK"


def nothing() -> None:
    """What is called while nothing is acknowledged, where no caller wants to know."""


class Refused(Exception):
    """A batch was refused with all its messages; nothing behind it has gone to its partition."""


class _Lines(logging.Handler):
    """Takes librdkafka's own lines, of which one tells what no report does.

    Where a batch failed and the one behind it was taken, librdkafka counts both as delivered
    (rd_kafka_dr_implicit_ack), though the first may be lost: a leader that knows nothing of a
    producer takes any batch. It can't happen with one request on its way to a broker, except while
    a partition moves to another.
    """

    def __init__(self) -> None:
        super().__init__()
        self.assumed = False

    def emit(self, record: logging.LogRecord) -> None:
        self.assumed = self.assumed or record.getMessage().startswith(ASSUMED)


class Reports:
    """What librdkafka calls back with: the messages that failed, and its last word on the cluster.

    `patience_seconds` bounds every wait for the cluster, `stop` shortens it.
    """

    def __init__(
        self,
        patience_seconds: float,
        stop: threading.Event,
        heartbeat: Heartbeat,
        rules: Rules = KAFKA,
    ) -> None:
        self.failures: Failures = []
        self.last_error = ""
        # By the monotonic clock: until then a broker takes nothing from this client.
        self._held_until = 0.0
        self.patience_seconds = patience_seconds
        self.heartbeat = heartbeat
        self._rules = rules
        self._stop = stop
        self._closed = False
        self._lines = _Lines()
        self._logger = logging.Logger("librdkafka")
        self._logger.addHandler(self._lines)

    def close(self) -> None:
        """The sink ends; from outside, while its own thread may still come back from a call."""
        self._closed = True

    def demand_open(self) -> None:
        """Raises SinkAway after the end: its messages were thrown away then, and what is sent
        now would come behind what the session's successor sends.
        """
        if self._closed:
            raise SinkAway("the session was ended from outside")

    @property
    def callbacks(self) -> dict[str, Any]:
        """A producer's configuration."""
        return {
            "on_delivery": self._on_failure,
            "error_cb": self.on_error,
            "throttle_cb": self._on_throttle,
            "logger": self._logger,
        }

    def deadline(self, patience_seconds: float | None = None) -> float:
        """When a wait that begins now has to end, by the monotonic clock."""
        self.heartbeat.beat()
        return time.monotonic() + (patience_seconds or self.patience_seconds)

    def wait_is_over(self, deadline: float) -> bool:
        """Waits a moment; whether the deadline has passed, or a stop was asked for."""
        return self._stop.wait(0.02) or time.monotonic() > deadline

    def make_room(self, producer: Producer, deadline: float) -> None:
        """Waits a little for room in a full queue. Raises SinkAway after the deadline."""
        if self._stop.is_set() or time.monotonic() > deadline:
            raise self.away("the producer's queue stays full")
        self._called_back(producer.poll, 0.01)
        self.demand_open()

    def flush(
        self, producer: Producer, deadline: float, silent: Callable[[], None] = nothing
    ) -> None:
        """Returns when nothing is in flight; calls `silent` while nothing is acknowledged.

        Raises Refused, SinkAway, which is Unanswered after the deadline, and what `silent` raises.
        """
        before, since = -1, 0.0
        while left := self._called_back(producer.flush, SLICE_SECONDS):
            now = time.monotonic()
            if self._stop.is_set():
                deadline = min(deadline, now + STOP_SECONDS)
            if now > deadline:
                raise Unanswered(self.last_error or "no acknowledgement in time")
            if left != before:
                before, since = left, now
            elif now > since + SILENT_SECONDS:
                silent()

    def demand_known(self) -> None:
        """Raises SinkAway where librdkafka only assumes that what it was given has arrived."""
        if self._lines.assumed:
            raise SinkAway("a batch failed, and librdkafka counts it as delivered")

    def away(self, otherwise: str) -> SinkAway:
        """The cluster's last word on what is wrong, or `otherwise` where it said nothing."""
        return SinkAway(self.last_error or otherwise)

    def take_failures(self) -> Failures:
        """What failed since the last time, in the order of the reports."""
        failures, self.failures, self.last_error = self.failures, [], ""
        self._lines.assumed = False
        return failures

    def _on_failure(self, error: KafkaError, message: Message) -> None:
        self.failures.append((error, message))

    @property
    def held_seconds(self) -> float:
        """How long a broker has asked to be left alone; what is sent meanwhile waits there."""
        return max(self._held_until - time.monotonic(), 0.0)

    def _on_throttle(self, event: ThrottleEvent) -> None:
        """Called back with every answer of a broker at which a quota is used up."""
        seconds = min(event.throttle_time, MAX_HELD_SECONDS)
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _called_back(self, call: Callable[[float], int], seconds: float) -> int:
        """Polls or flushes, in which the reports come. Raises Refused and SinkAway."""
        try:
            return call(seconds)
        except (KafkaException, SystemError) as fault:
            error = said(fault)
            if error.code() == KafkaError._GAPLESS_GUARANTEE:
                raise Refused from fault
            raise SinkAway(self._rules.told(error)) from fault

    def on_error(self, error: KafkaError) -> None:
        """Called back with what is wrong with a connection, or with all."""
        told = self._rules.told(error)
        # Why none is left was said of the last one that went.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self.last_error:
            self.last_error = told
        logger.debug("kafka_error", error=told)


def said(fault: KafkaException | SystemError) -> KafkaError:
    """What librdkafka said. Raises `fault` where it does not come from librdkafka.

    A fatal error is raised out of the callbacks, and spoils what they were called in: that ends in
    a SystemError, which the error is the cause of.
    """
    cause = fault if isinstance(fault, KafkaException) else fault.__cause__
    if not isinstance(cause, KafkaException):
        raise fault
    error: KafkaError = cause.args[0]
    return error
