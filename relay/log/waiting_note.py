"""What a subscription says of itself while it waits, for `outbox-relay status` and the doctor."""

from relay.database import Connection

NOTE = "select outbox.note_waiting(%s, %s)"


def note_waiting(connection: Connection, subscription_id: int, reason: str | None) -> None:
    """What it waits for; None: it goes on. In the transaction under way. Raises psycopg.Error."""
    connection.execute(NOTE, (subscription_id, reason))


NOTE_AWAY = """
select outbox.note_waiting(id, %(reason)s) from outbox.subscription
where id = %(id)s and outbox.other_cluster(settings) = %(cluster)s
"""


def note_away(connection: Connection, subscription_id: int, cluster: str, reason: str) -> None:
    """That its cluster is out of reach, unless it leads to another by now. As `note_waiting`."""
    parameters = {"id": subscription_id, "cluster": cluster, "reason": reason}
    connection.execute(NOTE_AWAY, parameters)
