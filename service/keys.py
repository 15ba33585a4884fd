"""API keys: who may use the platform's HTTP API, and for what."""

import hashlib
import secrets
from datetime import datetime
from typing import Any, Literal, LiteralString, get_args

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from service.database import Database, Transaction
from service.problems import Problem

Scope = Literal["publish", "manage", "read"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

PREFIX = "ok_"
KEY_BYTES = 32


class Caller(msgspec.Struct, frozen=True):
    """Whose key a request carries."""

    id: int
    name: str
    scopes: list[Scope]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as operators see it; the key itself is shown once, when it is made."""

    id: int
    name: str
    scopes: list[Scope]
    created_at: datetime
    revoked_at: datetime | None


FIND: LiteralString = """
    select id, name, scopes from outbox.api_key where hash = %(hash)s and revoked_at is null
"""


async def authorize(database: Database, authorization: str | None, scope: Scope) -> Caller:
    """Whose request it is. Raises Problem: 401 without a valid key, 403 without the scope.

    The key is looked up by its SHA-256: how long that takes tells nothing about any stored key.
    """
    kind, _, secret = (authorization or "").partition(" ")
    secret = secret.strip()
    if kind.lower() != "bearer" or not secret.startswith(PREFIX):
        raise _unauthorized(f"Send an API key as `Authorization: Bearer {PREFIX}…`.")

    async def find(transaction: Transaction) -> Caller | None:
        return await (await transaction.select(Caller, FIND, {"hash": _hash(secret)})).fetchone()

    if (caller := await database.run(find)) is None:
        raise _unauthorized("The API key is unknown or revoked.")
    if scope not in caller.scopes:
        has = ", ".join(caller.scopes)
        raise Problem(403, f"This needs a key with the scope {scope}; this one has {has}.")
    return caller


CREATE: LiteralString = """
    insert into outbox.api_key (name, hash, scopes) values (%(name)s, %(hash)s, %(scopes)s)
"""


def create(connection: Connection[Any], name: str, scopes: list[Scope]) -> str:
    """Makes a key and returns it; nobody can read it again.

    Raises psycopg.errors.CheckViolation for a name that is empty, too long or not printable.
    """
    key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    connection.execute(CREATE, {"name": name, "hash": _hash(key), "scopes": scopes})
    return key


LIST: LiteralString = """
    select id, name, scopes, created_at, revoked_at from outbox.api_key order by id
"""


def listed(connection: Connection[Any]) -> list[Key]:
    """All keys, the revoked ones among them."""
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        return cursor.execute(LIST).fetchall()


REVOKE: LiteralString = """
    update outbox.api_key set revoked_at = coalesce(revoked_at, clock_timestamp())
    where id = %(id)s
"""


def revoke(connection: Connection[Any], key_id: int) -> bool:
    """Ends a key, from the next request on; again does nothing. False: there is none."""
    return connection.execute(REVOKE, {"id": key_id}).rowcount == 1


def _hash(key: str) -> bytes:
    # Plain SHA-256: there is nothing to guess in 32 random bytes.
    return hashlib.sha256(key.encode()).digest()


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
