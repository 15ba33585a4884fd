"""Promises of the example consumers: each message takes effect once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from confluent_kafka import Producer

from demo.consumers import consumer, finance, inbox, inventory
from demo.consumers.consumer import Effect
from demo.consumers.finance import book_income
from demo.consumers.inbox import Connection
from demo.consumers.inventory import UnknownProductError, deduct_stock
from demo.consumers.payment import Item, Payment, PaymentSuccess
from demo.places import OPENING_STOCK
from tests.conftest import CreateTopic, Spawn
from tests.eventually import eventually


def payment(
    paid: str, *, in_full: bool, order_id: UUID | None = None, items: list[Item] | None = None
) -> PaymentSuccess:
    if items is None:
        items = [Item("espresso", 2, "PRODUCT")]
    return PaymentSuccess(order_id or uuid4(), Payment(Decimal(paid), "EUR", in_full), items)


def receive(url: str, name: str, effect: Effect, success: PaymentSuccess, key: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        return consumer.receive(connection, name, key, success, effect)


def in_stock(url: str, product: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select on_hand from inventory.stock where product = %s", [product]
        ).fetchone()
    assert row is not None
    return int(row[0])


def booked(url: str) -> list[Decimal]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("select amount from finance.wallet_transaction order by id")
        return [row[0] for row in rows]


def repeats(url: str) -> int:
    with psycopg.connect(url) as connection:
        return len(connection.execute("select from repeated").fetchall())


@pytest.mark.parametrize("workers", [1, 5], ids=["one after the other", "at once"])
def test_inventory_deducts_once_however_often_a_message_comes(
    inventory_url: str, workers: int
) -> None:
    success = payment("4.80", in_full=True)

    def deliver(_: int) -> bool:
        return receive(inventory_url, inventory.NAME, deduct_stock, success, "key-1")

    with ThreadPoolExecutor(workers) as pool:
        applied = list(pool.map(deliver, range(5)))
    assert sorted(applied) == [False] * 4 + [True]
    assert in_stock(inventory_url, "espresso") == OPENING_STOCK - 2
    assert repeats(inventory_url) == 4


@pytest.mark.parametrize("workers", [1, 5], ids=["one after the other", "at once"])
def test_finance_books_once_however_often_a_message_comes(finance_url: str, workers: int) -> None:
    success = payment("4.80", in_full=True)

    def deliver(_: int) -> bool:
        return receive(finance_url, finance.NAME, book_income, success, "key-1")

    with ThreadPoolExecutor(workers) as pool:
        applied = list(pool.map(deliver, range(5)))
    assert sorted(applied) == [False] * 4 + [True]
    assert booked(finance_url) == [Decimal("4.80")]


def test_finance_books_by_what_paid_has_grown(finance_url: str) -> None:
    order_id = uuid4()
    for paid, key in (("1.50", "key-1"), ("1.50", "key-2"), ("4.80", "key-3"), ("1.50", "key-4")):
        success = payment(paid, in_full=paid == "4.80", order_id=order_id)
        assert receive(finance_url, finance.NAME, book_income, success, key)
    assert booked(finance_url) == [Decimal("1.50"), Decimal("3.30")]


def test_inventory_leaves_the_stock_alone_until_an_order_is_fully_paid(inventory_url: str) -> None:
    success = payment("1.00", in_full=False)
    assert receive(inventory_url, inventory.NAME, deduct_stock, success, "key-1")
    assert in_stock(inventory_url, "espresso") == OPENING_STOCK


def test_inventory_deducts_an_order_once_under_any_key(inventory_url: str) -> None:
    success = payment("4.80", in_full=True)
    for key in ("key-1", "key-2"):
        assert receive(inventory_url, inventory.NAME, deduct_stock, success, key)
    assert in_stock(inventory_url, "espresso") == OPENING_STOCK - 2


def test_inventory_deducts_products_only_and_each_item_of_one(inventory_url: str) -> None:
    items = [
        Item("espresso", 2, "PRODUCT"),
        Item("croissant", 1, "PRODUCT"),
        Item("espresso", 3, "PRODUCT"),
        Item("cheesecake", 4, "CUSTOM"),
    ]
    success = payment("20", in_full=True, items=items)
    receive(inventory_url, inventory.NAME, deduct_stock, success, "key-1")
    stock = [in_stock(inventory_url, each) for each in ("espresso", "croissant", "cheesecake")]
    assert stock == [OPENING_STOCK - 5, OPENING_STOCK - 1, OPENING_STOCK]


def test_a_product_that_is_not_in_stock_is_told_and_nothing_is_applied(inventory_url: str) -> None:
    items = [Item("espresso", 2, "PRODUCT"), Item("yerba mate", 1, "PRODUCT")]
    success = payment("9.80", in_full=True, items=items)
    with pytest.raises(UnknownProductError, match="yerba mate"):
        receive(inventory_url, inventory.NAME, deduct_stock, success, "key-1")
    assert in_stock(inventory_url, "espresso") == OPENING_STOCK
    with psycopg.connect(inventory_url) as connection:
        connection.execute("insert into inventory.stock values ('yerba mate', 10, 10)")
    assert receive(inventory_url, inventory.NAME, deduct_stock, success, "key-1")
    assert in_stock(inventory_url, "yerba mate") == 9


def told(url: str) -> list[tuple[str, int]]:
    """Of what inventory published: group and stock."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select group_key, (convert_from(payload, 'UTF8')::json ->> 'onHand')::integer "
            "from outbox.message where channel = 'inventory.updates' order by id"
        ).fetchall()


def test_inventory_publishes_what_is_left_in_the_transaction_that_takes_it(
    inventory_url: str,
) -> None:
    items = [Item("espresso", 2, "PRODUCT"), Item("yerba mate", 1, "PRODUCT")]
    success = payment("9.80", in_full=True, items=items)
    with pytest.raises(UnknownProductError):
        receive(inventory_url, inventory.NAME, deduct_stock, success, "key-1")
    assert told(inventory_url) == []
    for key in ("key-2", "key-2", "key-3"):
        success = payment("4.80", in_full=True, items=items[:1])
        receive(inventory_url, inventory.NAME, deduct_stock, success, key)
    left = OPENING_STOCK - 2, OPENING_STOCK - 4
    assert told(inventory_url) == [("espresso", each) for each in left]


def test_an_effect_that_fails_leaves_the_message_to_come_again(finance_url: str) -> None:
    success = payment("4.80", in_full=True)

    def book_and_fail(connection: Connection, success: PaymentSuccess) -> None:
        book_income(connection, success)
        connection.execute("select 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        receive(finance_url, finance.NAME, book_and_fail, success, "key-1")
    assert booked(finance_url) == []
    assert receive(finance_url, finance.NAME, book_income, success, "key-1")
    assert booked(finance_url) == [Decimal("4.80")]


def test_a_statement_that_takes_too_long_is_ended_and_nothing_is_applied(
    finance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "STATEMENT_TIMEOUT_MS", 100)
    success = payment("4.80", in_full=True)

    def book_and_wait(connection: Connection, success: PaymentSuccess) -> None:
        book_income(connection, success)
        connection.execute("select pg_sleep(60)")

    with pytest.raises(psycopg.errors.QueryCanceled):
        receive(finance_url, finance.NAME, book_and_wait, success, "key-1")
    assert booked(finance_url) == []


@pytest.mark.long
def test_a_consumer_killed_in_the_middle_books_every_payment_once(
    finance_url: str, kafka: str, create_topic: CreateTopic, spawn: Spawn
) -> None:
    topic = create_topic("payment.success")
    payments = {f"key-{number}": payment(f"{number}.10", in_full=True) for number in range(1, 301)}
    produce_twice(kafka, topic, payments)
    environment = {
        "DATABASE_URL": finance_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "TOPIC": topic,
        "GROUP_ID": f"{topic}.finance",
    }
    expected = sorted(success.payment.paid for success in payments.values())

    def at_least(count: int) -> Callable[[], None]:
        def check() -> None:
            assert len(booked(finance_url)) >= count

        return check

    first = spawn("python", "-m", "demo.consumers.finance", environment=environment)
    eventually(at_least(20), 30)
    first.kill()
    spawn("python", "-m", "demo.consumers.finance", environment=environment)
    eventually(at_least(len(expected)), 30)

    def all_have_come_again() -> None:
        assert repeats(finance_url) >= len(expected)

    eventually(all_have_come_again, 30)
    assert sorted(booked(finance_url)) == expected


def produce_twice(kafka: str, topic: str, payments: dict[str, PaymentSuccess]) -> None:
    producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True})
    for _ in range(2):
        for key, success in payments.items():
            headers: dict[str, Any] = {"idempotency-key": key}
            value = msgspec.json.encode(success)
            producer.produce(topic, value, str(success.sale_order_id), headers=headers)
    assert producer.flush(10) == 0
