"""What Prometheus scrapes. One registry per app, so that two apps in one process don't collide."""

import time
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.database.pool import Database

TEXT_SECONDS = 1.0

# As many as outbox.quota lets be there at once, unless it was raised. Who registers types, deletes
# them and registers others could otherwise make this process remember any number of names.
MAX_UNFIT_TYPES = 1000

LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The service's metrics.

    `webhooks` by event type (six and `unknown`) and outcome: applied, repeated, refused, not_found.
    """

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "service_requests",
            "HTTP requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "service_request_seconds",
            "Time from a request's first line to its answer's end.",
            ["route"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.webhooks = Counter(
            "service_webhooks",
            "Payment webhooks by event type and outcome.",
            ["event_type", "outcome"],
            registry=self.registry,
        )
        self._unfit = Counter(
            "service_unfit_messages",
            "Messages that were refused since they do not fit their event type, by type.",
            ["type"],
            registry=self.registry,
        )
        self.skipped_updates = Counter(
            "service_live_updates_skipped",
            "Updates for WebSocket clients that could not be read.",
            registry=self.registry,
        )
        self.connections = Gauge(
            "service_connections",
            "Connections of clients, WebSockets among them.",
            registry=self.registry,
        )
        self.ended_connections = Counter(
            "service_connections_ended",
            "Connections that were ended for what their client did or left undone, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.registry.register(PoolCollector(database))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        # Those that have a series, the one that was counted last at the end.
        self._unfit_types: dict[str, None] = {}
        self._text = b""
        self._text_at = float("-inf")

    def unfit(self, type_: str) -> None:
        """One more message was refused that does not fit this type.

        Of so many types: for one more, the series ends that was counted the longest time ago.
        """
        self._unfit_types.pop(type_, None)
        if len(self._unfit_types) >= MAX_UNFIT_TYPES:
            oldest = next(iter(self._unfit_types))
            del self._unfit_types[oldest]
            self._unfit.remove(oldest)
        self._unfit_types[type_] = None
        self._unfit.labels(type_).inc()

    def text(self) -> bytes:
        """All of them, as they stood within the last TEXT_SECONDS.

        Any client may ask, and each time it takes some milliseconds of the event loop.
        """
        now = time.monotonic()
        if now - self._text_at >= TEXT_SECONDS:
            self._text, self._text_at = generate_latest(self.registry), now
        return self._text


class PoolCollector(Collector):
    """The connection pool, asked when it is scraped."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Connections, idle connections, waiting requests."""
        stats = self._database.pool.get_stats()
        for name, help_text, value in (
            ("connections", "Connections to the database.", stats.get("pool_size", 0)),
            ("idle_connections", "Connections that are free.", stats.get("pool_available", 0)),
            ("waiting_requests", "Waiting for their turn at one.", self._database.waiting),
        ):
            yield GaugeMetricFamily(f"service_pool_{name}", help_text, value=value)
