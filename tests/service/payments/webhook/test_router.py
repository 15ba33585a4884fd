"""The router: which order or check does an event name?"""

import json
from uuid import uuid4

import pytest

from service.payments.money import Money
from service.payments.webhook.event import (
    AttemptMetadata,
    Payload,
    PaymentAttempt,
    PaymentTransaction,
    Source,
)
from service.payments.webhook.router import Target, route
from tests.service.shop import WEBHOOKS, Json, Shop, event

ZERO = Money("0")


def payload(
    source_type: str | None = None,
    source_id: str | None = None,
    attempt_type: str | None = None,
    attempt_source_id: str | None = None,
) -> Payload:
    return Payload(
        timestamp="now",
        transaction=PaymentTransaction(
            "t", "u", "s", ZERO, ZERO, source_type=source_type, source_id=source_id
        ),
        attempt=PaymentAttempt(
            "a",
            "u",
            "s",
            ZERO,
            "p",
            metadata=AttemptMetadata(Source(id=attempt_source_id, type=attempt_type)),
        ),
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (payload("SaleOrder", "1"), Target("SaleOrder", "1")),
        (payload("SaleCheck", "1"), Target("SaleCheck", "1")),
        (payload(None, None, "SaleOrder", "2"), Target("SaleOrder", "2")),
        (payload(None, None, "SaleCheck", "2"), Target("SaleCheck", "2")),
        (payload("SaleOrder", "1", "SaleOrder", "2"), Target("SaleOrder", "1")),
        (payload("SaleCheck", "1", "SaleCheck", "2"), Target("SaleCheck", "1")),
        (payload("SaleOrder", None, "SaleOrder", "2"), Target("SaleOrder", "2")),
        (payload("Else", "1", "SaleOrder", "2"), Target("SaleOrder", "2")),
        (payload(None, "1", None, "2"), None),
        (payload("Else", "1", "saleorder", "2"), None),
        (payload("SaleOrder", None, "SaleCheck", None), None),
        (Payload(timestamp="now"), None),
    ],
)
def test_the_transaction_is_asked_first_then_the_attempt(
    given: Payload, expected: Target | None
) -> None:
    assert route(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        payload("SaleOrder", "order", "SaleCheck", "check"),
        payload("SaleCheck", "check", "SaleOrder", "order"),
    ],
)
def test_a_check_wins_when_both_are_there(given: Payload) -> None:
    assert route(given) == Target("SaleCheck", "check")


def test_a_check_that_does_not_exist_still_wins_over_an_order(shop: Shop) -> None:
    order = shop.processing_order()
    both = event("ATTEMPT_SUCCESS", order=order["id"], paid="10", amount="10")
    both["payload"]["attempt"]["metadata"]["source"] = {"id": "nonsense", "type": "SaleCheck"}
    before = shop.state()
    assert shop.send(both).json() == {
        "acknowledged": False,
        "reason": "The check does not exist.",
    }
    assert shop.state() == before


@pytest.mark.parametrize(
    "missing", ["00000000-0000-4000-8000-000000000000", "nonsense", "", "0" * 32]
)
@pytest.mark.parametrize("kind", ["order", "check"])
def test_what_does_not_exist_is_not_acknowledged_and_not_remembered(
    shop: Shop, kind: str, missing: str
) -> None:
    sent = event("ATTEMPT_SUCCESS", amount="1")
    sent["payload"]["attempt"]["metadata"]["source"] = {
        "id": missing,
        "type": "SaleOrder" if kind == "order" else "SaleCheck",
    }
    answer = shop.send(sent)
    assert (answer.status_code, answer.json()) == (
        200,
        {"acknowledged": False, "reason": f"The {kind} does not exist."},
    )
    assert shop.database.execute("select * from sale.received_webhook").fetchall() == []


def test_an_event_that_came_before_its_order_counts_when_it_is_sent_again(shop: Shop) -> None:
    order = shop.processing_order()
    sent = event("ATTEMPT_SUCCESS", order=order["id"], paid="10")
    other = {**sent, "payload": {**sent["payload"]}}
    other["payload"]["transaction"] = {**sent["payload"]["transaction"], "sourceId": str(uuid4())}
    assert shop.send(other).json()["acknowledged"] is False
    shop.deliver(sent)
    assert shop.read(order["id"])["status"] == "COMPLETED"


def test_an_event_that_names_nothing_is_not_acknowledged(shop: Shop) -> None:
    answer = shop.send(
        {"eventType": "ATTEMPT_SUCCESS", "timestamp": 1, "payload": {"timestamp": "t"}}
    )
    assert (answer.status_code, answer.json()) == (
        200,
        {"acknowledged": False, "reason": "The event names neither an order nor a check."},
    )


def test_an_unknown_event_type_is_not_acknowledged(shop: Shop) -> None:
    order = shop.processing_order()
    answer = shop.send(event("ATTEMPT_EXPLODED", order=order["id"], paid="10"))
    assert (answer.status_code, answer.json()) == (
        200,
        {"acknowledged": False, "reason": "The event type is unknown."},
    )


@pytest.mark.parametrize(
    "rest",
    [
        {},
        {"payload": None},
        {"payload": "text"},
        {"payload": ["a", {"b": 1}]},
        {"payload": {"timestamp": 7, "transaction": {"id": None, "total": "-1"}}},
        {"payload": {"timestamp": "t", "note": "\ud800 \x00"}, "timestamp": "yesterday"},
    ],
)
def test_an_unknown_event_is_told_so_whatever_it_brings(shop: Shop, rest: Json) -> None:
    """Of a provider that adds events, no endpoint is disabled for its 4xx."""
    before = shop.state()
    for sent, headers in (
        ({"eventType": "CARD_ENROLLED", **rest}, {}),
        (rest, {"X-Webhook-Event-Type": "CARD_ENROLLED"}),
    ):
        answer = shop.http.post(WEBHOOKS, content=json.dumps(sent), headers=headers)
        assert (answer.status_code, answer.json()) == (
            200,
            {"acknowledged": False, "reason": "The event type is unknown."},
        )
    assert shop.state() == before


def test_the_header_names_the_event_before_the_body_does(shop: Shop) -> None:
    order = shop.processing_order()
    sent = event("ATTEMPT_FAILED", order=order["id"], paid="10")
    shop.deliver(sent, {"X-Webhook-Event-Type": "ATTEMPT_SUCCESS"})
    assert shop.read(order["id"])["status"] == "COMPLETED"
    del sent["eventType"]
    shop.deliver(sent, {"X-Webhook-Event-Type": "TRANSACTION_SETTLED"})


def test_an_event_without_a_type_is_refused(shop: Shop) -> None:
    order = shop.processing_order()
    sent = event("", order=order["id"], paid="10")
    del sent["eventType"]
    answer = shop.send(sent)
    assert (answer.status_code, answer.json()["field"]) == (422, "eventType")
