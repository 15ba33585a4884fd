"""For how long others have held back the xmin horizon, as metrics tell it."""

import msgspec
from psycopg.rows import class_row

from relay.database import Connection


class HeldBack(msgspec.Struct, frozen=True):
    """What transactions, or slots, of one kind keep VACUUM from, in the whole cluster.

    `kind` is session, prepared transaction or replication slot. `seconds`: since the longest began;
    None of slots, and where this is not told. `transactions`: how many have begun since.
    """

    kind: str
    seconds: float | None
    transactions: int


HELD_BACK = """
    select kind, extract(epoch from clock_timestamp() - min(held_since))::float8 as seconds,
           max(transactions_ago) as transactions
    from outbox.horizon
    group by kind
"""


def held_back(connection: Connection) -> list[HeldBack]:
    """By kind, those of whom there is one. Raises psycopg.Error."""
    with connection.cursor(row_factory=class_row(HeldBack)) as cursor:
        return cursor.execute(HELD_BACK).fetchall()
