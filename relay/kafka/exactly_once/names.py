"""What a cursor is called in Kafka: its consumer group, its transactions by generation."""

from typing import LiteralString

from relay.database import Connection
from relay.log.claim import Claimed
from relay.log.cursor import Cursor
from relay.log.sink import GENERATION

# What a claim reads besides.
KNOWN_AS: LiteralString = """
select c.id, c.generation, c.noted_in from outbox.cursor c where c.id = any (%(cursors)s::bigint[])
"""
NOTED = "update outbox.cursor set noted_in = %(cluster)s where id = %(cursor)s"
RENAME = """
update outbox.cursor
set generation = generation + 1, noted_in = case when %(noted)s::boolean then noted_in end
where id = %(cursor)s
"""


def group_name(claimed: Claimed, cursor_id: int) -> str:
    """Of the consumer group of one cursor, and of its transactions of the first generation."""
    assert claimed.origin is not None
    return f"outbox.{claimed.origin.installation}.{cursor_id}"


def transactions_name(claimed: Claimed) -> str:
    """Of the claimed cursor's transactions, in their generation."""
    assert claimed.besides is not None
    generation = claimed.besides[0]
    group = group_name(claimed, claimed.cursor.id)
    return f"{group}{GENERATION}{generation}" if generation else group


def noted_in(claimed: Claimed) -> str | None:
    """The cluster in which a transaction of the claimed cursor may have been committed, in the
    words of the settings; empty for the environment's, and None where there is none.
    """
    assert claimed.besides is not None
    cluster: str | None = claimed.besides[1]
    return cluster


def note(connection: Connection, cursor: Cursor) -> None:
    """Writes that from now on a transaction of the cursor may be committed where it goes."""
    connection.execute(NOTED, {"cursor": cursor.id, "cluster": cursor.sink_settings.cluster})


def begin_generation(connection: Connection, cursor: Cursor, *, noted: bool) -> None:
    """The cursor's transactions have another name from the commit of this run on.

    `noted`: one under the former name may have been committed.
    """
    connection.execute(RENAME, {"cursor": cursor.id, "noted": noted})
