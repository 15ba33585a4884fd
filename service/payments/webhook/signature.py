"""Standard Webhooks (standardwebhooks.com): is this request signed with our secret, and recent?"""

import base64
import hashlib
import hmac
from collections.abc import Mapping

from service.problems import Problem

TOLERANCE_SECONDS = 5 * 60


def verify(secret: bytes, headers: Mapping[str, str], body: bytes, now_seconds: float) -> None:
    """Passes if one of the `v1` signatures in `webhook-signature` is ours.

    Signed is `{webhook-id}.{webhook-timestamp}.{body}`, HMAC-SHA256, base64.
    Raises Problem 401 naming the header that is missing, malformed, too old or wrong.
    """
    message_id, timestamp, signatures = (
        _required(headers, f"webhook-{name}") for name in ("id", "timestamp", "signature")
    )
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        raise Problem(401, "webhook-timestamp must be seconds since 1970.")
    if abs(now_seconds - int(timestamp)) > TOLERANCE_SECONDS:
        raise Problem(401, "webhook-timestamp is more than five minutes away from now.")
    signed = b".".join((message_id.encode("latin-1"), timestamp.encode(), body))
    expected = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256))
    # Every candidate is compared, and each in constant time: how long it takes tells nothing.
    matches = [
        hmac.compare_digest(expected, signature.encode("latin-1"))
        for version, _, signature in (entry.partition(",") for entry in signatures.split(" "))
        if version == "v1"
    ]
    if not any(matches):
        raise Problem(401, "No signature in webhook-signature is ours.")


def _required(headers: Mapping[str, str], name: str) -> str:
    if not (value := headers.get(name)):
        raise Problem(401, f"The header {name} is missing; this endpoint takes signed requests.")
    return value
