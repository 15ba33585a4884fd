"""What tells a receiver that a request comes from this installation: https://www.standardwebhooks.com."""

from binascii import b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

# Of RFC 2104.
BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Signer:
    """Signs with each of some keys, in their order.

    HMAC-SHA256 as RFC 2104 has it, from two hashes that have taken the key in already: for a short
    body that takes a third of the time of hmac.digest, which begins with the key each time.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = [_begun(key) for key in keys]

    def sign(self, webhook_id: bytes, timestamp: int, body: bytes) -> bytes:
        """The header webhook-signature: one signature for each key.

        `timestamp` is the header webhook-timestamp, unix seconds of this attempt.
        """
        signed = b"%b.%d.%b" % (webhook_id, timestamp, body)
        made = []
        for inner, outer in self._keys:
            message, key = inner.copy(), outer.copy()
            message.update(signed)
            key.update(message.digest())
            made.append(b"v1,%b" % b2a_base64(key.digest(), newline=False))
        return b" ".join(made)


def _begun(key: bytes) -> "tuple[_Hash, _Hash]":
    if len(key) > BLOCK_BYTES:
        key = sha256(key).digest()
    padded = key.ljust(BLOCK_BYTES, b"\0")
    return sha256(padded.translate(_INNER)), sha256(padded.translate(_OUTER))
