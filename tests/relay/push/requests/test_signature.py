"""What we sign, a receiver that knows the standard believes."""

import base64
import hmac
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from relay.push.requests.signature import Signer

SECRET = "plJ3nmyCDGBKInavdOK15jsl"
BODY = b'{"event_type":"ping","data":{"success":true}}'


def test_the_published_vector_gives_the_published_signature() -> None:
    key = base64.b64decode(SECRET)
    signature = Signer([key]).sign(b"msg_loFOjxBNrRLzqYUf", 1731705121, BODY)
    assert signature == b"v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


@pytest.mark.parametrize("key_bytes", [0, 24, 63, 64, 65, 200])
def test_keys_of_every_length_sign_as_hmac_does_again_and_again(key_bytes: int) -> None:
    key = bytes(range(key_bytes))
    signer = Signer([key])
    for body in (b"", BODY, bytes(100_000), BODY):
        expected = base64.b64encode(hmac.digest(key, b"7.1." + body, "sha256"))
        assert signer.sign(b"7", 1, body) == b"v1," + expected


@pytest.mark.parametrize("receiver_has", [0, 1])
def test_while_a_secret_is_rotated_a_receiver_with_either_one_verifies(receiver_has: int) -> None:
    keys = [b"old key, 24 bytes long..", b"new key of thirty-two bytes....."]
    stamp = int(time.time())
    headers = {
        "webhook-id": "0198-order",
        "webhook-timestamp": str(stamp),
        "webhook-signature": Signer(keys).sign(b"0198-order", stamp, BODY).decode(),
    }
    receiver = Webhook(f"whsec_{base64.b64encode(keys[receiver_has]).decode()}")
    assert receiver.verify(BODY, headers) == {"event_type": "ping", "data": {"success": True}}
    with pytest.raises(WebhookVerificationError):
        receiver.verify(BODY + b" ", headers)
