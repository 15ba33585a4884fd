"""Promises of the example subscribers: only what is signed is taken, and once."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook

from demo.plan import POISONOUS_CUSTOMER
from demo.subscribers import effects, records
from demo.subscribers.effects import EFFECTS
from demo.subscribers.records import Record
from demo.subscribers.signature import is_signed, key_of
from demo.subscribers.subscriber import Subscriber
from relay.push.requests.signature import Signer

SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
KEY = key_of(SECRET)
BODY = '{"orderId": "order-1", "customerId": "customer № 13"}'.encode()
NOW = 1_731_705_121


def headers(key: str, body: bytes = BODY, *, now: float | None = None) -> dict[str, str]:
    stamp = int(time.time() if now is None else now)
    return {
        "webhook-id": key,
        "webhook-timestamp": str(stamp),
        "webhook-signature": Signer([KEY]).sign(key.encode(), stamp, body).decode(),
        "ce-type": "order.created",
    }


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record.sqlite"
    records.make(path)
    return path


@pytest.fixture
def subscriber(record: Path) -> Iterator[Callable[[str], Subscriber]]:
    with ExitStack() as opened:

        def make(name: str) -> Subscriber:
            """As one that has just been started."""
            own = opened.enter_context(closing(Record(record)))
            return Subscriber(KEY, own, EFFECTS[name], faulty=False)

        yield make


def receive(subscriber: Subscriber, key: str) -> int:
    return asyncio.run(subscriber.receive(headers(key), BODY)).status_code


def test_the_published_vector_and_what_the_standards_own_library_signs_are_believed() -> None:
    body = b'{"event_type":"ping","data":{"success":true}}'
    published = {
        "webhook-id": "msg_loFOjxBNrRLzqYUf",
        "webhook-timestamp": str(NOW),
        "webhook-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    }
    assert is_signed(KEY, published, body, NOW)
    wire = headers("key-1", body)
    Webhook(SECRET).verify(body, wire)
    assert is_signed(KEY, wire, body, time.time())


def test_while_a_secret_is_rotated_one_signature_of_two_is_enough() -> None:
    signed = Signer([b"a newer key of 24 bytes..", KEY]).sign(b"key-1", NOW, BODY)
    wire = {**headers("key-1", now=NOW), "webhook-signature": signed.decode()}
    assert is_signed(KEY, wire, BODY, NOW)


@pytest.mark.parametrize(
    ("changes", "body", "now"),
    [
        ({}, BODY + b" ", NOW),
        ({"webhook-id": "key-2"}, BODY, NOW),
        ({"webhook-timestamp": str(NOW + 1)}, BODY, NOW),
        ({"webhook-timestamp": "²"}, BODY, NOW),
        ({"webhook-signature": ""}, BODY, NOW),
        ({"webhook-signature": "v1,é"}, BODY, NOW),
        ({}, BODY, NOW + 301),
        ({}, BODY, NOW - 301),
    ],
    ids=["body", "id", "time", "no time", "no signature", "not ASCII", "too old", "too new"],
)
def test_what_is_changed_or_out_of_time_is_not_signed(
    changes: dict[str, str], body: bytes, now: float
) -> None:
    assert is_signed(KEY, headers("key-1", now=NOW), BODY, NOW)
    assert not is_signed(KEY, headers("key-1", now=NOW) | changes, body, now)


def test_a_webhook_that_is_not_signed_gets_401_and_is_not_taken(
    subscriber: Callable[[str], Subscriber], record: Path
) -> None:
    forged = headers("key-1") | {"webhook-id": "key-2"}
    answer = asyncio.run(subscriber("fulfilment").receive(forged, BODY))
    assert answer.status_code == 401
    assert records.counts(record) == {"forged": 1}


def test_a_repeat_is_answered_alike_and_dropped_even_after_a_restart(
    subscriber: Callable[[str], Subscriber], record: Path
) -> None:
    first = subscriber("fulfilment")
    assert [receive(first, key) for key in ("key-1", "key-2", "key-1")] == [204, 204, 204]
    assert receive(subscriber("fulfilment"), "key-2") == 204
    assert records.counts(record) == {"accepted": 2, "repeated": 2}
    assert records.arrivals(record) == ["key-1", "key-2", "key-1", "key-2"]


def test_of_two_that_come_at_once_one_is_taken(
    subscriber: Callable[[str], Subscriber], record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "ANALYSIS_SECONDS", 0.01)
    slow = subscriber("analytics")

    async def both() -> None:
        await asyncio.gather(*(slow.receive(headers("key-1"), BODY) for _ in range(2)))

    asyncio.run(both())
    assert records.counts(record) == {"accepted": 1, "repeated": 1}


@pytest.mark.parametrize(("name", "status"), [("billing", 500), ("notifications", 422)])
def test_a_faulty_subscriber_refuses_until_it_is_mended(
    subscriber: Callable[[str], Subscriber], record: Path, name: str, status: int
) -> None:
    assert POISONOUS_CUSTOMER in BODY.decode()
    transport = httpx2.ASGITransport(subscriber(name).app())

    async def statuses() -> list[int]:
        async with httpx2.AsyncClient(transport=transport, base_url="http://it") as http:
            found = []
            for faulty in (True, False):
                assert (await http.put("/fault", json=faulty)).status_code == 204
                answer = await http.post("/webhooks", content=BODY, headers=headers("key-1"))
                found.append(answer.status_code)
            return found

    assert asyncio.run(statuses()) == [status, 204]
    assert records.counts(record) == {"refused": 1, "accepted": 1}
