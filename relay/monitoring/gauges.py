"""What the metrics tell of the database: what is undelivered, and how it is looked after."""

import threading
import time
from collections.abc import Iterable

import msgspec
import psycopg
import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from psycopg import errors

from relay.database import Connection, connect, transaction
from relay.monitoring.status import TIMEOUT, Maintenance, maintenance
from relay.monitoring.undelivered import Backlog, Undelivered, read_backlog, undelivered
from relay.settings import Settings

logger = structlog.get_logger()

# However often metrics are scraped, the database is asked once in so long.
SAMPLE_SECONDS = 5.0


class Sample(msgspec.Struct, frozen=True):
    """How it stood at one moment. `letters`: waiting dead letters by subscription."""

    backlog: list[Backlog]
    undelivered: list[Undelivered]
    dead_letters: dict[str, int]
    maintenance: Maintenance | None


NOTHING = Sample([], [], {}, None)


class DatabaseCollector(Collector):
    """Asked when metrics are scraped, never on the path of a message."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._sampled_at = float("-inf")
        self._sample = NOTHING

    def describe(self) -> Iterable[Metric]:
        """Nothing to ask the database for while the registry gets to know this collector."""
        return _gauges(NOTHING)

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._sampled_at > SAMPLE_SECONDS:
                self._sample = self._ask()
                self._sampled_at = time.monotonic()
            return _gauges(self._sample)

    def _ask(self) -> Sample:
        try:
            with connect(self._settings) as connection:
                with transaction(connection):
                    connection.execute(TIMEOUT)
                    dead_letters, noted = _dead_letters(connection), maintenance(connection)
                backlog, left = _counts(connection)
                return Sample(backlog, left, dead_letters, noted)
        except psycopg.Error as fault:
            # No series rather than an old figure: an alert can ask for its absence.
            logger.warning("metrics_without_database", fault=str(fault))
            return NOTHING


def _counts(connection: Connection) -> tuple[list[Backlog], list[Undelivered]]:
    """Where very much waits for very many, counting it may take too long; the rest is there."""
    try:
        with transaction(connection):
            connection.execute(TIMEOUT)
            backlog = read_backlog(connection)
            return backlog, undelivered(connection, backlog)
    except errors.QueryCanceled as fault:
        logger.warning("backlog_not_counted", fault=str(fault))
        return [], []


DEAD_LETTERS = """
    select subscription.name, waiting.dead_letters
    from outbox.subscription
    cross join lateral (
        select count(*) as dead_letters from (
            select from outbox.dead_letter
            where dead_letter.subscription_id = subscription.id and redriven_at is null
            limit 100001
        ) as looked_at
    ) as waiting
"""


def _dead_letters(connection: Connection) -> dict[str, int]:
    return dict(connection.execute(DEAD_LETTERS).fetchall())


def _gauges(sample: Sample) -> list[Metric]:
    since = GaugeMetricFamily(
        "outbox_relay_maintenance_age_seconds",
        "Since a relay last made the log's partitions and trimmed; over 600 is an alarm.",
    )
    if sample.maintenance is not None:
        since.add_metric([], sample.maintenance.age_seconds)
    dead_letters = GaugeMetricFamily(
        "outbox_relay_waiting_dead_letters",
        "Dead letters that were not redriven, counted up to 100,001.",
        labels=["subscription"],
    )
    for name, number in sample.dead_letters.items():
        dead_letters.add_metric([name], number)
    return [*_backlog(sample.backlog), *_undelivered(sample.undelivered), dead_letters, since]


def _backlog(rows: Iterable[Backlog]) -> list[Metric]:
    messages = GaugeMetricFamily(
        "outbox_relay_backlog_messages",
        "Messages that no run has read yet, counted up to 100,001; a million in all, shared.",
        labels=["subscription", "priority"],
    )
    age = GaugeMetricFamily(
        "outbox_relay_backlog_oldest_age_seconds",
        "The age of the oldest of them, 0 where there is none.",
        labels=["subscription", "priority"],
    )
    for row in rows:
        labels = [row.subscription, str(row.priority)]
        messages.add_metric(labels, row.messages)
        age.add_metric(labels, row.oldest_age_seconds or 0.0)
    return [messages, age]


def _undelivered(rows: Iterable[Undelivered]) -> list[Metric]:
    messages = GaugeMetricFamily(
        "outbox_relay_undelivered_messages",
        "Messages that are not delivered: unread (counted as the backlog is), retrying, "
        "in_flight, behind one of their group, or parked.",
        labels=["subscription", "state"],
    )
    age = GaugeMetricFamily(
        "outbox_relay_undelivered_oldest_age_seconds",
        "The age of the oldest of them, in whatever state, 0 where there is none.",
        labels=["subscription"],
    )
    for row in rows:
        for state, number in row.by_state.items():
            messages.add_metric([row.subscription, state], number)
        age.add_metric([row.subscription], row.oldest_age_seconds or 0.0)
    return [messages, age]
