"""The list of all subscriptions, for operators: who gets what, and how that goes."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.rows import class_row

from relay.database import Connection, transaction
from relay.operate.subscription import TIMEOUT
from relay.operate.table import table


class Listed(msgspec.Struct, frozen=True):
    """A subscription in the list. No path of an endpoint is told: it may hold a token.

    `breaker` is NULL but for endpoints: closed, failing, open (until `breaker_retry_at`) or
    half-open. The last five count the rows of messages that a run did not confirm.
    """

    name: str
    kind: str
    channels: list[str] | None
    types: list[str] | None
    delivery: str
    endpoint: str | None
    paused: bool
    paused_reason: str | None
    breaker: str | None
    breaker_retry_at: datetime | None
    backlog: int
    more: bool
    untried: int
    retrying: int
    in_flight: int
    behind: int
    parked: int


SUBSCRIPTIONS = """
    select subscription.name, kind, channels, types, delivery,
           target.origin || case when target.has_path then '…' else '' end as endpoint,
           paused, paused_reason,
           case when kind <> 'kafka' and breaker.state is null then 'closed'
                when breaker.state = 'closed' then 'failing'
                else breaker.state end as breaker,
           breaker.retry_at as breaker_retry_at,
           coalesce(backlog.messages, 0)::bigint as backlog, coalesce(backlog.more, false) as more,
           coalesce(untried, 0) as untried, coalesce(retrying, 0) as retrying,
           coalesce(in_flight, 0) as in_flight,
           coalesce(behind, 0) as behind, coalesce(parked, 0) as parked
    from outbox.subscription
    left join outbox.subscription_endpoint as target on target.subscription = subscription.name
    left join outbox.breaker_state as breaker on breaker.subscription = subscription.name
    left join outbox.delivery_summary as rows on rows.subscription = subscription.name
    left join (
        select subscription as name, sum(messages) as messages, bool_or(more) as more
        from outbox.subscription_backlog group by subscription
    ) as backlog on backlog.name = subscription.name
    order by subscription.name
"""


def read(connection: Connection) -> list[Listed]:
    """All of them, by name. Raises psycopg.Error."""
    with (
        transaction(connection),
        connection.cursor(row_factory=class_row(Listed)) as cursor,
    ):
        cursor.execute(TIMEOUT)
        return cursor.execute(SUBSCRIPTIONS).fetchall()


def render(subscriptions: Sequence[Listed]) -> str:
    """The list for people."""
    return table(
        (
            "name",
            "kind",
            "channels",
            "types",
            "to",
            "backlog",
            "untried",
            "retrying",
            "in flight",
            "behind",
            "parked",
            "breaker",
            "",
        ),
        [
            (
                one.name,
                one.kind,
                "all" if one.channels is None else " ".join(one.channels),
                "all" if one.types is None else " ".join(one.types),
                one.endpoint or one.delivery.replace("_", " "),
                f"{one.backlog}{'+' if one.more else ''}",
                one.untried,
                one.retrying,
                one.in_flight,
                one.behind,
                one.parked,
                _breaker(one),
                f"paused: {one.paused_reason or 'no reason given'}" if one.paused else "",
            )
            for one in subscriptions
        ],
    )


def _breaker(one: Listed) -> str | None:
    if one.breaker != "open" or one.breaker_retry_at is None:
        return one.breaker
    return f"open until {one.breaker_retry_at.isoformat(sep=' ', timespec='seconds')}"
