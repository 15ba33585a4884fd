"""payment.success and the headers of every message."""

import json

import httpx2
import pytest

from tests.service.shop import ORDERS, Shop, event

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_payment_success_carries_the_whole_sale(shop: Shop) -> None:
    order = shop.processing_order(
        customerId="ann",
        closedInSessionId="session",
        metadata={"finance": {"account": 7}, "other": 1},
        items=[
            {"itemType": "GOODS", "itemId": "tea", "quantity": 2, "mode": "PRODUCT"},
            {"itemType": "SERVICE", "itemId": "wrap", "quantity": 1, "mode": "CUSTOM"},
        ],
    )
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10))
    [message] = shop.messages("payment.success")
    assert message[:4] == ("payment.success", "payment.success", order["id"], 3)
    assert message.value == {
        "saleOrderId": order["id"],
        "saleOrderNumber": order["number"],
        "saleOrderStatus": "COMPLETED",
        "merchantId": order["merchantId"],
        "saleChannelId": order["saleChannelId"],
        "createdBy": "cashier",
        "modifiedBy": "cashier",
        "payment": {
            "total": "10.00",
            "paid": "10",
            "currency": "EUR",
            "isFullyPaid": True,
            "paidAt": shop.read(order["id"])["completedAt"],
            "sessionId": "session",
            "finance": {"account": 7},
        },
        "items": order["items"],
    }
    assert [item["mode"] for item in message.value["items"]] == ["PRODUCT", "CUSTOM"]


@pytest.mark.parametrize("metadata", [None, {}, {"finance": None}, {"other": 1}])
def test_what_an_order_does_not_have_is_left_out(shop: Shop, metadata: object) -> None:
    order = shop.processing_order(metadata=metadata)
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10))
    [value] = shop.values("payment.success")
    assert set(value["payment"]) == {"total", "paid", "currency", "isFullyPaid", "paidAt"}


def create(shop: Shop, finance: str) -> httpx2.Response:
    """The answer to an order of 1 EUR whose `finance` is written so."""
    form = json.dumps(
        {
            "number": "1",
            "merchantId": "m",
            "saleChannelId": "c",
            "currency": "EUR",
            "total": 1,
            "createdBy": "u",
            "items": [],
            "metadata": {"finance": "HERE"},
        }
    )
    return shop.http.post(ORDERS, content=form.replace('"HERE"', finance).encode())


def test_finance_goes_out_as_it_came_in(shop: Shop) -> None:
    written = '{"amount": 1.10, "text": "\\u0001 \\u00e4", "big": 12345678901234567890}'
    order = create(shop, finance=written).json()
    shop.step(order["id"], "payments")
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=1))
    row = shop.database.execute(
        "select convert_from(payload, 'UTF8') from outbox.message where channel = 'payment.success'"
    ).fetchone()
    assert row is not None
    assert written in row[0]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (r'{"text": "\u0000"}', r"holds a NUL (\u0000), which is no text for Postgres"),
        ('{"number": 1e140000}', "holds a number with more digits than Postgres has"),
        ("[" * 63 + "]" * 63, "is nested deeper than 64 levels"),
    ],
    ids=["NUL", "a huge number", "deep"],
)
def test_an_order_with_finance_that_no_payload_may_hold_is_refused_before_it_is_paid(
    shop: Shop, written: str, reason: str
) -> None:
    answer = create(shop, finance=written)
    assert (answer.status_code, answer.json()["field"]) == (422, "metadata.finance")
    assert answer.json()["detail"] == f"metadata.finance {reason}."
    assert shop.messages() == []


def test_the_trace_of_a_request_is_carried_by_each_of_its_messages(shop: Shop) -> None:
    order = shop.processing_order()
    before = len(shop.messages())
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10), {"traceparent": TRACEPARENT})
    headers = [message.headers for message in shop.messages()[before:]]
    assert headers == [{"traceparent": TRACEPARENT}] * 3


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT + "-x",
        TRACEPARENT.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_a_broken_trace_is_carried_by_none(shop: Shop, broken: str) -> None:
    order = shop.processing_order()
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10), {"traceparent": broken})
    assert {message.headers is None for message in shop.messages()} == {True}


def test_every_message_has_an_idempotency_key_of_its_own(shop: Shop) -> None:
    order = shop.processing_order()
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10))
    keys = shop.database.execute("select idempotency_key from outbox.message").fetchall()
    assert len(set(keys)) == len(keys) == 4
