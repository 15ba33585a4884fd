"""A new secret of an endpoint's signatures, made here where it is to be sealed."""

from base64 import b64encode
from secrets import token_bytes

import msgspec

from relay.keyring import Keyring

KEY_BYTES = 32


class NewSecret(msgspec.Struct, frozen=True):
    """`shown`: `whsec_…`, for the operator who asked; `sealed`: for outbox.secret.

    Both None where there is no key: then the database makes one and stores it as it is.
    """

    shown: str | None = None
    sealed: str | None = None

    def __repr__(self) -> str:
        return "NewSecret()"


def new_secret(keyring: Keyring) -> NewSecret:
    """One of 256 random bits."""
    if not keyring:
        return NewSecret()
    key = token_bytes(KEY_BYTES)
    return NewSecret("whsec_" + b64encode(key).decode(), keyring.seal(key))
