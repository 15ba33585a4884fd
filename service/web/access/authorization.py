"""Whose request it is, and what its key allows."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import LiteralString, NamedTuple

import msgspec
from starlette.datastructures import Headers

from service.database.pool import Database
from service.database.transaction import Transaction
from service.fair_turns import asks_for
from service.problems import Problem
from service.web.access.keys import FORM, PREFIX, Scope, hash_of

# RFC 6750, section 2.1; the scheme's case does not count (RFC 9110, section 11.1).
_BEARER = re.compile(rf"(?i:bearer) +({FORM}) *")

# A key that was made meanwhile works after this time.
UNKNOWN_SECONDS = 1.0
MAX_UNKNOWN = 4096
MAX_SEEN = 4096


class Form(NamedTuple):
    """How requests carry a key: `key` finds it in their header, None where it has none.

    `asks` and `challenge` are for who sends none: a sentence, and WWW-Authenticate.
    """

    key: Callable[[str], str | None]
    asks: str
    challenge: str


def _bearer(header: str) -> str | None:
    found = _BEARER.fullmatch(header)
    return None if found is None else found[1]


BEARER = Form(
    key=_bearer, asks=f"Send one API key as `Authorization: Bearer {PREFIX}…`.", challenge="Bearer"
)


class Caller(msgspec.Struct, frozen=True):
    """Whose key a request carries; `channels` limit it where they are not None."""

    id: int
    name: str
    scopes: list[Scope]
    channels: list[str] | None

    def may_use(self, channel: str) -> bool:
        """Whether it may publish there, or have it sent somewhere; see outbox.channel_allowed."""
        return self.channels is None or any(_fits(one, channel) for one in self.channels)

    def may_see(self, channels: Sequence[str] | None) -> bool:
        """Whether it may use every channel that a subscription reads; None: it reads all."""
        if self.channels is None:
            return True
        return bool(channels) and all(map(self.may_use, channels or ()))


def _fits(pattern: str, channel: str) -> bool:
    if not pattern.endswith("*"):
        return channel == pattern
    # The platform's channels are meant by a pattern that names them, and not by `o*`.
    reaches = pattern.startswith("outbox.") or not channel.startswith("outbox.")
    return reaches and channel.startswith(pattern[:-1])


USE: LiteralString = "select id, name, scopes, channels from outbox.use_key(%(hash)s)"


class Authorization:
    """The keys of one database. Valid ones are looked up anew by every request.

    So a key that is revoked or has expired is refused by the next request; what is remembered, for
    a second, is that a key is none.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unknown = UnknownKeys()
        # Hashes of keys that were valid, the latest last, and for whom those ask.
        self._seen: dict[bytes, str] = {}

    async def caller(
        self, headers: Headers, scopes: Sequence[Scope], form: Form = BEARER
    ) -> Caller:
        """Raises Problem: 401 without a valid key, 403 for one that has none of the scopes.

        A key is looked up by its SHA-256: how long that takes tells nothing about any stored key.
        """
        given = headers.getlist("authorization")
        key = form.key(given[0]) if len(given) == 1 else None
        if key is None:
            raise _unauthorized(form.asks, form)
        if (caller := await self.known(hash_of(key))) is None:
            raise _unauthorized(UNKNOWN, form)
        require_any(caller, scopes)
        return caller

    async def known(
        self,
        hash_: bytes,
        statement: LiteralString = USE,
        parameters: Mapping[str, object] = MappingProxyType({}),
    ) -> Caller | None:
        """Whose key has this hash, or whatever else `statement` finds a key by; None: nobody's.

        `hash_` is among the statement's parameters; its columns are those of a Caller.
        """
        if hash_ in self._unknown:
            return None
        caller = await self._find(hash_, statement, {"hash": hash_, **parameters})
        if caller is None:
            self._seen.pop(hash_, None)
            self._unknown.add(hash_)
            return None
        self._remember(hash_, caller)
        return caller

    async def _find(
        self, hash_: bytes, statement: LiteralString, parameters: Mapping[str, object]
    ) -> Caller | None:
        """What was valid before has its key's own turn; all that is unknown shares one."""

        async def find(transaction: Transaction) -> Caller | None:
            return await transaction.one(Caller, statement, parameters)

        if (name := self._seen.get(hash_)) is None:
            return await self._database.look_up(find)
        asks_for.set(name)
        return await self._database.run(find)

    def _remember(self, key_hash: bytes, caller: Caller) -> None:
        """From here on the request asks for the key, as its next one does from the beginning."""
        name = f"key {caller.name}"
        asks_for.set(name)
        self._seen.pop(key_hash, None)
        if len(self._seen) >= MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[key_hash] = name


class UnknownKeys:
    """Hashes of keys that the database did not know a moment ago; so many at most."""

    def __init__(self) -> None:
        # In the order in which they are forgotten.
        self._until: dict[bytes, float] = {}

    def add(self, key_hash: bytes) -> None:
        """For the next second. Where there are too many, the oldest is forgotten."""
        self._until.pop(key_hash, None)
        if len(self._until) >= MAX_UNKNOWN:
            del self._until[next(iter(self._until))]
        self._until[key_hash] = time.monotonic() + UNKNOWN_SECONDS

    def __contains__(self, key_hash: bytes) -> bool:
        return time.monotonic() < self._until.get(key_hash, 0.0)


UNKNOWN = "The API key is unknown, revoked or expired."


def _unauthorized(detail: str, form: Form) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": form.challenge})


def require_any(caller: Caller, scopes: Sequence[Scope]) -> None:
    """Raises Problem 403 where the key has none of them."""
    if not set(scopes) & set(caller.scopes):
        raise lacking_scope(caller, " or ".join(scopes))


def lacking_scope(caller: Caller, scopes: str) -> Problem:
    """403: the key is valid, and has other scopes."""
    has = ", ".join(caller.scopes)
    return Problem(403, f"This needs a key with the scope {scopes}; this one has {has}.")
