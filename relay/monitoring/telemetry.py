"""What the relay counts: Prometheus metrics in a registry of their own, safe from every thread."""

import re
import threading
import time
from collections.abc import Collection, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)

from relay.monitoring.histogram import RunHistogram

LAG_BUCKETS_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0,
)  # fmt: skip
# The longest timeout of an endpoint is a minute.
REQUEST_BUCKETS_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0,
)  # fmt: skip

# A second series for each counter, which no dashboard reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

# A label for each waiting channel; beyond it `outbox-relay status` still names them all.
MAX_WAITING_CHANNELS = 500
# Of a sentence that names subscriptions.
LONGEST_LABEL = 200
# Names that come between two rounds of maintenance, each with series of its own. All further ones
# share the series of OTHERS, which is no subscription's name.
MAX_NEW_NAMES = 200
OTHERS = "(others)"


class Telemetry:
    """The counters and gauges of one relay process; `registry` is what /metrics shows."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        by_subscription = ("subscription",)
        self._messages = Counter(
            "outbox_relay_messages_published_total",
            "Messages that the broker or the endpoint acknowledged and a checkpoint holds.",
            by_subscription,
            registry=registry,
        )
        self._bytes = Counter(
            "outbox_relay_bytes_published_total",
            "Bytes of these messages.",
            by_subscription,
            registry=registry,
        )
        self._checkpoints = Counter(
            "outbox_relay_checkpoints_total",
            "Runs that ended with a checkpoint.",
            by_subscription,
            registry=registry,
        )
        self._run_seconds = Counter(
            "outbox_relay_run_seconds_total",
            "Seconds spent in these runs, from claim to checkpoint.",
            by_subscription,
            registry=registry,
        )
        self._dead = Counter(
            "outbox_relay_dead_letters_total",
            "Messages that were given up, by reason.",
            ("subscription", "reason"),
            registry=registry,
        )
        self._faults = Counter(
            "outbox_relay_faults_total",
            "Runs and sessions that failed and are tried again, by kind.",
            ("subscription", "kind"),
            registry=registry,
        )
        self._adopted = Counter(
            "outbox_relay_cursors_adopted_total",
            "Exactly once: runs that Kafka had committed and Postgres had not.",
            by_subscription,
            registry=registry,
        )
        self._cursors_refused = Counter(
            "outbox_relay_cursors_refused_total",
            "Exactly once: cursors in Kafka of another history of the database; messages repeat.",
            by_subscription,
            registry=registry,
        )
        self._cursors_lost = Counter(
            "outbox_relay_cursors_lost_total",
            "Exactly once: cursors of which Kafka held no note any more; a run in doubt repeats.",
            by_subscription,
            registry=registry,
        )
        self._waiting = Gauge(
            "outbox_relay_channel_waiting_seconds",
            "How long a channel has waited for its topic.",
            ("subscription", "channel"),
            registry=registry,
        )
        self._waiting_number = Gauge(
            "outbox_relay_waiting_channels",
            "How many channels wait for their topics.",
            registry=registry,
        )
        self._late = Gauge(
            "outbox_relay_overdue_partition",
            "1 for each partition past retention that is still needed: it fills the disk.",
            ("partition", "needed_by"),
            registry=registry,
        )
        self._refused = Gauge(
            "outbox_relay_refused",
            "1 while the relay refuses to run on this database; /readyz says why.",
            registry=registry,
        )
        self._attempts = Counter(
            "outbox_relay_attempts_total",
            "Requests to endpoints, by outcome: acked, or what went wrong in a word.",
            ("subscription", "outcome"),
            registry=registry,
        )
        self._breaker_open = Gauge(
            "outbox_relay_breaker_open",
            "1 while a subscription's circuit breaker is open or half-open, as last seen.",
            by_subscription,
            registry=registry,
        )
        self._lag = RunHistogram(
            "outbox_relay_lag_seconds",
            "From the writing of a message to its acknowledgement by the broker or the endpoint, "
            "at whatever attempt.",
            LAG_BUCKETS_SECONDS,
        )
        registry.register(self._lag)
        self._requests = RunHistogram(
            "outbox_relay_request_seconds",
            "How long requests to an endpoint took, whatever came of them.",
            REQUEST_BUCKETS_SECONDS,
        )
        registry.register(self._requests)
        age = Gauge(
            "outbox_relay_loop_age_seconds",
            "Since the relay's loop last turned.",
            registry=registry,
        )
        age.set_function(self.loop_age_seconds)
        # Those that stand in calls which do not return.
        self.abandoned_threads = 0
        abandoned = Gauge(
            "outbox_relay_abandoned_threads",
            "Threads that were given up in calls to Kafka which do not return; over 3, it exits.",
            registry=registry,
        )
        abandoned.set_function(lambda: self.abandoned_threads)

        self._of_subscriptions = (
            self._messages,
            self._bytes,
            self._checkpoints,
            self._run_seconds,
            self._dead,
            self._faults,
            self._adopted,
            self._cursors_refused,
            self._cursors_lost,
            self._waiting,
            self._attempts,
            self._breaker_open,
        )
        self._lock = threading.Lock()
        # Those of the last round's subscriptions, and the new ones since.
        self._known: frozenset[str] = frozenset()
        self._new: set[str] = set()
        self._waiting_channels: set[tuple[str, str]] = set()
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
        subscription = self._shown(subscription)
        self._messages.labels(subscription).inc(messages)
        self._bytes.labels(subscription).inc(bytes)
        self._checkpoints.labels(subscription).inc()
        self._run_seconds.labels(subscription).inc(max(0.0, seconds))
        self._lag.observe_until(subscription, created_at, acknowledged_at)

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
        subscription = self._shown(subscription)
        for outcome, count in outcomes.items():
            self._attempts.labels(subscription, _class_of(outcome)).inc(count)
        self._requests.observe(subscription, seconds)
        self._lag.observe(subscription, lags)

    def breaker(self, subscription: str, is_open: bool) -> None:
        """The state of a subscription's breaker; half-open is open."""
        shown = self._shown(subscription)
        # Several together have no state.
        if shown != OTHERS:
            self._breaker_open.labels(shown).set(is_open)

    def dead(self, subscription: str, reason: str) -> None:
        """One message was given up; `reason` is dead_letter.reason, of a status its class."""
        self._dead.labels(self._shown(subscription), _class_of(reason)).inc()

    def fault(self, subscription: str, kind: str) -> None:
        """A run or session failed: its kind is a word.

        'database', 'broker', 'fenced', 'internal', 'maintenance', 'stuck' where a call to Kafka
        does not return, 'connections' where no more requests to endpoints could be opened here,
        'lease_over' where a run to an endpoint came to its requests too late to send,
        'snapshot' where one is too large, 'secret' where one does not open, or
        'outcomes' where what was answered late could not be written down.
        """
        self._faults.labels(self._shown(subscription), kind).inc()

    def cursor_adopted(self, subscription: str) -> None:
        """A run that was in doubt had happened."""
        self._adopted.labels(self._shown(subscription)).inc()

    def cursor_refused(self, subscription: str) -> None:
        """What Kafka holds of a cursor is not this database's."""
        self._cursors_refused.labels(self._shown(subscription)).inc()

    def cursor_lost(self, subscription: str) -> None:
        """Kafka held no note of a cursor that it may have held one of."""
        self._cursors_lost.labels(self._shown(subscription)).inc()

    def waiting(self, seconds: Mapping[tuple[str, str], float]) -> None:
        """All channels that wait for their topics, by subscription and channel, and how long."""
        with self._lock:
            for gone in self._waiting_channels - seconds.keys():
                self._waiting.remove(*gone)
            self._waiting_channels &= seconds.keys()
            for key, value in seconds.items():
                room = len(self._waiting_channels) < MAX_WAITING_CHANNELS
                if room or key in self._waiting_channels:
                    self._waiting_channels.add(key)
                    self._waiting.labels(*key).set(value)
            self._waiting_number.set(len(seconds))

    def late(self, partitions: Mapping[str, str]) -> None:
        """The partitions that are past retention and still needed, each with by whom."""
        self._late.clear()
        for partition, needed_by in partitions.items():
            self._late.labels(partition, needed_by[:LONGEST_LABEL]).set(1)

    def keep(self, subscriptions: Collection[str]) -> None:
        """Forgets all series of subscriptions with other names: deleted or renamed ones.

        Otherwise a client that may subscribe could make the relay remember any number of names.
        """
        with self._lock:
            self._known, self._new = frozenset(subscriptions), set()
            kept = {one for one in self._waiting_channels if one[0] in self._known}
            self._waiting_channels = kept
        # "": what is not about one subscription.
        shown = {"", OTHERS, *subscriptions}
        for metric in self._of_subscriptions:
            # One by one by all their labels: `remove_by_labels` looks at all series for each.
            for family in metric.collect():
                for sample in family.samples:
                    if sample.labels["subscription"] not in shown:
                        metric.remove(*sample.labels.values())
        self._lag.keep(shown)
        self._requests.keep(shown)

    def _shown(self, subscription: str) -> str:
        """The label that stands for it."""
        with self._lock:
            if subscription and not (subscription in self._known or subscription in self._new):
                if len(self._new) >= MAX_NEW_NAMES:
                    return OTHERS
                self._new.add(subscription)
            return subscription

    def refused(self, reason: str | None) -> None:
        """The relay does not run on this database, and why; None: it runs."""
        with self._lock:
            self._refusal = reason
        self._refused.set(0 if reason is None else 1)

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
