"""Sending again what a subscription got before."""

from datetime import datetime

from psycopg import errors

from relay.database import Connection, transaction
from relay.log.message import exists
from relay.operate.not_found import NotFoundError

# It waits for runs that are under way, and counts everything that it sends again.
BOUNDS = """
    select set_config('lock_timeout', '15s', true), set_config('statement_timeout', '10min', true)
"""
REPLAY = "select outbox.replay(%s, %s, %s, %s)"


def replay(
    connection: Connection,
    subscription: str,
    *,
    from_time: datetime | None = None,
    from_message_id: int | None = None,
    dry_run: bool = False,
) -> int:
    """Sets a subscription back to a time or a message, one of them; says how many messages come.

    What is pending stays pending. With `dry_run` it only counts. Raises NotFoundError for a
    subscription or message that is not there, and psycopg.errors.LockNotAvailable where a run does
    not end in 15 s.
    """
    with transaction(connection):
        connection.execute(BOUNDS)
        if from_message_id is not None and not exists(connection, from_message_id):
            raise NotFoundError(
                f"there is no message {from_message_id} in the log: retention may have taken it"
            )
        try:
            row = connection.execute(
                REPLAY, (subscription, from_time, from_message_id, dry_run)
            ).fetchone()
        except errors.NoDataFound as unknown:
            raise NotFoundError(f"there is no subscription {subscription}") from unknown
    return int(row[0]) if row else 0
