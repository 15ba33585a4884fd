"""An API key: how it is written, what is kept of it, and what it may be for."""

import hashlib
from typing import Literal, get_args

Scope = Literal["publish", "manage", "operate", "read", "payloads"]


SCOPES: tuple[Scope, ...] = get_args(Scope)


PREFIX = "ok_"


# What `create` makes: base64url of 32 bytes, whose last character has four bits only.
FORM = rf"{PREFIX}[A-Za-z0-9_\-]{{42}}[AEIMQUYcgkosw048]"


def hash_of(key: str) -> bytes:
    """What is stored of a key. Plain SHA-256: there is nothing to guess in 32 random bytes."""
    return hashlib.sha256(key.encode()).digest()
