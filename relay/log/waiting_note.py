"""What a subscription says of itself while it waits, for `outbox-relay status` and the doctor."""

from relay.database import Connection

NOTE = "select outbox.note_waiting(%s, %s)"


def note_waiting(connection: Connection, subscription_id: int, reason: str | None) -> None:
    """What it waits for; None: it goes on. In the transaction under way. Raises psycopg.Error."""
    connection.execute(NOTE, (subscription_id, reason))
