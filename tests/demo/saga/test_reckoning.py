"""Promises of the saga's reckoning: whatever is off, it says so."""

from contextlib import closing
from pathlib import Path
from typing import LiteralString

import msgspec
import pytest

from demo.saga import fate
from demo.saga.customers import Customers
from demo.saga.orchestrator import Order
from demo.saga.places import SERVICES
from demo.saga.provider import Book, Demand, reading
from demo.saga.purchases import Purchase
from demo.saga.reckoning import Reckoning, compared
from tests.demo.saga.world import World, an_order


class Shop:
    """One order that was delivered, and one that was undone after its parcel was packed."""

    def __init__(self, world: World, book: Path) -> None:
        self.world, self.book = world, book
        delivered, undone = (
            an_order(product="cup", quantity=2, loses_answer=False) for _ in range(2)
        )
        self.customers = Customers("", [])
        self.customers.ordered = [Purchase(each, None) for each in (delivered, undone)]
        for each in (delivered, undone):
            world.begin(each, in_stock=9)
        world.deliver_until(undone.id, "request.done")
        assert world.cancel(undone.id)
        assert world.settle(delivered.id) == "delivered"
        assert world.settle(undone.id) == "undone"
        with closing(Book(book)) as provider:
            for each in (delivered, undone):
                provider.enter("charge", f"{each.id}:charge", demand(each))
            provider.enter("refund", f"{undone.id}:refund", demand(undone))

    def reckon(self) -> Reckoning:
        databases = dict.fromkeys(SERVICES, self.world.connection)
        return compared(databases, self.book, self.customers)

    def wrong(self) -> set[str]:
        reckoning = self.reckon()
        promises = {each.what for each in reckoning.promises if not each.right}
        deliveries = {each.name for each in reckoning.deliveries if not each.right}
        assert reckoning.right == (not promises | deliveries)
        return promises | deliveries


def demand(order: Order) -> Demand:
    return Demand(order.id, order.amount_cents)


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Shop:
    return Shop(world, tmp_path / "book.sqlite")


FAULTS: dict[str, tuple[LiteralString, str]] = {
    "a unit is missing": (
        "update inventory.stock set available = available - 1",
        "cups on the shelf",
    ),
    "an undone order keeps its goods": (
        "update inventory.reservation set state = 'reserved'",
        "orders with goods that are not theirs, or without",
    ),
    "payment books what the provider does not": (
        "update payment.charge set state = 'refunded'",
        "EUR of delivered orders, in payment's books",
    ),
    "a shipment is missing": (
        "delete from fulfilment.shipment",
        "shipments, and delivered orders",
    ),
    "a parcel stays": (
        "update fulfilment.parcel set state = 'packed' where state = 'withdrawn'",
        "parcels left in the warehouse",
    ),
    "a saga waits": (
        "update shop.saga set state = 'backward', deadline = 'infinity' where state = 'undone'",
        "sagas that still wait for something",
    ),
    "an order's status is not its saga's": (
        "update shop.customer_order set status = 'delivered' where status = 'cancelled'",
        "orders that are neither delivered nor undone",
    ),
    "a failed compensation is shown as done": (
        "insert into shop.history (order_id, event, command)"
        " select order_id, 'failed', 'refund' from shop.saga where state = 'undone'",
        "failed compensations, shown as done",
    ),
    "a reply moves its saga twice": (
        "insert into shop.history (order_id, event, command)"
        " select order_id, event, command from shop.history where event = 'done'",
        "replies that moved their saga twice",
    ),
    "a shipment has too few units": (
        "update fulfilment.shipment set quantity = quantity - 1",
        "units shipped, and ordered",
    ),
    "a message is lost": (
        "delete from inbox.received where consumer = 'payment.replies'",
        "payment.replies (Kafka)",
    ),
    "a message was never committed": (
        "delete from outbox.message where channel = 'inventory.replies'",
        "inventory.replies (webhook)",
    ),
}


def test_what_is_right_is_found_right_and_each_fault_is_found(shop: Shop) -> None:
    assert shop.wrong() == set()
    for fault, (statement, promise) in FAULTS.items():
        with shop.world.connection.transaction(force_rollback=True):
            shop.world.connection.execute(statement)
            assert promise in shop.wrong(), fault
    assert shop.wrong() == set()


def test_money_that_the_provider_keeps_is_found(shop: Shop) -> None:
    with reading(shop.book) as book, book:
        book.execute("delete from entry where kind = 'refund'")
    assert shop.wrong() >= {
        "EUR of delivered orders, at the provider",
        "orders charged too much or too little",
        "orders booked otherwise than charged",
    }


def test_customers_who_were_told_what_is_not_so_are_found(shop: Shop) -> None:
    delivered, undone = (each.order.id for each in shop.customers.ordered)
    shop.customers.in_time, shop.customers.too_late = {undone}, {delivered}
    assert shop.wrong() == set()
    shop.customers.in_time, shop.customers.too_late = {delivered}, {undone}
    assert shop.wrong() == {
        "cancelled in time, and yet delivered",
        "told that it is too late, and yet undone",
    }


def test_an_order_that_nobody_took_is_found(shop: Shop) -> None:
    shop.customers.ordered.append(Purchase(an_order(), None))
    assert shop.wrong() == {
        "orders of customers, taken once each",
        "orders taken otherwise than they were made",
    }


@pytest.mark.parametrize("misfortune", ["is_declined", "finds_closed"])
def test_an_order_that_can_not_be_delivered_and_was_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, misfortune: str
) -> None:
    monkeypatch.setattr(fate, misfortune, lambda _: True)
    assert shop.wrong() == {"declined, or closed, and yet delivered"}


def test_an_order_with_another_price_than_its_customer_saw_is_found(shop: Shop) -> None:
    made = shop.customers.ordered[0].order
    dearer = msgspec.structs.replace(made, amount_cents=made.amount_cents + 1)
    shop.customers.ordered[0] = Purchase(dearer, None)
    assert shop.wrong() == {"orders taken otherwise than they were made"}
