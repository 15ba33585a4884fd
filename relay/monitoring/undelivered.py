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
    untried: int
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
    select subscription, untried, retrying, in_flight, behind, parked,
           extract(epoch from clock_timestamp() - oldest_at)::float8 as oldest_age_seconds
    from outbox.delivery_summary
"""


def read_held(connection: Connection) -> list[Held]:
    """What is held of each subscription that has rows. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(Held)) as cursor:
        return cursor.execute(HELD).fetchall()


def undelivered(
    backlog: Iterable[Backlog] | None, held: Iterable[Held] | None
) -> list[Undelivered]:
    """By subscription, of each that is in `backlog`.

    A part that is None could not be counted: its states are left out, and the age is that of the
    other part alone. Without a backlog there are the subscriptions in `held`.
    """
    unread: dict[str, list[Backlog]] = {}
    for row in backlog or ():
        unread.setdefault(row.subscription, []).append(row)
    rows = {row.subscription: row for row in held or ()}
    return [
        _sum(
            name,
            unread[name] if backlog is not None else None,
            rows.get(name, _none_held(name)) if held is not None else None,
        )
        for name in sorted(rows if backlog is None else unread)
    ]


def _none_held(name: str) -> Held:
    return Held(name, 0, 0, 0, 0, 0, None)


def _sum(name: str, unread: list[Backlog] | None, held: Held | None) -> Undelivered:
    by_state = {} if unread is None else {"unread": sum(row.messages for row in unread)}
    if held is not None:
        for state in ("untried", "retrying", "in_flight", "behind", "parked"):
            by_state[state] = getattr(held, state)
    ages = [row.oldest_age_seconds for row in (*(unread or ()), held) if row is not None]
    return Undelivered(
        name,
        sum(by_state.values()),
        any(row.more for row in unread or ()),
        max((age for age in ages if age is not None), default=None),
        by_state,
    )
