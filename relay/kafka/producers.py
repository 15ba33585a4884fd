"""Idempotent librdkafka producers: their constants, the barrier over all of them, and their end."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaException, Producer

from relay.kafka.reports import SLICE_SECONDS, Failures, Refused, Reports, nothing
from relay.kafka.routes import BATCH_BYTES, Route, Routes
from relay.kafka.rules import KAFKA, Rules
from relay.kafka.topic import DEFAULT_LIMIT_BYTES
from relay.kafka.topic_names import TopicNames

# What holds the guarantees: no setting may change it.
CONSTANTS: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    # With a second request on its way, a batch could be lost: where a partition refuses a
    # producer's first one for a moment, and takes the second, as a leader that knows nothing of the
    # producer does, librdkafka counts both as delivered (rd_kafka_dr_implicit_ack).
    "max.in.flight.requests.per.connection": 1,
    # What it assumes it says in a line of this level, and nowhere else; few others come with it.
    "debug": "eos",
    "log_level": 7,
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
    # In flight at once. What goes beyond waits in the log; a run is not bounded by it.
    "queue.buffering.max.kbytes": 32_768,
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


class Producers:
    """Producers of one cluster by batch.size, made as they are needed."""

    transactions = None

    def __init__(
        self,
        properties: dict[str, Any],
        reports: Reports,
        rules: Rules = KAFKA,
        *,
        few: bool = False,
    ) -> None:
        """`few`: of seven sizes at most, powers of ten, however many limits topics have."""
        self.reports = reports
        self._few = few and rules.asks
        self._constants = CONSTANTS | rules.producer
        self._routes = Routes()
        self._properties = properties
        self._producers: dict[tuple[int, bool], Producer] = {}

    def routes(self, names: TopicNames) -> dict[bytes, Route]:
        return self._routes.of(names)

    def any(self) -> Producer:
        return self.get(BATCH_BYTES)

    def begin(self) -> None:
        self.reports.take_failures()

    def get(self, batch_bytes: int) -> Producer:
        return self._get(batch_bytes, gapless=True)

    def alone(self, route: Route) -> Producer:
        return self._get(route.batch_bytes, gapless=False)

    def barrier(self, silent: Callable[[], None] = nothing) -> None:
        deadline = self.reports.deadline()
        for producer in list(self._producers.values()):
            self.reports.flush(producer, deadline, silent)
        self.reports.demand_known()
        if self.reports.failures:
            raise Refused

    def close(self) -> None:
        self.purge()

    def purge(self) -> Failures:
        """The producers end with what is queued and in flight: new ones start clean."""
        producers = list(self._producers.values())
        self._producers.clear()
        self._routes.clear()
        for producer in producers:
            discard(producer)
        return self.reports.take_failures()

    def end_after_refusal(self, *, alone: bool) -> Failures:
        # The producer of those that go alone does not stop at a refusal, and nothing else is out.
        return self.reports.take_failures() if alone else self.purge()

    def _get(self, batch_bytes: int, *, gapless: bool) -> Producer:
        """`gapless`: it stops at a batch that is refused, so that the next can't overtake it."""
        if self._few:
            batch_bytes = 10 ** (len(str(batch_bytes)) - 1)
        producer = self._producers.get((batch_bytes, gapless))
        if producer is None:
            producer = self._producers[batch_bytes, gapless] = Producer(
                {
                    **self._properties,
                    **self._constants,
                    **self.reports.callbacks,
                    "batch.size": batch_bytes,
                    "enable.gapless.guarantee": gapless,
                }
            )
        return producer


def discard(producer: Producer) -> None:
    """Throws away what is queued and in flight, reporting it; the producer is of no use then."""
    producer.purge(in_queue=True, in_flight=True)
    # A producer that a refusal has stopped says so here too.
    with suppress(KafkaException, SystemError):
        producer.flush(SLICE_SECONDS)
