"""Who receives webhooks checks who sent them: https://www.standardwebhooks.com."""

import base64
import hmac
from collections.abc import Mapping

SECRET_PREFIX = "whsec_"
TOLERANCE_SECONDS = 300


def key_of(secret: str) -> bytes:
    """The key in a secret as `subscriptions add` shows it. Raises ValueError."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a secret begins with {SECRET_PREFIX}")
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


def is_signed(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether one of the signatures is by `key`, and no older than five minutes.

    `headers` by lower-case names; `now` in seconds since 1970.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdecimal()):
        return False
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    expected = f"v1,{base64.b64encode(digest).decode()}".encode()
    # Several while a secret is rotated; compared in a time that tells nothing about `expected`.
    signatures = headers.get("webhook-signature", "").encode().split()
    return any([hmac.compare_digest(signature, expected) for signature in signatures])
