"""Events that name an order: every event in every state."""

import pytest

from tests.service.shop import Json, Shop, event

CANCELLING = {
    "ATTEMPT_FAILED": "Payment failed",
    "ATTEMPT_EXPIRED": "Payment expired",
    "ATTEMPT_CANCELLED": "Payment cancelled",
}
WITHOUT_EFFECT = ["TRANSACTION_SETTLED", "TRANSACTION_CANCELLED"]
NOT_PROCESSING = ["DRAFT", "PARTIAL", "COMPLETED", "CANCELLED"]


def order_in(shop: Shop, status: str) -> Json:
    """An order of 10.00 that came into this state the way that orders do."""
    order = shop.order()
    if status != "DRAFT":
        order = shop.step(order["id"], "payments")
    match status:
        case "PARTIAL":
            shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="4", amount="4"))
        case "COMPLETED":
            shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="10", amount="10"))
        case "CANCELLED":
            shop.deliver(event("ATTEMPT_FAILED", order=order["id"], amount="1"))
    order = shop.read(order["id"])
    assert order["status"] == status
    return order


def test_full_payment_completes_the_order_and_everything_that_hangs_on_it(shop: Shop) -> None:
    order = shop.processing_order(
        total="10.90", customerId="ann", allocations=[{"allocationId": "a"}, {"allocationId": "b"}]
    )
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], total="10.90", paid="10.90"))
    after = shop.read(order["id"])
    assert after["status"] == "COMPLETED"
    assert after["paid"] == "10.90"
    assert after["completedAt"] is not None
    assert after["partialAt"] is None
    assert after["points"] == 10
    assert [allocation["status"] for allocation in after["allocations"]] == ["SUCCESS", "SUCCESS"]
    assert [(message.channel, message.type) for message in shop.messages()] == [
        ("orders.lifecycle", "order.created"),
        ("payment.success", "payment.success"),
        ("outbox.live", "ORDER_PAYMENT_UPDATED"),
        ("orders.lifecycle", "order.paid"),
    ]


def test_part_payment_leaves_the_order_partial_without_points_or_allocations(shop: Shop) -> None:
    order = shop.processing_order(customerId="ann", allocations=[{"allocationId": "a"}])
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="9.99"))
    after = shop.read(order["id"])
    assert (after["status"], after["paid"], after["points"]) == ("PARTIAL", "9.99", 0)
    assert after["partialAt"] is not None
    assert after["completedAt"] is None
    assert after["allocations"][0]["status"] == "ACTIVE"
    [success] = shop.values("payment.success")
    assert success["payment"]["isFullyPaid"] is False
    [update] = shop.values("outbox.live")
    assert (update["status"], update["payment"]["paid"]) == ("PARTIAL", "9.99")
    assert shop.lifecycle() == ["order.created"]


def test_allocations_that_are_not_active_sale_order_usages_stay_as_they_are(shop: Shop) -> None:
    order = shop.processing_order(
        allocations=[{"allocationId": "a"}, {"allocationId": "b"}, {"allocationId": "c"}]
    )
    shop.database.execute(
        "update sale.allocation_usage set status = 'CANCELLED' where allocation_id = 'a'"
    )
    shop.database.execute(
        "update sale.allocation_usage set usage_type = 'GIFT' where allocation_id = 'b'"
    )
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="10"))
    statuses = [allocation["status"] for allocation in shop.read(order["id"])["allocations"]]
    assert statuses == ["CANCELLED", "ACTIVE", "SUCCESS"]


def test_an_order_without_customer_gives_no_points(shop: Shop) -> None:
    order = shop.processing_order()
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="10"))
    assert shop.read(order["id"])["points"] == 0
    assert shop.database.execute("select * from sale.points_transaction").fetchall() == []


def test_paid_of_a_transaction_is_cumulative_and_never_decreases(shop: Shop) -> None:
    order = shop.processing_order()
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="6", amount="6"))
    shop.step(order["id"], "payments")
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="5"))
    assert shop.read(order["id"])["paid"] == "6"
    shop.step(order["id"], "payments")
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="10.00", amount="4"))
    assert (shop.read(order["id"])["status"], shop.read(order["id"])["paid"]) == (
        "COMPLETED",
        "10.00",
    )
    assert shop.messages("payment.unapplied") == []


@pytest.mark.parametrize(("paid", "status", "lost"), [("4", "PARTIAL", "4"), ("9", "PARTIAL", "1")])
def test_what_an_attempt_brought_and_paid_did_not_grow_by_is_reported(
    shop: Shop, paid: str, status: str, lost: str
) -> None:
    """Two transactions, each cumulative by itself, pay one order."""
    order = shop.processing_order()
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="6", amount="6"))
    shop.step(order["id"], "payments")
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=paid, amount="4"))
    assert shop.read(order["id"])["status"] == status
    [value] = shop.values("payment.unapplied")
    assert (value["amount"], value["event"]) == (lost, "ATTEMPT_SUCCESS")
    assert "checkId" not in value


def test_without_a_transaction_the_amounts_of_attempts_add_up(shop: Shop) -> None:
    order = shop.processing_order(total="0.30")
    for amount, status in (("0.10", "PARTIAL"), (0.20, "COMPLETED")):
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], amount=amount))
        after = shop.read(order["id"])
        assert after["status"] == status
        if status == "PARTIAL":
            shop.step(order["id"], "payments")
    assert after["paid"] == "0.30"


def test_paid_is_compared_with_our_total_not_with_the_providers(shop: Shop) -> None:
    order = shop.processing_order(total="10.00")
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], total="5", paid="5"))
    assert shop.read(order["id"])["status"] == "PARTIAL"


def test_a_partial_order_can_be_paid_to_the_end(shop: Shop) -> None:
    order = order_in(shop, "PARTIAL")
    assert shop.step(order["id"], "payments")["status"] == "PROCESSING"
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="10"))
    assert [value["payment"]["isFullyPaid"] for value in shop.values("payment.success")] == [
        False,
        True,
    ]
    after = shop.read(order["id"])
    assert after["status"] == "COMPLETED"
    assert after["partialAt"] is not None


@pytest.mark.parametrize(("event_type", "reason"), CANCELLING.items())
def test_an_attempt_that_fails_cancels_the_order(shop: Shop, event_type: str, reason: str) -> None:
    order = shop.processing_order(allocations=[{"allocationId": "a"}], customerId="ann")
    shop.deliver(event(event_type, order=order["id"], paid="0", amount="10"))
    after = shop.read(order["id"])
    assert (after["status"], after["cancellationReason"]) == ("CANCELLED", reason)
    assert after["cancelledAt"] is not None
    assert after["points"] == 0
    [update] = shop.values("outbox.live")
    assert update == {
        "event": "ORDER_PAYMENT_UPDATED",
        "orderId": order["id"],
        "status": "CANCELLED",
        "payment": {"total": "10.00", "paid": "0", "currency": "EUR", "isFullyPaid": False},
        "cancellationReason": reason,
    }
    [_, cancelled] = shop.values("orders.lifecycle")
    assert cancelled == {
        "orderId": order["id"],
        "cancelledAt": after["cancelledAt"],
        "reason": reason,
    }
    assert shop.messages("payment.success") == []
    assert shop.messages("payment.unapplied") == []


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("ATTEMPT_FAILED", "card stolen"),
        ("ATTEMPT_EXPIRED", "Payment expired"),
        ("ATTEMPT_CANCELLED", "Payment cancelled"),
    ],
)
def test_only_a_failure_takes_the_attempts_own_reason(
    shop: Shop, event_type: str, expected: str
) -> None:
    order = shop.processing_order()
    shop.deliver(event(event_type, order=order["id"], amount="10", reason="card stolen"))
    assert shop.read(order["id"])["cancellationReason"] == expected


@pytest.mark.parametrize("status", NOT_PROCESSING)
@pytest.mark.parametrize("event_type", CANCELLING)
def test_only_a_processing_order_is_cancelled(shop: Shop, event_type: str, status: str) -> None:
    order = order_in(shop, status)
    before = shop.messages()
    shop.deliver(event(event_type, order=order["id"], amount="1"))
    assert shop.read(order["id"]) == order
    assert shop.messages() == before


@pytest.mark.parametrize("status", ["DRAFT", "PROCESSING", "PARTIAL", "COMPLETED", "CANCELLED"])
@pytest.mark.parametrize("event_type", WITHOUT_EFFECT)
def test_transaction_events_are_acknowledged_and_change_nothing(
    shop: Shop, event_type: str, status: str
) -> None:
    order = order_in(shop, status)
    before = shop.messages()
    shop.deliver(event(event_type, order=order["id"], paid="10"))
    assert shop.read(order["id"]) == order
    assert shop.messages() == before


@pytest.mark.parametrize("status", NOT_PROCESSING)
def test_a_success_that_the_order_cannot_take_is_reported(shop: Shop, status: str) -> None:
    order = order_in(shop, status)
    before = len(shop.messages())
    late = event(
        "ATTEMPT_SUCCESS",
        order=order["id"],
        paid="12",
        amount="2.50",
        attempt_id="attempt",
        transaction_id="transaction",
    )
    shop.deliver(late)
    shop.deliver(late)
    assert shop.read(order["id"]) == order
    [message] = shop.messages()[before:]
    assert message[:4] == ("payment.unapplied", "payment.unapplied", order["id"], 1)
    assert message.value == {
        "orderId": order["id"],
        "orderNumber": order["number"],
        "amount": "2.50",
        "currency": "EUR",
        "reason": f"The order is {status}, not PROCESSING.",
        "event": "ATTEMPT_SUCCESS",
        "attemptId": "attempt",
        "transactionId": "transaction",
    }


def test_what_was_paid_on_a_cancelled_order_is_reported(shop: Shop) -> None:
    order = order_in(shop, "PARTIAL")
    shop.step(order["id"], "payments")
    shop.deliver(event("ATTEMPT_EXPIRED", order=order["id"], amount="6"))
    [value] = shop.values("payment.unapplied")
    assert (value["orderId"], value["amount"], value["event"]) == (
        order["id"],
        "4",
        "ATTEMPT_EXPIRED",
    )
    assert "checkId" not in value


def test_what_was_paid_on_the_checks_of_a_cancelled_order_is_reported(shop: Shop) -> None:
    order = shop.processing_order(checks=[{"total": "4"}, {"total": "6"}])
    paid, _ = order["checks"]
    shop.deliver(event("ATTEMPT_SUCCESS", check=paid["id"], amount="4"))
    shop.deliver(event("ATTEMPT_FAILED", order=order["id"], amount="10"))
    [value] = shop.values("payment.unapplied")
    assert (value["checkId"], value["amount"]) == (paid["id"], "4")


@pytest.mark.parametrize(("amount", "status"), [("3", "PARTIAL"), ("4", "COMPLETED")])
def test_what_was_paid_on_the_checks_of_an_order_that_is_paid_without_them_is_reported(
    shop: Shop, amount: str, status: str
) -> None:
    order = shop.processing_order(checks=[{"total": "4"}, {"total": "6"}])
    paid, cancelled = order["checks"]
    shop.deliver(event("ATTEMPT_SUCCESS", check=paid["id"], amount=amount))
    shop.deliver(event("ATTEMPT_SUCCESS", check=cancelled["id"], amount="2"))
    shop.step(order["id"], f"checks/{cancelled['id']}/payments")
    shop.deliver(event("ATTEMPT_FAILED", check=cancelled["id"], amount="4"))
    earlier = len(shop.values("payment.unapplied"))
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], amount="10"))
    after = shop.read(order["id"])
    assert (after["status"], after["checks"][0]["status"]) == ("COMPLETED", status)
    [value] = shop.values("payment.unapplied")[earlier:]
    assert (value["checkId"], value["amount"]) == (paid["id"], amount)
    assert value["reason"] == "The order was paid in full without this check."


def test_a_part_payment_of_an_order_reports_nothing_of_its_checks(shop: Shop) -> None:
    order = shop.processing_order(checks=[{"total": "4"}, {"total": "6"}])
    shop.deliver(event("ATTEMPT_SUCCESS", check=order["checks"][0]["id"], amount="4"))
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], amount="9"))
    assert shop.messages("payment.unapplied") == []
