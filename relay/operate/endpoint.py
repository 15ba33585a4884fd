"""What operators do with a subscription to an endpoint alone: test it, retry, rotate its secret."""

from typing import Any, LiteralString

from psycopg import errors

from relay.database import Connection, transaction
from relay.keyring import UNSEALED, Keyring
from relay.operate.not_found import NotFoundError
from relay.operate.subscription import TIMEOUT
from relay.secrets.new import new_secret

SEND_TEST = "select outbox.send_test(%s)"


def send_test(connection: Connection, name: str) -> int:
    """Queues one message for this endpoint alone; its id. Raises NotFoundError."""
    return int(_of_http(connection, SEND_TEST, name))


ROTATE_SECRET = "select outbox.rotate_secret(%s, %s, %s)"


def rotate_secret(
    connection: Connection,
    name: str,
    *,
    revoke_old: str = "after_a_day",
    keyring: Keyring = UNSEALED,
) -> str:
    """A new secret, `whsec_…`. The old one serves for a day more, or with 'now' no longer.

    Sealed at rest where there is a key. Raises NotFoundError.
    """
    made = new_secret(keyring)
    returned = _of_http(connection, ROTATE_SECRET, name, revoke_old, made.sealed)
    return made.shown or str(returned)


HTTP = "select id from outbox.subscription where name = %s and kind = 'http'"


def _of_http(connection: Connection, statement: LiteralString, name: str, *more: object) -> Any:
    with transaction(connection):
        connection.execute(TIMEOUT)
        found = connection.execute(HTTP, (name,)).fetchone()
        if found is None:
            raise NotFoundError(f"there is no http subscription {name}")
        row = connection.execute(statement, (*found, *more)).fetchone()
    return row[0] if row else None


RETRY = "select outbox.retry(%s, %s)"


def retry(connection: Connection, name: str, group_key: str | None) -> int:
    """Makes due what waits for its next attempt, or of one group alone; how many messages.

    Raises NotFoundError where there is no such subscription to an endpoint.
    """
    try:
        with transaction(connection):
            connection.execute(TIMEOUT)
            row = connection.execute(RETRY, (name, group_key)).fetchone()
    except errors.NoDataFound as unknown:
        raise NotFoundError(f"there is no http subscription {name}") from unknown
    return int(row[0]) if row else 0
