"""How it stands: what waits, what moved lately, who works on what."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from relay.database import Connection, transaction
from relay.log.cluster import foreign_cluster
from relay.monitoring.row_locks import RowLock, row_locks
from relay.monitoring.table_locks import TableLock, table_locks
from relay.monitoring.undelivered import (
    Backlog,
    Undelivered,
    read_backlog,
    read_held,
    undelivered,
)


class Subscription(msgspec.Struct, frozen=True):
    """One subscription and its last sign of life; five minutes' worth of what it got."""

    name: str
    kind: str
    paused: bool
    paused_reason: str | None
    last_relay: str | None
    last_checkpoint_age_seconds: float | None
    messages_in_5_minutes: int
    bytes_in_5_minutes: int


class Source(msgspec.Struct, frozen=True):
    """An inward connector: how many records wait as a relay last saw it, and how many entered."""

    name: str
    channel: str
    priority: int
    topic: str
    brokers: str
    paused: bool
    paused_reason: str | None
    waiting_reason: str | None
    lag: int
    entered: int
    passed: int
    dead_letters: int
    last_moved_age_seconds: float | None
    direction: str = "in"


class EventTypeFaults(msgspec.Struct, frozen=True):
    """A type of which messages were published that do not fit; that is only reported.

    `keyword` and `pointer` are of the latest.
    """

    type: str
    owner: str
    faults: int
    last_age_seconds: float | None
    keyword: str | None
    pointer: str | None


class Endpoint(msgspec.Struct, frozen=True):
    """An http subscription: its breaker, and the rows of messages that a run did not confirm.

    `breaker` is closed, open (until `breaker_retry_at`) or half-open; `failing_seconds` since its
    first failure after the last success. `next_due_seconds` until the next retry.
    """

    subscription: str
    breaker: str
    breaker_retry_at: datetime | None
    failing_seconds: float | None
    untried: int
    retrying: int
    in_flight: int
    behind: int
    parked: int
    next_due_seconds: float | None


class Waiting(msgspec.Struct, frozen=True):
    """A channel that waits alone, and what for; with None for the channel a whole subscription."""

    subscription: str
    channel: str | None
    reason: str
    seconds: float


class DeadLetters(msgspec.Struct, frozen=True):
    """Dead letters of one kind; `waiting` for an operator to redrive them."""

    subscription: str
    channel: str
    reason: str
    waiting: int
    redriven: int
    last_died_at: datetime


class Holder(msgspec.Struct, frozen=True):
    """A relay that is in a run now."""

    relay: str
    subscription: str
    priority: int
    shard: int
    channel: str | None
    seconds: float | None


class Maintenance(msgspec.Struct, frozen=True):
    """When a relay last looked after the log and left nothing out.

    `fault`: what went wrong in the latest round.
    """

    age_seconds: float
    relay: str
    fault: str | None

    @property
    def late(self) -> bool:
        """An operator has to look: the log grows, and nothing is made ahead of it."""
        return self.age_seconds > LATE_SECONDS


class PinnedPartition(msgspec.Struct, frozen=True):
    """An empty partition that can't be dropped: `pinned_by` says what depends on it."""

    partition: str
    pinned_by: str


class Status(msgspec.Struct, frozen=True):
    """Everything that `outbox-relay status` tells. `fault`: why no relay runs on this database."""

    fault: str | None
    table_locks: list[TableLock]
    row_locks: list[RowLock]
    maintenance: Maintenance
    pinned_partitions: list[PinnedPartition]
    subscriptions: list[Subscription]
    undelivered: list[Undelivered]
    backlog: list[Backlog]
    endpoints: list[Endpoint]
    waiting: list[Waiting]
    dead_letters: list[DeadLetters]
    holders: list[Holder]
    sources: list[Source]
    event_type_faults: list[EventTypeFaults]


# What waits is counted up to a cap, but a cold cache can make even that long.
TIMEOUT = """
    select set_config('statement_timeout', '10s', true), set_config('lock_timeout', '8s', true)
"""


def read(connection: Connection) -> Status:
    """Asks the database, in one transaction; by its clock. Raises psycopg.Error."""
    with transaction(connection):
        connection.execute(TIMEOUT)
        backlog = read_backlog(connection)
        return Status(
            fault=foreign_cluster(connection),
            table_locks=table_locks(connection),
            row_locks=row_locks(connection),
            maintenance=maintenance(connection),
            pinned_partitions=pinned_partitions(connection),
            subscriptions=_subscriptions(connection),
            undelivered=undelivered(backlog, read_held(connection)),
            backlog=backlog,
            endpoints=_endpoints(connection),
            waiting=_waiting(connection),
            dead_letters=_dead_letters(connection),
            holders=_holders(connection),
            sources=sources(connection),
            event_type_faults=event_type_faults(connection),
        )


# Its rounds are a minute apart.
LATE_SECONDS = 600.0
MAINTENANCE = """
    select extract(epoch from clock_timestamp() - done_at)::float8 as age_seconds, relay, fault
    from outbox.maintenance
"""


def maintenance(connection: Connection) -> Maintenance:
    """How it stands with the care of the log. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(Maintenance)) as cursor:
        noted = cursor.execute(MAINTENANCE).fetchone()
    assert noted is not None, "outbox.maintenance has no row"
    return noted


PINNED_PARTITIONS = "select partition, pinned_by from outbox.pinned_partitions() limit 1000"


def pinned_partitions(connection: Connection) -> list[PinnedPartition]:
    """Those that are left for others' objects. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(PinnedPartition)) as cursor:
        return cursor.execute(PINNED_PARTITIONS).fetchall()


SUBSCRIPTIONS = """
    select subscription as name, kind, bool_or(position.paused) as paused,
           min(position.paused_reason) as paused_reason,
           (array_agg(last_relay order by last_checkpoint_at desc)
                filter (where last_relay is not null))[1] as last_relay,
           extract(epoch from clock_timestamp()
                - max(last_checkpoint_at) filter (where last_relay is not null))::float8
                as last_checkpoint_age_seconds,
           coalesce(max(lately.messages), 0)::bigint as messages_in_5_minutes,
           coalesce(max(lately.bytes), 0)::bigint as bytes_in_5_minutes
    from outbox.cursor_position as position
    join outbox.subscription on subscription.name = position.subscription
    left join (
        select subscription, sum(messages) as messages, sum(bytes) as bytes
        from outbox.throughput
        where minute > date_trunc('minute', clock_timestamp()) - interval '5 minutes'
        group by subscription
    ) as lately using (subscription)
    group by subscription, kind
    order by subscription
"""


def _subscriptions(connection: Connection) -> list[Subscription]:
    with connection.cursor(row_factory=class_row(Subscription)) as cursor:
        return cursor.execute(SUBSCRIPTIONS).fetchall()


ENDPOINTS = """
    select name as subscription, coalesce(breaker.state, 'closed') as breaker,
           breaker.retry_at as breaker_retry_at,
           extract(epoch from clock_timestamp() - breaker.failing_since)::float8 as failing_seconds,
           coalesce(untried, 0) as untried, coalesce(retrying, 0) as retrying,
           coalesce(in_flight, 0) as in_flight,
           coalesce(behind, 0) as behind, coalesce(parked, 0) as parked,
           extract(epoch from rows.next_due_at - clock_timestamp())::float8 as next_due_seconds
    from outbox.subscription
    left join outbox.breaker_state as breaker on breaker.subscription = name
    left join outbox.delivery_summary as rows on rows.subscription = name
    where kind <> 'kafka'
    order by name
"""


def _endpoints(connection: Connection) -> list[Endpoint]:
    with connection.cursor(row_factory=class_row(Endpoint)) as cursor:
        return cursor.execute(ENDPOINTS).fetchall()


WAITING = """
    select subscription, channel, min(waiting_reason) as reason,
           extract(epoch from clock_timestamp() - min(waiting_since))::float8 as seconds
    from outbox.cursor_position
    where waiting_since is not null
    group by subscription, channel
    union all
    select name, null, waiting_reason,
           extract(epoch from clock_timestamp() - waiting_since)::float8
    from outbox.subscription where waiting_since is not null
    order by seconds desc
    limit 1000
"""


def _waiting(connection: Connection) -> list[Waiting]:
    with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(WAITING).fetchall()


DEAD_LETTERS = """
    select subscription, channel, reason, waiting, redriven, last_died_at
    from outbox.dead_letter_summary
    where waiting + redriven > 0
    order by subscription, channel, reason
    limit 1000
"""


def _dead_letters(connection: Connection) -> list[DeadLetters]:
    with connection.cursor(row_factory=class_row(DeadLetters)) as cursor:
        return cursor.execute(DEAD_LETTERS).fetchall()


HOLDERS = """
    select holder.relay, position.subscription, position.priority, position.shard,
           position.channel, extract(epoch from clock_timestamp() - holder.since)::float8 as seconds
    from outbox.cursor_holder as holder
    join outbox.cursor_position as position using (cursor_id)
    order by holder.relay, position.subscription, position.priority, position.shard
"""


def _holders(connection: Connection) -> list[Holder]:
    with connection.cursor(row_factory=class_row(Holder)) as cursor:
        return cursor.execute(HOLDERS).fetchall()


SOURCES = """
    select name, channel, priority, topic, brokers, paused, paused_reason, waiting_reason, lag,
           entered, passed, dead_letters,
           extract(epoch from clock_timestamp() - moved_at)::float8 as last_moved_age_seconds
    from outbox.source_state order by name
"""


def sources(connection: Connection) -> list[Source]:
    """All inward connectors, by name. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(Source)) as cursor:
        return cursor.execute(SOURCES).fetchall()


EVENT_TYPE_FAULTS = """
    select type, owner, faults, last_keyword as keyword, last_pointer as pointer,
           extract(epoch from clock_timestamp() - last_fault_at)::float8 as last_age_seconds
    from outbox.event_type_state where faults > 0
    order by last_fault_at desc nulls last, type
    limit 1000
"""


def event_type_faults(connection: Connection) -> list[EventTypeFaults]:
    """Those with faults, the latest first. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(EventTypeFaults)) as cursor:
        return cursor.execute(EVENT_TYPE_FAULTS).fetchall()
