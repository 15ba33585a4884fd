"""The relay's Prometheus metrics by what they are about: names, what they show, labels."""

from collections.abc import Collection
from itertools import chain

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

from relay.monitoring.histogram import RunHistogram

LAG_BUCKETS_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0,
)  # fmt: skip
# The longest timeout of an endpoint is a minute.
REQUEST_BUCKETS_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0,
)  # fmt: skip
BY_SUBSCRIPTION = ("subscription",)

# A second series for each counter, which no dashboard reads.
disable_created_metrics()  # type: ignore[no-untyped-call]


class RunMetrics:
    """What runs delivered, gave up and failed at."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "outbox_relay_messages_published_total",
            "Messages that the broker or the endpoint acknowledged and a checkpoint holds.",
            BY_SUBSCRIPTION,
            registry=registry,
        )
        self.bytes = Counter(
            "outbox_relay_bytes_published_total",
            "Bytes of these messages.",
            BY_SUBSCRIPTION,
            registry=registry,
        )
        self.checkpoints = Counter(
            "outbox_relay_checkpoints_total",
            "Runs that ended with a checkpoint.",
            BY_SUBSCRIPTION,
            registry=registry,
        )
        self.seconds = Counter(
            "outbox_relay_run_seconds_total",
            "Seconds spent in these runs, from claim to checkpoint.",
            BY_SUBSCRIPTION,
            registry=registry,
        )
        self.dead_letters = Counter(
            "outbox_relay_dead_letters_total",
            "Messages that were given up, by reason.",
            ("subscription", "reason"),
            registry=registry,
        )
        self.faults = Counter(
            "outbox_relay_faults_total",
            "Runs and sessions that failed and are tried again, by kind.",
            ("subscription", "kind"),
            registry=registry,
        )
        self.lag = RunHistogram(
            "outbox_relay_lag_seconds",
            "From the writing of a message to its acknowledgement by the broker or the endpoint, "
            "at whatever attempt.",
            LAG_BUCKETS_SECONDS,
        )
        registry.register(self.lag)


class ExactlyOnceMetrics:
    """What became of the cursors that are committed in Kafka."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.adopted = Counter(
            "outbox_relay_cursors_adopted_total",
            "Exactly once: runs that Kafka had committed and Postgres had not.",
            BY_SUBSCRIPTION,
            registry=registry,
        )
        self.refused = Counter(
            "outbox_relay_cursors_refused_total",
            "Exactly once: cursors in Kafka of another history of the database; messages repeat.",
            BY_SUBSCRIPTION,
            registry=registry,
        )
        self.lost = Counter(
            "outbox_relay_cursors_lost_total",
            "Exactly once: cursors of which Kafka held no note any more; a run in doubt repeats.",
            BY_SUBSCRIPTION,
            registry=registry,
        )


class EndpointMetrics:
    """Requests to endpoints."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "outbox_relay_attempts_total",
            "Requests to endpoints, by outcome: acked, or what went wrong in a word.",
            ("subscription", "outcome"),
            registry=registry,
        )
        self.request_seconds = RunHistogram(
            "outbox_relay_request_seconds",
            "How long requests to an endpoint took, whatever came of them.",
            REQUEST_BUCKETS_SECONDS,
        )
        registry.register(self.request_seconds)


class SourceMetrics:
    """What inward connectors take in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter(
            "outbox_relay_source_records_total",
            "Records of an inward connector, by what became of them: entered, passed (they had "
            "been here before) or dead_letter.",
            ("connector", "outcome"),
            registry=registry,
        )
        self.faults = Counter(
            "outbox_relay_source_faults_total",
            "Sessions of an inward connector that failed and are tried again, by kind.",
            ("connector", "kind"),
            registry=registry,
        )
        self.lag = Gauge(
            "outbox_relay_source_lag_records",
            "Records that wait in the partitions that this relay reads.",
            ("connector",),
            registry=registry,
        )

    def keep(self, connectors: Collection[str]) -> None:
        """Removes all series of others."""
        for metric in (self.records, self.faults, self.lag):
            for family in metric.collect():
                for sample in family.samples:
                    if sample.labels["connector"] not in connectors:
                        metric.remove(*sample.labels.values())


class ProcessMetrics:
    """The process as a whole."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.retention_blocked = Gauge(
            "outbox_relay_retention_blocked",
            "1 for each partition past retention that a subscription still needs: it stays on "
            "the disk.",
            ("partition", "needed_by"),
            registry=registry,
        )
        self.refused = Gauge(
            "outbox_relay_refused",
            "1 while the relay refuses to run on this database; /readyz says why.",
            registry=registry,
        )
        self.loop_age = Gauge(
            "outbox_relay_loop_age_seconds",
            "Since the relay's loop last turned.",
            registry=registry,
        )
        self.abandoned_threads = Gauge(
            "outbox_relay_abandoned_threads",
            "Threads that were given up in calls to Kafka which do not return; over 3, it exits.",
            registry=registry,
        )
        self.abandoned_connectors = Gauge(
            "outbox_relay_abandoned_connector_threads",
            "Threads that were given up in calls to connectors' clusters which do not return.",
            registry=registry,
        )


def forget_others(
    subscriptions: Collection[str], *groups: RunMetrics | ExactlyOnceMetrics | EndpointMetrics
) -> None:
    """Removes all series of other subscriptions."""
    for metric in chain.from_iterable(vars(group).values() for group in groups):
        if isinstance(metric, RunHistogram):
            metric.keep(set(subscriptions))
            continue
        # One by one by all their labels: `remove_by_labels` looks at all series for each.
        for family in metric.collect():
            for sample in family.samples:
                if sample.labels["subscription"] not in subscriptions:
                    metric.remove(*sample.labels.values())
