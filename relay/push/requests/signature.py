"""What tells a receiver that a request comes from this installation: https://www.standardwebhooks.com."""

import base64
import hmac
from collections.abc import Sequence


def sign(keys: Sequence[bytes], webhook_id: bytes | str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: one signature for each key, in their order.

    `timestamp` is the header webhook-timestamp, unix seconds of this attempt.
    """
    name = webhook_id.encode() if isinstance(webhook_id, str) else webhook_id
    signed = b"%b.%d.%b" % (name, timestamp, body)
    return " ".join(
        f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys
    )
