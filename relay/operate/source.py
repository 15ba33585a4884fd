"""Inward connectors, for operators: adding, pausing, seeking, ending."""

from collections.abc import Mapping

from psycopg import errors
from psycopg.types.json import Jsonb

from relay.database import Connection, transaction
from relay.monitoring import status
from relay.operate.not_found import NotFoundError
from relay.operate.subscription import TIMEOUT, NameTakenError, taken

CONNECT = "select outbox.connect_in(%s, %s, %s, %s, priority => %s)"
FIND = "select id from outbox.source where name = %s"
PAUSE = "update outbox.source set paused = true, paused_reason = %s where id = %s"
RESUME = "update outbox.source set paused = false, paused_reason = null where id = %s"
# The next relay that looks finds no position, and begins where the settings say.
SEEK = "select outbox.seek_source(%s, %s)"
DELETE = "select outbox.end_source(%s)"


def add(
    connection: Connection,
    name: str,
    *,
    channel: str,
    kind: str,
    config: Mapping[str, object],
    priority: int = 3,
) -> int:
    """Lets a topic's records enter a channel with this priority. Returns the connector's id.

    Raises NameTakenError, and psycopg.errors.CheckViolation where a setting is refused.
    """
    values = (name, channel, kind, Jsonb(config), priority)
    with transaction(connection):
        connection.execute(TIMEOUT)
        try:
            row = connection.execute(CONNECT, values).fetchone()
        except errors.UniqueViolation as known:
            raise NameTakenError(taken(name)) from known
    assert row is not None
    return int(row[0])


def listed(connection: Connection) -> list[status.Source]:
    """All of them, by name. Raises psycopg.Error."""
    with transaction(connection):
        connection.execute(TIMEOUT)
        return status.sources(connection)


def pause(connection: Connection, name: str, reason: str | None) -> None:
    """Nothing enters until it is resumed. Raises NotFoundError."""
    with transaction(connection):
        connection.execute(PAUSE, (reason, find(connection, name)))


def resume(connection: Connection, name: str) -> None:
    """It goes on where it stood. Raises NotFoundError."""
    with transaction(connection):
        connection.execute(RESUME, (find(connection, name),))


def seek(connection: Connection, name: str, start: str) -> None:
    """It begins anew: `earliest`, `latest` or a time; and goes on, if it was paused.

    Raises NotFoundError, and psycopg.errors.CheckViolation for another word, and for a queue.
    """
    with transaction(connection):
        connection.execute(SEEK, (find(connection, name), start))


def delete(connection: Connection, name: str) -> None:
    """Ends it, with its positions and dead letters. Raises NotFoundError."""
    with transaction(connection):
        connection.execute(DELETE, (find(connection, name),))


def find(connection: Connection, name: str) -> int:
    """Its id, in the transaction under way. Raises NotFoundError."""
    connection.execute(TIMEOUT)
    row = connection.execute(FIND, (name,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no inward connector {name}: outbox-relay connectors")
    return int(row[0])
