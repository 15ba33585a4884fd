"""Which database cluster the log belongs to: transaction ids mean nothing in another."""

from relay.database import Connection

FOREIGN_CLUSTER = "select outbox.foreign_cluster()"


def foreign_cluster(connection: Connection) -> str | None:
    """Why no relay may run on this database, with the hint; None: one may.

    Transaction ids mean nothing in another cluster than their own: messages would be skipped.
    """
    row = connection.execute(FOREIGN_CLUSTER).fetchone()
    if row is None or row[0] is None:
        return None
    return f"{row[0]} Stop the writers and run: outbox-relay rebase"
