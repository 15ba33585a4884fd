"""What we sign, a receiver that knows the standard believes."""

import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from relay.push.requests.signature import sign

SECRET = "plJ3nmyCDGBKInavdOK15jsl"
BODY = b'{"event_type":"ping","data":{"success":true}}'


def test_the_published_vector_gives_the_published_signature() -> None:
    key = base64.b64decode(SECRET)
    signature = sign([key], "msg_loFOjxBNrRLzqYUf", 1731705121, BODY)
    assert signature == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
    assert sign([key], b"msg_loFOjxBNrRLzqYUf", 1731705121, BODY) == signature


@pytest.mark.parametrize("receiver_has", [0, 1])
def test_while_a_secret_is_rotated_a_receiver_with_either_one_verifies(receiver_has: int) -> None:
    keys = [b"old key, 24 bytes long..", b"new key of thirty-two bytes....."]
    stamp = int(time.time())
    headers = {
        "webhook-id": "0198-order",
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(keys, "0198-order", stamp, BODY),
    }
    receiver = Webhook(f"whsec_{base64.b64encode(keys[receiver_has]).decode()}")
    assert receiver.verify(BODY, headers) == {"event_type": "ping", "data": {"success": True}}
    with pytest.raises(WebhookVerificationError):
        receiver.verify(BODY + b" ", headers)
