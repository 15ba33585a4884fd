"""What a subscription has not got yet, wherever it is held: one number, its parts, its age."""

from collections.abc import Iterable

import msgspec
from psycopg.rows import class_row

from relay.database import Connection


class Backlog(msgspec.Struct, frozen=True):
    """What one subscription has not read yet in one priority; `more`: and there is more."""

    subscription: str
    priority: int
    messages: int
    more: bool
    oldest_age_seconds: float | None


class Held(msgspec.Struct, frozen=True):
    """Messages of one subscription that a run has passed and that are not delivered.

    Each is counted in one state, by outbox.delivery_state (sql/migrations/008_delivery.sql).
    """

    subscription: str
    retrying: int
    in_flight: int
    behind: int
    parked: int
    oldest_age_seconds: float | None


class Undelivered(msgspec.Struct, frozen=True):
    """All that one subscription has yet to get; `more`: and there is more that is unread."""

    subscription: str
    messages: int
    more: bool
    oldest_age_seconds: float | None
    by_state: dict[str, int]


BACKLOG = """
    select subscription, priority, messages, more,
           extract(epoch from clock_timestamp() - oldest_at)::float8 as oldest_age_seconds
    from outbox.subscription_backlog
    order by subscription, priority
"""


def read_backlog(connection: Connection) -> list[Backlog]:
    """What is unread, by subscription and priority, up to the view's cap. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(Backlog)) as cursor:
        return cursor.execute(BACKLOG).fetchall()


HELD = """
    select subscription, retrying, in_flight, behind, parked,
           extract(epoch from clock_timestamp() - oldest_at)::float8 as oldest_age_seconds
    from outbox.delivery_summary
"""


def undelivered(connection: Connection, backlog: Iterable[Backlog]) -> list[Undelivered]:
    """By subscription, of each that has cursors; `backlog` is what is unread of it.

    Raises psycopg.Error.
    """
    with connection.cursor(row_factory=class_row(Held)) as cursor:
        held = {row.subscription: row for row in cursor.execute(HELD)}
    unread: dict[str, list[Backlog]] = {}
    for row in backlog:
        unread.setdefault(row.subscription, []).append(row)
    return [_sum(name, rows, held.get(name)) for name, rows in sorted(unread.items())]


def _sum(name: str, unread: list[Backlog], held: Held | None) -> Undelivered:
    by_state = {"unread": sum(row.messages for row in unread)}
    for state in ("retrying", "in_flight", "behind", "parked"):
        by_state[state] = getattr(held, state) if held is not None else 0
    ages = [row.oldest_age_seconds for row in (*unread, held) if row is not None]
    return Undelivered(
        name,
        sum(by_state.values()),
        any(row.more for row in unread),
        max((age for age in ages if age is not None), default=None),
        by_state,
    )
