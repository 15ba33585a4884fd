"""A session of the console: a random token in a cookie, of which the database knows the hash.

It is an API key's: each look-up goes through the same check of the key as a request to the API.
"""

import hashlib
import hmac
import re
import secrets
from typing import LiteralString

from starlette.requests import Request
from starlette.responses import Response

from service.console.origin import is_plain
from service.database.transaction import Transaction
from service.web.access.authorization import Authorization, Caller
from service.web.access.keys import FORM, hash_of

# On the service's own machine, without TLS.
COOKIE = "console"
# A browser takes this name only from this host, over TLS and for all paths.
COOKIE_BY_TLS = f"__Host-{COOKIE}"
TOKEN_BYTES = 32
# What token_urlsafe makes of so many bytes.
TOKEN_FORM = re.compile(r"[A-Za-z0-9_\-]{43}")
LIFE_SECONDS = 12 * 3600

BEGIN: LiteralString = """
    select id, name, scopes, channels from outbox.begin_session(%(key_hash)s, %(hash)s)
"""
USE: LiteralString = "select id, name, scopes, channels from outbox.use_session(%(hash)s)"
END: LiteralString = "select outbox.end_session(%(hash)s)"


def token_of(request: Request) -> str | None:
    """The token in the request's cookie; None without one that may be a token."""
    token = request.cookies.get(COOKIE if is_plain(request) else COOKIE_BY_TLS)
    return token if token is not None and TOKEN_FORM.fullmatch(token) else None


async def find(request: Request, token: str) -> Caller | None:
    """Whose session it is; None where it is over, or its key was revoked or has expired."""
    authorization: Authorization = request.state.authorization
    return await authorization.known(hash_of(token), USE)


async def begin(request: Request, key: str) -> tuple[Caller, str] | None:
    """A new session of this key, and its token; None where the key is none."""
    if not re.fullmatch(FORM, key):
        return None
    token = secrets.token_urlsafe(TOKEN_BYTES)
    authorization: Authorization = request.state.authorization
    # By the key's hash: what is no key is remembered as such for a second, as in the API.
    parameters = {"key_hash": hash_of(key), "hash": hash_of(token)}
    caller = await authorization.known(hash_of(key), BEGIN, parameters)
    return None if caller is None else (caller, token)


async def end(request: Request, token: str) -> None:
    """From the next request on it opens nothing."""

    async def work(transaction: Transaction) -> None:
        await transaction.execute(END, {"hash": hash_of(token)})

    await request.state.database.run(work)


def keep(response: Response, request: Request, token: str) -> None:
    """Has the browser send the token with what its user asks for here, and with nothing else."""
    plain = is_plain(request)
    response.set_cookie(
        COOKIE if plain else COOKIE_BY_TLS,
        token,
        max_age=LIFE_SECONDS,
        path="/",
        secure=not plain,
        httponly=True,
        samesite="strict",
    )


def forget(response: Response) -> None:
    """Has the browser forget the token."""
    for name, secure in ((COOKIE_BY_TLS, True), (COOKIE, False)):
        response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")


def sealed(token: str, text: str) -> str:
    """What only who has the session's token can make of a text: proof that it comes from here."""
    return hmac.new(token.encode(), text.encode(), hashlib.sha256).hexdigest()


def is_sealed(token: str, text: str, seal: str) -> bool:
    """Whether the seal is this text's, in a time that tells nothing about it."""
    return seal.isascii() and hmac.compare_digest(sealed(token, text), seal)
