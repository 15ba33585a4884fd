"""What the relay counts: Prometheus metrics in a registry of their own, safe from every thread."""

import re
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector

from relay.monitoring.metrics import (
    EndpointMetrics,
    ExactlyOnceMetrics,
    ProcessMetrics,
    RunMetrics,
    SourceMetrics,
    forget_others,
)
from relay.monitoring.subscription_labels import SubscriptionLabels
from relay.monitoring.waiting_channels import WaitingChannels

if TYPE_CHECKING:
    from relay.monitoring.spans import Spans

# Of a sentence that names subscriptions.
MAX_LABEL_CHARACTERS = 200


class Telemetry:
    """The counters and gauges of one relay process; `registry` is what /metrics shows.

    `spans` are there where an exporter is configured.
    """

    def __init__(self, spans: "Spans | None" = None) -> None:
        self.spans = spans
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._runs = RunMetrics(registry)
        self._exactly_once = ExactlyOnceMetrics(registry)
        self._endpoints = EndpointMetrics(registry)
        self._sources = SourceMetrics(registry)
        self._process = ProcessMetrics(registry)
        self._waiting = WaitingChannels(registry)
        self._labels = SubscriptionLabels()
        # Those that stand in calls which do not return.
        self.abandoned_threads = 0
        self._process.abandoned_threads.set_function(lambda: self.abandoned_threads)
        # The same in calls to the clusters of connectors, outward and inward.
        self.abandoned_connectors = self.abandoned_sources = 0
        self._process.abandoned_connectors.set_function(
            lambda: self.abandoned_connectors + self.abandoned_sources
        )
        self._process.loop_age.set_function(self.loop_age_seconds)
        self._lock = threading.Lock()
        self._refusal: str | None = None
        self._turned_at = time.monotonic()

    def run_done(
        self,
        subscription: str,
        *,
        messages: int,
        bytes: int,
        seconds: float,
        created_at: Sequence[int] = (),
        acknowledged_at: int = 0,
    ) -> None:
        """One run that its checkpoint holds.

        `created_at` (one for each message whose lag is counted here, in any order, cheapest when
        ascending) and `acknowledged_at` are microseconds by the database's clock, since one epoch.
        """
        subscription = self._labels.label(subscription)
        self._runs.messages.labels(subscription).inc(messages)
        self._runs.bytes.labels(subscription).inc(bytes)
        self._runs.checkpoints.labels(subscription).inc()
        self._runs.seconds.labels(subscription).inc(max(0.0, seconds))
        self._runs.lag.observe_until(subscription, created_at, acknowledged_at)

    def attempts(
        self,
        subscription: str,
        outcomes: Mapping[str, int],
        seconds: Sequence[float],
        lags: Sequence[float] = (),
    ) -> None:
        """One run's requests to an endpoint.

        `outcomes`: how many ended as `acked` or in each error word of the attempts log, of which a
        status is counted with its class; `seconds`: how long each took; `lags`: of those that were
        acknowledged, the seconds since the message was written.
        """
        subscription = self._labels.label(subscription)
        for outcome, count in outcomes.items():
            self._endpoints.attempts.labels(subscription, _class_of(outcome)).inc(count)
        self._endpoints.request_seconds.observe(subscription, seconds)
        self._runs.lag.observe(subscription, lags)

    def taken_in(self, connector: str, entered: int, passed: int, dead_letters: int) -> None:
        """What became of one batch of an inward connector."""
        counts = {"entered": entered, "passed": passed, "dead_letter": dead_letters}
        for outcome, count in counts.items():
            self._sources.records.labels(connector, outcome).inc(count)

    def source_fault(self, connector: str, kind: str) -> None:
        """A session of an inward connector failed."""
        self._sources.faults.labels(connector, kind).inc()

    def source_lag(self, connector: str, records: int) -> None:
        """How many wait for it here."""
        self._sources.lag.labels(connector).set(records)

    def keep_sources(self, connectors: Collection[str]) -> None:
        """Only these are read."""
        self._sources.keep(connectors)

    def dead(self, subscription: str, reason: str) -> None:
        """One message was given up; `reason` is dead_letter.reason, of a status its class."""
        self._runs.dead_letters.labels(self._labels.label(subscription), _class_of(reason)).inc()

    def fault(self, subscription: str, kind: str) -> None:
        """A run or session failed: its kind is a word.

        'database', 'broker', 'fenced', 'internal', 'maintenance', 'stuck' where a call to Kafka
        does not return, 'away' where a connector's queue or topic takes nothing, 'connections'
        where no more requests to endpoints could be opened here, 'lease_over' where a run to an
        endpoint came to its requests too late to send,
        'snapshot' where one is too large, 'secret' where one does not open, or
        'outcomes' where what was answered late could not be written down.
        """
        self._runs.faults.labels(self._labels.label(subscription), kind).inc()

    def cursor_adopted(self, subscription: str) -> None:
        """A run that was in doubt had happened."""
        self._exactly_once.adopted.labels(self._labels.label(subscription)).inc()

    def cursor_refused(self, subscription: str) -> None:
        """What Kafka holds of a cursor is not this database's."""
        self._exactly_once.refused.labels(self._labels.label(subscription)).inc()

    def cursor_lost(self, subscription: str) -> None:
        """Kafka held no note of a cursor that it may have held one of."""
        self._exactly_once.lost.labels(self._labels.label(subscription)).inc()

    def waiting(self, seconds: Mapping[tuple[str, str], float]) -> None:
        """All channels that wait for their topics, by subscription and channel, and how long."""
        self._waiting.show(seconds)

    def retention_blocked(self, partitions: Mapping[str, str]) -> None:
        """The partitions that are past retention and still needed, each with by whom."""
        blocked = self._process.retention_blocked
        blocked.clear()
        for partition, needed_by in partitions.items():
            blocked.labels(partition, needed_by[:MAX_LABEL_CHARACTERS]).set(1)

    def keep(self, subscriptions: Collection[str]) -> None:
        """Forgets all series of subscriptions with other names: deleted or renamed ones."""
        labels = self._labels.keep(subscriptions)
        forget_others(labels, self._runs, self._exactly_once, self._endpoints)
        self._waiting.keep(labels)

    def refused(self, reason: str | None) -> None:
        """The relay does not run on this database, and why; None: it runs."""
        with self._lock:
            self._refusal = reason
        self._process.refused.set(0 if reason is None else 1)

    @property
    def refusal(self) -> str | None:
        """Why the relay does not run on this database, or None."""
        with self._lock:
            return self._refusal

    def turned(self) -> None:
        """The relay's loop has turned, with or without work, with or without a database."""
        self._turned_at = time.monotonic()

    def loop_age_seconds(self) -> float:
        """Since the last turn, or since the start."""
        return time.monotonic() - self._turned_at


def _class_of(outcome: str) -> str:
    """`http_5xx` for `http_503`: which status it is, the endpoint chooses, and each is a series."""
    if not outcome.startswith("http_"):
        return outcome
    status = re.fullmatch("http_([1-5])[0-9]{2}", outcome)
    return f"http_{status[1]}xx" if status else "http_other"
