"""The keys that endpoints' secrets are sealed with at rest: OUTBOX_SECRET_KEY.

A sealed secret is a Fernet token (https://github.com/fernet/spec): AES-128-CBC with an HMAC, so
that one that was changed does not open.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

# 32 bytes as base64, of either alphabet.
KEY = re.compile(r"[A-Za-z0-9_+/-]{43}=")
MAX_KEYS = 10
# Opening costs a tenth of a millisecond, and every run to an endpoint asks.
KEPT_OPEN = 4096


class CannotOpenError(ValueError):
    """None of the keys opens it; the message says so and not more."""


class Keys(list[bytes]):
    """What requests are signed with, as it is: kept out of tracebacks and logs."""

    def __repr__(self) -> str:
        return f"Keys({len(self)})"


def parse(text: str) -> tuple[str, ...]:
    """The keys of OUTBOX_SECRET_KEY, newest first; none where it is empty.

    Raises ValueError with what is wrong, and nothing of a key.
    """
    if not text.strip():
        return ()
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    wrong = [place for place, key in enumerate(keys, 1) if not KEY.fullmatch(key)]
    if wrong or not keys:
        where = f"number {wrong[0]} of its {len(keys)} keys is none" if wrong else "it has no key"
        raise ValueError(
            f"{where}: a key is 32 random bytes in base64, as `outbox-relay secrets new-key` "
            "prints it; several have commas between them, the newest first"
        )
    if len(keys) > MAX_KEYS:
        raise ValueError(f"it has {len(keys)} keys, and {MAX_KEYS} are the most")
    return keys


def new_key() -> str:
    """A new one."""
    return Fernet.generate_key().decode()


class Keyring:
    """The keys: the first seals, each of them opens. False where there is none."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernets = [Fernet(key) for key in keys]
        self._opened = lru_cache(KEPT_OPEN)(self._open)

    def __bool__(self) -> bool:
        return bool(self._fernets)

    def seal(self, key: bytes) -> str:
        """A key as it may be written down."""
        return self._fernets[0].encrypt(key).decode()

    def open(self, sealed: str) -> bytes:
        """The key that was sealed. Raises CannotOpenError."""
        return self._opened(sealed)

    def is_newest(self, sealed: str) -> bool:
        """Whether it was sealed with the first of the keys."""
        try:
            self._fernets[0].decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def _open(self, sealed: str) -> bytes:
        if not self._fernets:
            raise CannotOpenError("is sealed, and OUTBOX_SECRET_KEY is not set")
        try:
            return MultiFernet(self._fernets).decrypt(sealed)
        except InvalidToken:
            raise CannotOpenError("is sealed with another key than OUTBOX_SECRET_KEY has") from None


# Of an installation without OUTBOX_SECRET_KEY.
UNSEALED = Keyring(())
