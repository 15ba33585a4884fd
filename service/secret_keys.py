"""OUTBOX_SECRET_KEY: what endpoints' secrets are sealed with before they reach the database."""

import re
from base64 import b64encode
from secrets import token_bytes

import msgspec
from cryptography.fernet import Fernet

# 32 bytes as base64, of either alphabet.
KEY = re.compile(r"[A-Za-z0-9_+/-]{43}=")
SECRET_BYTES = 32


class NewSecret(msgspec.Struct, frozen=True):
    """`shown`: `whsec_…`, for the caller; `sealed`: for outbox.secret.

    Both None where there is no key: then the database makes one and stores it as it is.
    """

    shown: str | None = None
    sealed: str | None = None

    def __repr__(self) -> str:
        return "NewSecret()"


def newest(text: str) -> str | None:
    """The first of the keys, which seals; the others are for relays. None where there is none.

    Raises ValueError with what is wrong, and nothing of a key.
    """
    keys = [key.strip() for key in text.split(",") if key.strip()]
    wrong = [place for place, key in enumerate(keys, 1) if not KEY.fullmatch(key)]
    if wrong or (text.strip() and not keys):
        where = f"number {wrong[0]} of its {len(keys)} keys is none" if wrong else "it has no key"
        raise ValueError(
            f"{where}: a key is 32 random bytes in base64, as `outbox-relay secrets new-key` "
            "prints it; several have commas between them, the newest first"
        )
    return keys[0] if keys else None


def new_secret(secret_key: str | None) -> NewSecret:
    """One of 256 random bits, sealed with the key."""
    if secret_key is None:
        return NewSecret()
    secret = token_bytes(SECRET_BYTES)
    return NewSecret(
        "whsec_" + b64encode(secret).decode(), Fernet(secret_key).encrypt(secret).decode()
    )
