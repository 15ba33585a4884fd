"""After a restore into another cluster: where every cursor goes on."""

from datetime import datetime

from relay.database import Connection, transaction
from relay.operate.table import table

REBASE = "select * from outbox.rebase(%s)"


def rebase(connection: Connection, *, repeat_from: datetime | None) -> str:
    """Gives the log's transaction ids this cluster's meaning, and tells where each cursor stands.

    With `repeat_from`, everything since then goes out again. Raises psycopg.errors.LockNotAvailable
    while writers are at work.
    """
    with transaction(connection):
        result = connection.execute(REBASE, (repeat_from,))
    headers = [column.name.replace("_", " ") for column in result.description or ()]
    return table(headers, result.fetchall())
