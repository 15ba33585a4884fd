"""Endpoints' secrets as they lie in the database: which are sealed, and sealing the rest."""

from collections.abc import Iterator
from datetime import datetime

import msgspec
import structlog

from relay.database import Connection, transaction
from relay.keyring import CannotOpenError, Keyring

logger = structlog.get_logger()


class Secret(msgspec.Struct, frozen=True):
    """A row of outbox.secret that is in use: its key as it is, or sealed."""

    subscription_id: int
    subscription: str
    created_at: datetime
    key: bytes | None
    sealed: str | None

    def __repr__(self) -> str:
        return f"Secret({self.subscription!r})"


class AtRest(msgspec.Struct):
    """How many secrets there are of each kind; `unopened` names the subscriptions of the last."""

    plain: int = 0
    newest: int = 0
    older: int = 0
    unopened: list[str] = msgspec.field(default_factory=list)


SECRETS = """
    select x.subscription_id, s.name, x.created_at, x.key, x.sealed
    from outbox.secret x
    join outbox.subscription s on s.id = x.subscription_id
    where x.expires_at is null or x.expires_at > clock_timestamp()
    order by x.subscription_id, x.created_at
"""


def _secrets(connection: Connection) -> Iterator[Secret]:
    with transaction(connection):
        connection.execute(TIMEOUT)
        rows = connection.execute(SECRETS).fetchall()
    for row in rows:
        yield Secret(*row)


def look(connection: Connection, keyring: Keyring) -> AtRest:
    """How they lie there. Raises psycopg.Error."""
    found = AtRest()
    for secret in _secrets(connection):
        _count(found, secret, keyring)
    return found


TIMEOUT = """
    select set_config('lock_timeout', '2s', true), set_config('statement_timeout', '10s', true)
"""
# No key goes to the server as it is: it may log what it is given.
SEAL = "select outbox.seal_secret(%s, %s, %s, %s)"


def seal(connection: Connection, keyring: Keyring) -> AtRest:
    """Seals what is not, or by an older key, with the newest one; how they lay there before.

    Nothing is done where there is no key. Raises psycopg.Error.
    """
    found = AtRest()
    if not keyring:
        return found
    for secret in _secrets(connection):
        key = _count(found, secret, keyring)
        if key is not None:
            values = (secret.subscription_id, secret.created_at, keyring.seal(key), secret.sealed)
            with transaction(connection):
                connection.execute(TIMEOUT)
                connection.execute(SEAL, values)
    if found.plain or found.older:
        logger.info("secrets_sealed", plain=found.plain, by_older_keys=found.older)
    return found


def _count(found: AtRest, secret: Secret, keyring: Keyring) -> bytes | None:
    """Counts it; its key where it is to be sealed (anew)."""
    if secret.sealed is None:
        found.plain += 1
        return secret.key
    if keyring and keyring.is_newest(secret.sealed):
        found.newest += 1
        return None
    try:
        key = keyring.open(secret.sealed)
    except CannotOpenError:
        if secret.subscription not in found.unopened:
            found.unopened.append(secret.subscription)
        return None
    found.older += 1
    return key
