"""What the metrics tell of the database: what is undelivered, and how it is looked after."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
import psycopg
import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from psycopg import errors

from relay.database import Connection, connect, transaction
from relay.monitoring.halted import Halted, read_halted
from relay.monitoring.horizon import HeldBack, held_back
from relay.monitoring.row_locks import row_locks
from relay.monitoring.status import (
    EventTypeFaults,
    Maintenance,
    PinnedPartition,
    Source,
    event_type_faults,
    maintenance,
    pinned_partitions,
    sources,
)
from relay.monitoring.table_locks import table_locks
from relay.monitoring.undelivered import Backlog, Held, read_backlog, read_held, undelivered
from relay.settings import Settings

logger = structlog.get_logger()

# However often metrics are scraped, the database is asked once in so long.
SAMPLE_SECONDS = 5.0

# Prometheus gives a scrape ten seconds, unless it is told otherwise. So long may all counts take
# together; the last may take the longest, and the others leave it something.
ALL_SECONDS, LAST_SECONDS = 7.0, 2.0
MIN_SECONDS = 0.1
TIMEOUT = "select set_config('statement_timeout', %s, true)"

Counted = TypeVar("Counted")


class Sample(msgspec.Struct, frozen=True):
    """How it stood at one moment. `dead_letters`: those that wait, by subscription.

    What is None took too long to count; without `maintenance` nothing but the sessions was read.
    """

    backlog: list[Backlog] | None
    held: list[Held] | None
    dead_letters: dict[str, int] | None
    maintenance: Maintenance | None
    pinned_partitions: list[PinnedPartition]
    sources: list[Source]
    event_type_faults: list[EventTypeFaults]
    halted: list[Halted]
    held_back: list[HeldBack]
    blocking_sessions: int | None = None


NOTHING = Sample([], [], {}, None, [], [], [], [], [])


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
        deadline = time.monotonic() + ALL_SECONDS
        before = deadline - LAST_SECONDS
        blocking = None
        try:
            with connect(self._settings) as connection:
                with transaction(connection):
                    connection.execute(TIMEOUT, (_timeout(before),))
                    blocking = _blocking(connection)
                with transaction(connection):
                    connection.execute(TIMEOUT, (_timeout(before),))
                    noted = maintenance(connection)
                    pinned = pinned_partitions(connection)
                    inward = sources(connection)
                    unfit = event_type_faults(connection)
                    horizon = held_back(connection)
                return Sample(
                    # A lock on the subscriptions hides nothing else.
                    halted=_counted(connection, "halted", read_halted, before) or [],
                    dead_letters=_counted(connection, "dead_letters", _dead_letters, before),
                    held=_counted(connection, "held", read_held, before),
                    backlog=_counted(connection, "unread", read_backlog, deadline),
                    maintenance=noted,
                    pinned_partitions=pinned,
                    sources=inward,
                    event_type_faults=unfit,
                    held_back=horizon,
                    blocking_sessions=blocking,
                )
        except psycopg.Error as fault:
            # No series rather than an old figure: an alert can ask for its absence.
            logger.warning("metrics_without_database", fault=str(fault))
            return msgspec.structs.replace(NOTHING, blocking_sessions=blocking)


def _blocking(connection: Connection) -> int:
    sessions = {str(lock.pid) for lock in table_locks(connection)}
    return len(sessions | {str(lock.pid or lock.name) for lock in row_locks(connection)})


def _timeout(deadline: float) -> str:
    """What is left until `deadline` of time.monotonic(), as Postgres writes it."""
    return f"{round(max(deadline - time.monotonic(), MIN_SECONDS) * 1000)}ms"


def _counted(
    connection: Connection, part: str, count: Callable[[Connection], Counted], deadline: float
) -> Counted | None:
    """None where very much waits for very many, and counting it took too long."""
    try:
        with transaction(connection):
            connection.execute(TIMEOUT, (_timeout(deadline),))
            return count(connection)
    except errors.QueryCanceled as fault:
        logger.warning("not_counted_in_time", part=part, fault=str(fault))
        return None


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
    for name, number in (sample.dead_letters or {}).items():
        dead_letters.add_metric([name], number)
    pinned = GaugeMetricFamily(
        "outbox_relay_pinned_partition",
        "1 for each empty partition that can't be dropped, since an object depends on it.",
        labels=["partition", "pinned_by"],
    )
    for one in sample.pinned_partitions:
        pinned.add_metric([one.partition, one.pinned_by], 1)
    blocking = GaugeMetricFamily(
        "outbox_relay_blocking_sessions",
        "Sessions and prepared transactions that hold, or wait for, what keeps others from the "
        "tables of the outbox or, for long, from rows there.",
    )
    if sample.blocking_sessions is not None:
        blocking.add_metric([], sample.blocking_sessions)
    return [
        *_backlog(sample.backlog or ()),
        *_undelivered(sample),
        _uncounted(sample),
        dead_letters,
        since,
        pinned,
        *_sources(sample.sources),
        _event_types(sample.event_type_faults),
        *_halted(sample.halted),
        *_horizon(sample.held_back),
        blocking,
    ]


def _event_types(found: Iterable[EventTypeFaults]) -> Metric:
    faults = GaugeMetricFamily(
        "outbox_relay_event_type_faults",
        "Messages that were published and do not fit their event type, where that is reported.",
        labels=["type"],
    )
    for one in found:
        faults.add_metric([one.type], one.faults)
    return faults


def _sources(found: Iterable[Source]) -> list[Metric]:
    lag = GaugeMetricFamily(
        "outbox_relay_source_waiting_records",
        "Records that wait for an inward connector, in all, as a relay last saw them.",
        labels=["connector"],
    )
    stopped = GaugeMetricFamily(
        "outbox_relay_source_stopped",
        "1 where an inward connector is paused or stopped at a question; 0 where it is read.",
        labels=["connector"],
    )
    away = GaugeMetricFamily(
        "outbox_relay_source_away",
        "1 where a relay can't read for an inward connector; status says why.",
        labels=["connector"],
    )
    dead_letters = GaugeMetricFamily(
        "outbox_relay_source_dead_letters",
        "What could not enter and is kept, of an inward connector.",
        labels=["connector"],
    )
    age = GaugeMetricFamily(
        "outbox_relay_source_moved_age_seconds",
        "Since an inward connector last took something in.",
        labels=["connector"],
    )
    for one in found:
        lag.add_metric([one.name], one.lag)
        stopped.add_metric([one.name], one.paused)
        away.add_metric([one.name], one.waiting_reason is not None)
        dead_letters.add_metric([one.name], one.dead_letters)
        if one.last_moved_age_seconds is not None:
            age.add_metric([one.name], one.last_moved_age_seconds)
    return [lag, stopped, away, dead_letters, age]


def _halted(found: Iterable[Halted]) -> list[Metric]:
    breaker = GaugeMetricFamily(
        "outbox_relay_breaker_open",
        "1 while a subscription's circuit breaker is open or half-open.",
        labels=["subscription"],
    )
    paused = GaugeMetricFamily(
        "outbox_relay_paused",
        "1 for each subscription that is paused: by an operator, or by the relay, whose endpoint "
        "is gone (410) or has failed for five days.",
        labels=["subscription", "by"],
    )
    for one in found:
        if one.breaker_open is not None:
            breaker.add_metric([one.subscription], one.breaker_open)
        if one.paused_by is not None:
            paused.add_metric([one.subscription, one.paused_by], 1)
    return [breaker, paused]


def _horizon(found: Iterable[HeldBack]) -> list[Metric]:
    seconds = GaugeMetricFamily(
        "outbox_relay_horizon_held_seconds",
        "For how long the xmin horizon has been held back, by kind of holder.",
        labels=["kind"],
    )
    transactions = GaugeMetricFamily(
        "outbox_relay_horizon_held_transactions",
        "How many transactions have begun since, by kind of holder.",
        labels=["kind"],
    )
    for one in found:
        if one.seconds is not None:
            seconds.add_metric([one.kind], one.seconds)
        transactions.add_metric([one.kind], one.transactions)
    return [seconds, transactions]


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


def _undelivered(sample: Sample) -> list[Metric]:
    messages = GaugeMetricFamily(
        "outbox_relay_undelivered_messages",
        "Messages that are not delivered: unread (counted as the backlog is), untried, retrying, "
        "in_flight, behind one of their group, or parked.",
        labels=["subscription", "state"],
    )
    age = GaugeMetricFamily(
        "outbox_relay_undelivered_oldest_age_seconds",
        "The age of the oldest of them, in whatever state, 0 where there is none.",
        labels=["subscription"],
    )
    whole = sample.backlog is not None and sample.held is not None
    for row in undelivered(sample.backlog, sample.held):
        for state, number in row.by_state.items():
            messages.add_metric([row.subscription, state], number)
        # That nothing of one part is old says nothing of the other.
        if whole or row.oldest_age_seconds is not None:
            age.add_metric([row.subscription], row.oldest_age_seconds or 0.0)
    return [messages, age]


def _uncounted(sample: Sample) -> Metric:
    uncounted = GaugeMetricFamily(
        "outbox_relay_uncounted",
        "1 where that part took too long to count: what is unread, what is held in any other "
        "state, or dead_letters.",
        labels=["part"],
    )
    if sample.maintenance is not None:
        uncounted.add_metric(["unread"], sample.backlog is None)
        uncounted.add_metric(["held"], sample.held is None)
        uncounted.add_metric(["dead_letters"], sample.dead_letters is None)
    return uncounted
