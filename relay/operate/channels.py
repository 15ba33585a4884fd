"""Channels that wait for their topics: listing them, giving one up."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg import errors
from psycopg.rows import class_row

from relay.database import Connection, transaction
from relay.operate.not_found import NotFoundError
from relay.operate.table import table


class Waiting(msgspec.Struct, frozen=True):
    """A channel of one subscription that waits; `more`: not all of its messages were counted."""

    subscription: str
    channel: str
    waiting_since: datetime
    waiting_reason: str
    messages: int
    more: bool


# One walk over at most 100,000 messages for each shard and priority, whose pages may be cold.
LIST_BOUNDS = "select set_config('statement_timeout', '30s', true)"
LIST = """
    select subscription, channel, waiting_since, waiting_reason, messages, more
    from outbox.waiting_channels()
"""


def read(connection: Connection) -> list[Waiting]:
    """All channels that wait, the longest first. Raises psycopg.Error."""
    with transaction(connection), connection.cursor(row_factory=class_row(Waiting)) as cursor:
        cursor.execute(LIST_BOUNDS)
        return cursor.execute(LIST).fetchall()


def render(channels: Sequence[Waiting]) -> str:
    """The list for people."""
    if not channels:
        return "no channel waits"
    return table(
        ("subscription", "channel", "waiting since", "messages", "because"),
        [
            (
                one.subscription,
                one.channel,
                one.waiting_since.isoformat(sep=" ", timespec="seconds"),
                f"{one.messages}{'+' if one.more else ''}",
                one.waiting_reason,
            )
            for one in channels
        ],
    )


class Dropped(msgspec.Struct, frozen=True):
    """What of a channel was passed over in one subscription; `more`: at least so many messages."""

    subscription: str
    messages: int
    more: bool


# No run holds a channel that waits for long; its messages are counted in a long log.
DROP_BOUNDS = """
    select set_config('lock_timeout', '15s', true), set_config('statement_timeout', '5min', true)
"""
DROP = """
    select subscription_name as subscription, sum(messages)::bigint as messages,
           bool_or(more) as more
    from outbox.drop_channel(%s, %s, %s)
    group by subscription_name
    order by subscription_name
"""


def drop(
    connection: Connection, channel: str, *, subscription: str | None, dry_run: bool
) -> list[Dropped]:
    """Passes over what a channel that waits has by now, in one subscription or in all.

    With `dry_run` it only counts. Raises NotFoundError where no such channel waits, and
    psycopg.errors.LockNotAvailable where a run does not end in 15 s.
    """
    with transaction(connection), connection.cursor(row_factory=class_row(Dropped)) as cursor:
        cursor.execute(DROP_BOUNDS)
        try:
            return cursor.execute(DROP, (channel, subscription, dry_run)).fetchall()
        except errors.NoDataFound as unknown:
            where = f" of subscription {subscription}" if subscription is not None else ""
            raise NotFoundError(f"no channel {channel}{where} waits for its topic") from unknown
