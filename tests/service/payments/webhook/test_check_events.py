"""Events that name a check: every event in every state, and what they do to the order."""

import pytest

from tests.service.shop import Json, Shop, event

CANCELLING = {
    "ATTEMPT_FAILED": "Payment failed",
    "ATTEMPT_EXPIRED": "Payment expired",
    "ATTEMPT_CANCELLED": "Payment cancelled",
}
NOT_PROCESSING = ["PARTIAL", "COMPLETED", "CANCELLED"]


def split_order(shop: Shop, **fields: object) -> tuple[Json, str, str]:
    """A DRAFT order of 10.00 and its two checks of 4.00 and 6.00."""
    order = shop.order(checks=[{"total": "4.00"}, {"total": 6}], **fields)
    assert [check["status"] for check in order["checks"]] == ["PROCESSING", "PROCESSING"]
    return order, order["checks"][0]["id"], order["checks"][1]["id"]


def check_of(shop: Shop, order: Json, check_id: str) -> Json:
    """One check as it stands."""
    check: Json
    [check] = [check for check in shop.read(order["id"])["checks"] if check["id"] == check_id]
    return check


def check_in(shop: Shop, status: str) -> tuple[Json, str]:
    """An order and its first check, of 4.00, in this state."""
    order, check_id, _ = split_order(shop)
    match status:
        case "PARTIAL":
            shop.deliver(event("ATTEMPT_SUCCESS", check=check_id, amount="1"))
        case "COMPLETED":
            shop.deliver(event("ATTEMPT_SUCCESS", check=check_id, amount="4"))
        case "CANCELLED":
            shop.deliver(event("ATTEMPT_FAILED", check=check_id, amount="4"))
    order = shop.read(order["id"])
    assert order["checks"][0]["status"] == status
    return order, check_id


@pytest.mark.parametrize("start", ["DRAFT", "PROCESSING", "PARTIAL"])
def test_the_last_check_completes_the_order_by_the_same_routine(shop: Shop, start: str) -> None:
    order, first, second = split_order(shop, customerId="ann", allocations=[{"allocationId": "a"}])
    if start != "DRAFT":
        shop.step(order["id"], "payments")
    if start == "PARTIAL":
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="1"))
    assert shop.read(order["id"])["status"] == start
    earlier = len(shop.messages())
    shop.deliver(event("ATTEMPT_SUCCESS", check=first, total="4", paid="4.00"))
    assert shop.read(order["id"])["status"] == start
    assert len(shop.messages()) == earlier
    shop.deliver(event("ATTEMPT_SUCCESS", check=second, total="6", paid="6.50"))
    after = shop.read(order["id"])
    assert (after["status"], after["paid"], after["points"]) == ("COMPLETED", "10.50", 10)
    assert after["completedAt"] is not None
    assert after["allocations"][0]["status"] == "SUCCESS"
    assert [message.type for message in shop.messages()[earlier:]] == [
        "payment.success",
        "ORDER_PAYMENT_UPDATED",
        "order.paid",
        *(["payment.unapplied"] if start == "PARTIAL" else []),
    ]
    assert shop.values("payment.success")[-1]["payment"]["isFullyPaid"] is True
    assert shop.values("payment.success")[-1]["saleOrderStatus"] == "COMPLETED"


@pytest.mark.parametrize(
    ("on_the_order", "paid", "lost"), [("4", "10", "4"), ("12", "12", "10"), ("0", "10", None)]
)
def test_what_was_paid_on_the_order_beside_its_checks_is_reported(
    shop: Shop, on_the_order: str, paid: str, lost: str | None
) -> None:
    """`paid` is the greater of the two, and the smaller is known from no other field."""
    order, first, second = split_order(shop, total="20")
    shop.step(order["id"], "payments")
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], amount=on_the_order))
    for check_id, amount in ((first, "4"), (second, "6")):
        shop.deliver(event("ATTEMPT_SUCCESS", check=check_id, amount=amount))
    after = shop.read(order["id"])
    assert (after["status"], after["paid"]) == ("COMPLETED", paid)
    values = shop.values("payment.unapplied")
    assert [value["amount"] for value in values] == ([] if lost is None else [lost])
    for value in values:
        assert value["reason"] == "Paid on the order itself, beside its checks."
        assert "checkId" not in value


def test_what_an_attempt_brought_and_paid_of_the_check_did_not_grow_by_is_reported(
    shop: Shop,
) -> None:
    order, check_id, _ = split_order(shop)
    shop.deliver(event("ATTEMPT_SUCCESS", check=check_id, paid="2", amount="2"))
    shop.step(order["id"], f"checks/{check_id}/payments")
    shop.deliver(event("ATTEMPT_SUCCESS", check=check_id, paid="3", amount="3"))
    [value] = shop.values("payment.unapplied")
    assert (value["checkId"], value["amount"]) == (check_id, "2")


def test_part_of_a_check_leaves_it_partial_and_it_can_be_paid_to_the_end(shop: Shop) -> None:
    order, check_id = check_in(shop, "PARTIAL")
    check = check_of(shop, order, check_id)
    assert check["partialAt"] is not None
    shop.step(order["id"], f"checks/{check_id}/payments")
    assert check_of(shop, order, check_id)["status"] == "PROCESSING"
    shop.deliver(event("ATTEMPT_SUCCESS", check=check_id, amount="3.00"))
    check = check_of(shop, order, check_id)
    assert (check["status"], check["paid"]) == ("COMPLETED", "4.00")


@pytest.mark.parametrize(("event_type", "reason"), CANCELLING.items())
def test_a_failed_attempt_cancels_the_check_alone(shop: Shop, event_type: str, reason: str) -> None:
    order, first, second = split_order(shop)
    before = shop.messages()
    shop.deliver(event(event_type, check=first, amount="4"))
    after = shop.read(order["id"])
    assert (after["status"], after["cancellationReason"]) == ("DRAFT", None)
    check = check_of(shop, order, first)
    assert (check["status"], check["cancellationReason"]) == ("CANCELLED", reason)
    assert check["cancelledAt"] is not None
    assert check_of(shop, order, second) == order["checks"][1]
    assert shop.messages() == before


def test_a_cancelled_check_can_be_paid_again_and_complete_the_order(shop: Shop) -> None:
    order, first, second = split_order(shop)
    shop.deliver(event("ATTEMPT_FAILED", check=first, amount="4"))
    shop.deliver(event("ATTEMPT_SUCCESS", check=second, amount="6"))
    assert shop.read(order["id"])["status"] == "DRAFT"
    shop.step(order["id"], f"checks/{first}/payments")
    check = check_of(shop, order, first)
    assert (check["status"], check["cancelledAt"]) == ("PROCESSING", None)
    shop.deliver(event("ATTEMPT_SUCCESS", check=first, amount="4"))
    assert shop.read(order["id"])["status"] == "COMPLETED"


@pytest.mark.long
@pytest.mark.parametrize("status", NOT_PROCESSING)
@pytest.mark.parametrize("event_type", CANCELLING)
def test_only_a_processing_check_is_cancelled(shop: Shop, event_type: str, status: str) -> None:
    order, check_id = check_in(shop, status)
    before = shop.messages()
    shop.deliver(event(event_type, check=check_id, amount="1"))
    assert shop.read(order["id"]) == order
    assert shop.messages() == before


@pytest.mark.parametrize("status", ["PROCESSING", *NOT_PROCESSING])
@pytest.mark.parametrize("event_type", ["TRANSACTION_SETTLED", "TRANSACTION_CANCELLED"])
def test_transaction_events_of_a_check_change_nothing(
    shop: Shop, event_type: str, status: str
) -> None:
    order, check_id = check_in(shop, status)
    before = shop.messages()
    shop.deliver(event(event_type, check=check_id, paid="4"))
    assert shop.read(order["id"]) == order
    assert shop.messages() == before


@pytest.mark.parametrize("status", NOT_PROCESSING)
def test_a_success_that_the_check_cannot_take_is_reported(shop: Shop, status: str) -> None:
    order, check_id = check_in(shop, status)
    shop.deliver(event("ATTEMPT_SUCCESS", check=check_id, amount="2.50"))
    assert shop.read(order["id"]) == order
    [message] = shop.messages("payment.unapplied")
    assert (message.group_key, message.priority) == (order["id"], 1)
    assert (message.value["checkId"], message.value["amount"]) == (check_id, "2.50")
    assert message.value["reason"] == f"The check is {status}, not PROCESSING."


def test_what_was_paid_on_a_cancelled_check_is_reported(shop: Shop) -> None:
    order, check_id = check_in(shop, "PARTIAL")
    shop.step(order["id"], f"checks/{check_id}/payments")
    shop.deliver(event("ATTEMPT_CANCELLED", check=check_id, amount="3"))
    [value] = shop.values("payment.unapplied")
    assert (value["orderId"], value["checkId"], value["amount"]) == (order["id"], check_id, "1")


@pytest.mark.parametrize(
    ("ending", "status"), [("ATTEMPT_FAILED", "CANCELLED"), ("ATTEMPT_SUCCESS", "COMPLETED")]
)
def test_a_check_paid_after_its_order_ended_is_taken_and_reported(
    shop: Shop, ending: str, status: str
) -> None:
    order, first, second = split_order(shop)
    shop.step(order["id"], "payments")
    shop.deliver(event(ending, order=order["id"], amount="10"))
    ended = shop.read(order["id"])
    assert ended["status"] == status
    for check_id, amount in ((first, "4"), (second, "6")):
        shop.deliver(event("ATTEMPT_SUCCESS", check=check_id, amount=amount))
        assert check_of(shop, order, check_id)["status"] == "COMPLETED"
    after = shop.read(order["id"])
    assert {**after, "checks": None} == {**ended, "checks": None}
    reported = [(value["checkId"], value["amount"]) for value in shop.values("payment.unapplied")]
    assert reported == [(first, "4"), (second, "6")]
