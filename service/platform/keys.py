"""API keys, as operators make, list and revoke them. What they allow: web/authorization.py."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from service.web.access.keys import PREFIX, Scope, hash_of

KEY_BYTES = 32


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as operators see it; the key itself is shown once, when it is made.

    `channels` is None where it is limited to none. `last_used_at` is right to a minute.
    """

    id: int
    name: str
    scopes: list[Scope]
    channels: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    expired: bool


CREATE: LiteralString = """
    insert into outbox.api_key (name, hash, scopes, channels, expires_at)
    values (%(name)s, %(hash)s, %(scopes)s, %(channels)s,
            coalesce(%(expires_at)s::timestamptz, clock_timestamp() + %(lifetime)s::interval))
"""


def create(
    connection: Connection[Any],
    name: str,
    scopes: Sequence[Scope],
    channels: Sequence[str] | None = None,
    expires: datetime | timedelta | None = None,
) -> str:
    """Makes a key and returns it; it can't be read again.

    `channels` are names, or beginnings of names with `*` behind; None: all. `expires` is a moment,
    or how long from now. Raises psycopg.errors.CheckViolation for what outbox.api_key refuses.
    """
    key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    parameters = {
        "name": name,
        "hash": hash_of(key),
        "scopes": list(scopes),
        "channels": None if channels is None else list(channels),
        "expires_at": expires if isinstance(expires, datetime) else None,
        "lifetime": expires if isinstance(expires, timedelta) else None,
    }
    connection.execute(CREATE, parameters)
    return key


LIST: LiteralString = """
    select id, name, scopes, channels, created_at, expires_at, last_used_at, revoked_at,
           coalesce(expires_at <= clock_timestamp(), false) as expired
    from outbox.api_key left join outbox.api_key_use on api_key_id = id
    order by id
"""


def listed(connection: Connection[Any]) -> list[Key]:
    """All keys, the revoked and the expired ones among them."""
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        return cursor.execute(LIST).fetchall()


REVOKE: LiteralString = """
    update outbox.api_key set revoked_at = coalesce(revoked_at, clock_timestamp())
    where id = %(id)s
"""


def revoke(connection: Connection[Any], key_id: int) -> bool:
    """Ends a key, from the next request on; again does nothing. False: there is none.

    It waits for no request that the key is used by at this moment.
    """
    return connection.execute(REVOKE, {"id": key_id}).rowcount == 1
