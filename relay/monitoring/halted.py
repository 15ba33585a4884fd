"""Subscriptions that send nothing, or only probes: whose breaker is open, who paused which."""

from typing import Literal

import msgspec
from psycopg.rows import class_row

from relay.database import Connection


class Halted(msgspec.Struct, frozen=True):
    """One subscription. `breaker_open`, or half-open; None: its receiver has no breaker.

    `paused_by` the relay: its endpoint is gone (410), or has failed for five days.
    """

    subscription: str
    breaker_open: bool | None
    paused_by: Literal["operator", "relay"] | None


# The reasons with which outbox.disable is called begin so.
HALTED = """
    select name as subscription,
           case when kind <> 'kafka' then coalesce(breaker.state <> 'closed', false) end
               as breaker_open,
           case when not paused then null
                when paused_reason ~ '^(410 Gone|disabled): ' then 'relay'
                else 'operator' end as paused_by
    from outbox.subscription
    left join outbox.breaker_state as breaker on breaker.subscription = name
"""


def read_halted(connection: Connection) -> list[Halted]:
    """Every subscription's, the well ones' too. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(Halted)) as cursor:
        return cursor.execute(HALTED).fetchall()
