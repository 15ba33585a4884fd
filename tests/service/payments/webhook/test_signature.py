"""Standard Webhooks signatures: who may deliver when a secret is set."""

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook
from starlette.testclient import TestClient

from service.app import create_app
from service.payments.webhook.signature import verify
from service.problems import Problem
from service.settings import Settings
from tests.service.conftest import JSON
from tests.service.shop import WEBHOOKS

SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
BODY = b'{"event_type":"ping","data":{"success":true}}'
VECTOR = {
    "webhook-id": "msg_loFOjxBNrRLzqYUf",
    "webhook-timestamp": "1731705121",
    "webhook-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
}
SIGNED_AT = 1731705121


def refusal(headers: dict[str, str], body: bytes = BODY, now_seconds: float = SIGNED_AT) -> str:
    """Why this request is refused."""
    with pytest.raises(Problem) as caught:
        verify(KEY, headers, body, now_seconds)
    assert caught.value.status == 401
    return caught.value.detail


def test_the_published_vector_is_accepted() -> None:
    verify(KEY, VECTOR, BODY, SIGNED_AT)


def test_what_the_reference_library_signs_is_accepted() -> None:
    now = datetime.now(UTC)
    signature = Webhook(SECRET).sign("msg_1", now, BODY.decode())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    verify(KEY, headers, BODY, now.timestamp())


def test_one_good_signature_among_several_suffices() -> None:
    good = VECTOR["webhook-signature"]
    several = f"v1,AAAA v2,{good[3:]} v1a,x \xff nonsense {good}"
    verify(KEY, {**VECTOR, "webhook-signature": several}, BODY, SIGNED_AT)


def test_a_signature_is_good_for_five_minutes_both_ways() -> None:
    for offset in (-300, 300):
        verify(KEY, VECTOR, BODY, SIGNED_AT + offset)
    for offset in (-301, 301):
        assert "five minutes" in refusal(VECTOR, now_seconds=SIGNED_AT + offset)


@pytest.mark.parametrize("name", sorted(VECTOR))
def test_every_header_is_required_and_signed(name: str) -> None:
    assert name in refusal({key: VECTOR[key] for key in VECTOR if key != name})
    assert refusal({**VECTOR, name: "1731705122" if name.endswith("timestamp") else "v1,AAAA"})


@pytest.mark.parametrize("timestamp", ["", "now", "-1", "1e9", "1731705121.0", "9" * 5000, "\xb2"])
def test_a_timestamp_that_is_none_is_refused(timestamp: str) -> None:
    assert refusal({**VECTOR, "webhook-timestamp": timestamp})


def test_another_body_or_secret_is_refused() -> None:
    assert refusal(VECTOR, body=BODY + b" ")
    with pytest.raises(Problem):
        verify(b"x" * 24, VECTOR, BODY, SIGNED_AT)


@pytest.fixture
def guarded(database_url: str) -> Iterator[TestClient]:
    """The service with a secret."""
    app = create_app(Settings(database_url=database_url, webhook_secret=KEY))
    with TestClient(app, headers=JSON) as client:
        yield client


def signed(body: bytes) -> dict[str, str]:
    """The headers that make this body a webhook of now."""
    now = int(time.time())
    signature = Webhook(SECRET).sign("m", datetime.fromtimestamp(now, UTC), body.decode())
    return {"webhook-id": "m", "webhook-timestamp": str(now), "webhook-signature": signature}


@pytest.mark.parametrize(
    ("in_body", "in_header", "status"),
    [
        ("ATTEMPT_SUCCESS", None, 200),
        ("ATTEMPT_SUCCESS", "ATTEMPT_SUCCESS", 200),
        ("ATTEMPT_FAILED", "ATTEMPT_SUCCESS", 422),
        ("X", "ATTEMPT_SUCCESS", 422),
        ("", "ATTEMPT_SUCCESS", 422),
        (None, "ATTEMPT_SUCCESS", 422),
        (None, None, 422),
    ],
)
def test_the_type_of_a_signed_event_is_the_one_that_is_signed(
    guarded: TestClient, in_body: str | None, in_header: str | None, status: int
) -> None:
    content = {"eventType": in_body, "timestamp": 1, "payload": {"timestamp": "t"}}
    body = json.dumps(content).encode()
    extra = {} if in_header is None else {"x-webhook-event-type": in_header}
    answer = guarded.post(WEBHOOKS, content=body, headers={**signed(body), **extra})
    assert answer.status_code == status
    assert answer.json().get("field") == (None if status == 200 else "eventType")


def test_a_service_with_a_secret_takes_signed_webhooks_only(guarded: TestClient) -> None:
    body = b'{"eventType":"X","timestamp":1,"payload":{"timestamp":"t"}}'
    headers = signed(body)
    assert guarded.post(WEBHOOKS, content=body, headers=headers).status_code == 200
    for refused in (
        guarded.post(WEBHOOKS, content=body),
        guarded.post(WEBHOOKS, content=body + b" ", headers=headers),
        guarded.post(WEBHOOKS, content=b"no json at all"),
    ):
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
