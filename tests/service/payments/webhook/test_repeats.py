"""The same webhook, however often it comes, has one effect."""

from uuid import uuid4

import pytest

from tests.eventually import eventually
from tests.service.shop import Shop, event
from tests.sql.log import let_days_pass, one

EVENTS = [
    "ATTEMPT_SUCCESS",
    "ATTEMPT_FAILED",
    "ATTEMPT_EXPIRED",
    "ATTEMPT_CANCELLED",
    "TRANSACTION_SETTLED",
    "TRANSACTION_CANCELLED",
]


@pytest.mark.parametrize("event_type", EVENTS)
@pytest.mark.parametrize("kind", ["order", "check"])
def test_a_repeat_is_acknowledged_and_changes_nothing(
    shop: Shop, kind: str, event_type: str
) -> None:
    order = shop.processing_order(customerId="ann", checks=[{"total": "10"}])
    target = order["id"] if kind == "order" else order["checks"][0]["id"]
    sent = event(event_type, paid="4", amount="4", **{kind: target})
    shop.deliver(sent)
    after = shop.state()
    for _ in range(3):
        shop.deliver(sent)
    assert shop.state() == after


def test_a_repeat_after_the_order_went_on_changes_nothing(shop: Shop) -> None:
    order = shop.processing_order()
    first = event("ATTEMPT_SUCCESS", order=order["id"], amount="4")
    shop.deliver(first)
    shop.step(order["id"], "payments")
    before = shop.state()
    shop.deliver(first)
    assert shop.state() == before


def test_the_attempt_tells_events_apart_not_the_transaction(shop: Shop) -> None:
    order = shop.processing_order()
    same = {"transaction_id": str(uuid4()), "paid": "4"}
    attempt_id = str(uuid4())
    shop.deliver(
        event("ATTEMPT_SUCCESS", order=order["id"], amount="4", attempt_id=attempt_id, **same)
    )
    repeat = event("ATTEMPT_SUCCESS", order=order["id"], amount="4", attempt_id=attempt_id.upper())
    shop.deliver(repeat)
    assert shop.messages("payment.unapplied") == []
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], amount="4", **same))
    assert len(shop.messages("payment.unapplied")) == 1


def test_without_an_attempt_transaction_and_paid_tell_events_apart(shop: Shop) -> None:
    order = shop.processing_order()
    transaction_id = str(uuid4())

    def paid(amount: object, transaction_id: str = transaction_id) -> None:
        shop.deliver(
            event("ATTEMPT_SUCCESS", order=order["id"], paid=amount, transaction_id=transaction_id)
        )

    paid("4.10")
    for same in (4.1, "4.100", "41e-1", 4.10):
        paid(same)
    assert shop.messages("payment.unapplied") == []
    paid("4.11")
    assert len(shop.messages("payment.unapplied")) == 1
    paid("4.10", str(uuid4()))
    assert len(shop.messages("payment.unapplied")) == 2


def test_different_events_of_one_attempt_are_no_repeats(shop: Shop) -> None:
    order = shop.processing_order()
    attempt_id = str(uuid4())
    shop.deliver(
        event("TRANSACTION_SETTLED", order=order["id"], amount="10", attempt_id=attempt_id)
    )
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], amount="10", attempt_id=attempt_id))
    assert shop.read(order["id"])["status"] == "COMPLETED"


def test_one_attempt_for_two_orders_counts_for_both(shop: Shop) -> None:
    attempt_id = str(uuid4())
    for _ in range(2):
        order = shop.processing_order()
        shop.deliver(
            event("ATTEMPT_SUCCESS", order=order["id"], amount="10", attempt_id=attempt_id)
        )
        assert shop.read(order["id"])["status"] == "COMPLETED"


def test_the_database_holds_one_points_transaction_per_order_whichever_program_writes(
    shop: Shop,
) -> None:
    keys = shop.database.execute(
        """
        select conrelid::regclass::text, pg_get_constraintdef(oid)
        from pg_constraint
        where contype = 'p' and conrelid = 'sale.points_transaction'::regclass
        """
    ).fetchall()
    assert keys == [("sale.points_transaction", "PRIMARY KEY (order_id)")]


PARTITIONS = """
select count(*) from pg_inherits where inhparent = 'sale.received_webhook'::regclass
"""


def turn(shop: Shop) -> None:
    """Days pass, and what comes has a later partition: by a call here, or by the service's own."""
    before = one(shop.database, PARTITIONS)
    let_days_pass(shop.database, 45, "sale.received_webhook")

    def turned() -> None:
        one(shop.database, "select sale.turn_received(180)")
        assert one(shop.database, PARTITIONS) > before

    eventually(turned)


@pytest.mark.parametrize("event_type", EVENTS)
def test_a_repeat_in_a_later_partition_changes_nothing(shop: Shop, event_type: str) -> None:
    order = shop.processing_order(customerId="ann")
    sent = event(event_type, paid="4", amount="4", order=order["id"])
    shop.deliver(sent)
    for _ in range(2):
        turn(shop)
        before = shop.state()
        shop.deliver(sent)
        assert shop.state() == before
