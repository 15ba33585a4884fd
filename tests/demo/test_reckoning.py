"""Promises of the reckoning: whatever is off, it says so."""

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from confluent_kafka import Producer
from msgspec.structs import replace

from demo.comparison import Delivery, Published, compare
from demo.consumers.inventory import DEDUCT
from demo.places import CHANNELS, Places
from demo.plan import SUCCESS, Send, Story, Webhook
from demo.queue import Queue
from demo.reckoning import Reckoning, reckon
from demo.subscribers import records
from demo.subscriptions import SUBSCRIBERS
from demo.till import Till
from demo.topics import Topics
from local.elasticmq import Queues
from service.payments import completion, lifecycle
from service.payments.event_types import examples
from service.payments.sale_event import SaleEvent
from service.payments.webhook import unapplied
from service.payments.webhook.event import EventType
from tests.conftest import CreateTopic
from tests.demo import bridges
from tests.demo.pushes import push
from tests.event_types import register_sale

# Two groups, whose messages are numbered through by the log.
LOG = [Published(id, "c", group, f"key-{id}") for id, group in enumerate("abaabb", start=1)]
IN_ORDER = [1, 2, 3, 4, 5, 6]


def delivered(ids: list[int]) -> Delivery:
    return compare("c", LOG, [f"key-{id}" for id in ids])


@pytest.mark.parametrize("ids", [IN_ORDER, [2, 5, 6, 1, 3, 4], [2, 1, 5, 3, 6, 4]])
def test_groups_may_come_in_any_order_to_each_other(ids: list[int]) -> None:
    assert delivered(ids) == Delivery("c", 6, 6, repeated=0, lost=0, out_of_order=0, uncommitted=0)


def test_a_repeat_is_counted_and_no_fault_however_late_it_comes() -> None:
    delivery = delivered([1, 2, 1, 3, 4, 5, 6, 1])
    assert (delivery.repeated, delivery.out_of_order, delivery.right) == (2, 0, True)


def test_a_lost_message_is_found() -> None:
    delivery = delivered([1, 2, 3, 5, 6])
    assert (delivery.lost, delivery.right) == (1, False)


def test_an_inversion_within_a_group_is_found() -> None:
    delivery = delivered([1, 2, 4, 3, 5, 6])
    assert (delivery.out_of_order, delivery.right) == (1, False)


def test_a_message_that_was_never_committed_is_found() -> None:
    delivery = delivered([*IN_ORDER, 7])
    assert (delivery.uncommitted, delivery.right) == (1, False)


def success(number: int, amount: str) -> Webhook:
    return Webhook(
        event_type=SUCCESS,
        check=None,
        attempt_id=UUID(int=number),
        transaction_id=UUID(int=0),
        amount=Decimal(amount),
        total=Decimal("6.30"),
        paid=None,
        copies=2,
    )


def story(*amounts: str) -> Story:
    """A story of payments; the first of them is sent again in the end."""
    sends = [Send((success(number, amount),)) for number, amount in enumerate(amounts)]
    return Story(form={}, steps=tuple((0, send) for send in [*sends, sends[0]]))


class World:
    """One order, 6.30 of two espressos and a wrapping, paid in full by two payments.

    A third one of 1.00 came too late.
    """

    stories = (story("2.30", "4.00", "1.00"),)

    def __init__(self, places: Places, sale: Any, inventory: Any, finance: Any) -> None:
        self.places = places
        self.sale = sale
        self.inventory = inventory
        self.finance = finance
        self.till = Till(["http://127.0.0.1"])

    def publish(self, event: SaleEvent[Any], payload: msgspec.Struct) -> None:
        """As the service does, of the one order."""
        text = msgspec.json.encode(payload).decode()
        values = [event.channel, event.name, text, ORDER]
        self.sale.execute("select outbox.publish(%s, %s, %s::json, %s)", values)

    def deliver(self, skip: int | None = None) -> None:
        """Sends what the log holds to the topics, all but message number `skip`."""
        producer = Producer({"bootstrap.servers": self.places.bootstrap_servers})
        rows = [
            row
            for log in (self.sale, self.inventory)
            for row in log.execute(
                "select channel, group_key, idempotency_key, payload from outbox.message "
                "where channel = any (%s) order by id",
                [list(CHANNELS)],
            )
        ]
        for number, (channel, group_key, key, payload) in enumerate(rows):
            if number != skip:
                headers: dict[str, Any] = {"idempotency-key": key}
                topic = self.places.topic(channel)
                producer.produce(topic, payload, group_key, headers=headers)
        assert producer.flush(10) == 0

    def reckon(self) -> Reckoning:
        return reckon(self.places, self.stories, self.till)

    def wrong(self) -> list[str]:
        """What the reckoning finds off."""
        found = self.reckon()
        parts = (found, found.pushed, found.bridged)
        names = [each.name for part in parts for each in part.deliveries if not each.right]
        names += [each.what for part in parts for each in part.promises if not each.right]
        assert found.right is not bool(names)
        return names


SALE = """
    insert into sale.sale_order (id, number, status, merchant_id, sale_channel_id, customer_id,
        currency, total, paid, created_by, modified_by, partial_at, completed_at)
    values ('00000000-0000-4000-8000-000000000001', 'T-1', 'COMPLETED', 'm', 'web', 'c', 'EUR',
        6.30, 6.30, 'till', 'till', now(), now());
    insert into sale.order_item (order_id, position, item_type, item_id, quantity, mode)
    select id, 1, 'GOODS', 'espresso', 2, 'PRODUCT' from sale.sale_order
    union all select id, 2, 'SERVICE', 'gift wrapping', 1, 'CUSTOM' from sale.sale_order;
    insert into sale.points_transaction (order_id, customer_id, points)
    select id, 'c', 6 from sale.sale_order;
    insert into sale.received_webhook (key, order_id, event_type)
    select key, id, 'ATTEMPT_SUCCESS'
    from sale.sale_order, unnest(array['first', 'second', 'third']) as key;
"""
ORDER = "00000000-0000-4000-8000-000000000001"
IN_PART = replace(
    examples.SUCCESS,
    sale_order_status="PARTIAL",
    payment=replace(examples.SUCCESS.payment, is_fully_paid=False),
)
TOO_LATE = replace(examples.UNAPPLIED, amount="1.00")
PUBLISHED: tuple[tuple[SaleEvent[Any], msgspec.Struct], ...] = (
    (lifecycle.CREATED, examples.CREATED),
    (completion.SUCCESS, IN_PART),
    (completion.SUCCESS, examples.SUCCESS),
    (unapplied.UNAPPLIED, TOO_LATE),
    (unapplied.UNAPPLIED, replace(TOO_LATE, event=EventType.ATTEMPT_FAILED, amount="2.30")),
)
FINANCE = """
    insert into finance.booked (order_id, paid)
    values ('00000000-0000-4000-8000-000000000001', 6.30);
    insert into finance.wallet_transaction (order_id, kind, amount, currency)
    select order_id, 'INCOME', amount, 'EUR'
    from finance.booked, (values (2.30), (4.00)) as payment (amount);
"""
DEDUCT_ONE = "update inventory.stock set on_hand = on_hand - 1 where product = 'espresso'"


@pytest.fixture
def world(
    database_url: str,
    inventory_url: str,
    finance_url: str,
    kafka: str,
    create_topic: CreateTopic,
    topic_prefix: str,
    elasticmq: Queues,
    tmp_path: Path,
) -> Iterator[World]:
    for name in (*CHANNELS, "stock"):
        create_topic(name)
    queue = f"{topic_prefix.removesuffix('.')}.fifo"
    elasticmq.create_queue(queue)
    books = {"inventory": inventory_url, "finance": finance_url}
    files = {name: tmp_path / f"{name}.sqlite" for name in SUBSCRIBERS}
    places = Places(
        database_url,
        books,
        kafka,
        topic_prefix,
        files,
        kafka,
        Queue(elasticmq.url(queue), elasticmq.ask),
    )
    register_sale(database_url)
    with (
        psycopg.connect(database_url, autocommit=True) as sale,
        psycopg.connect(inventory_url, autocommit=True) as inventory,
        psycopg.connect(finance_url, autocommit=True) as finance,
    ):
        world = World(places, sale, inventory, finance)
        sale.execute(SALE)
        for event, payload in PUBLISHED:
            world.publish(event, payload)
        inventory.execute(DEDUCT, [2, "espresso"])
        finance.execute(FINANCE)
        push(sale, places)
        updates = bridges.updates(inventory)
        bridges.to_kafka(places, updates)
        bridges.to_queue(places, elasticmq, updates)
        yield world


@pytest.mark.long
def test_nothing_is_off_when_all_is_as_it_must_be(world: World) -> None:
    world.deliver()
    assert world.wrong() == []
    income = next(each for each in world.reckon().promises if "income" in each.what)
    assert income.actual == Decimal("6.30")


def test_a_message_that_never_reached_its_topic_is_off(world: World) -> None:
    world.deliver(skip=1)
    assert world.wrong() == ["payment.success"]


def test_a_webhook_that_never_reached_its_subscriber_is_off(world: World) -> None:
    world.deliver()
    records.make(world.places.records["billing"].with_suffix(".new"))
    world.places.records["billing"] = world.places.records["billing"].with_suffix(".new")
    assert world.wrong() == ["billing"]


@pytest.mark.long
def test_a_rollback_is_counted_and_no_fault(world: World) -> None:
    world.deliver()
    with world.sale.transaction(force_rollback=True):
        world.sale.execute("select outbox.publish('payment.success', 'x', '{}')")
    assert world.reckon().rolled_back == 1
    assert world.wrong() == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (
            lambda w: w.inventory.execute(DEDUCT_ONE),
            [
                "stock of espresso",
                "stocks that warehouse knows, and are so",
                "stocks that purchasing knows, and are so",
            ],
        ),
        (
            lambda w: w.finance.execute(
                "insert into finance.wallet_transaction (order_id, kind, amount, currency) "
                "select order_id, kind, amount, currency from finance.wallet_transaction limit 1"
            ),
            [
                "EUR paid for orders, and booked as income",
                "orders whose income is not what was paid",
            ],
        ),
        (
            lambda w: w.sale.execute("delete from sale.points_transaction"),
            ["loyalty points earned, and given"],
        ),
        (
            lambda w: w.sale.execute(
                "insert into sale.received_webhook (key, order_id, event_type) "
                "select 'k', id, 'ATTEMPT_SUCCESS' from sale.sale_order"
            ),
            ["different webhooks sent, and taken in once each"],
        ),
    ],
    ids=["stock deducted twice", "income booked twice", "no points", "a webhook too many"],
)
def test_a_planted_double_or_gap_is_off(
    world: World, plant: Callable[[World], object], found: list[str]
) -> None:
    world.deliver()
    plant(world)
    assert world.wrong() == found


def test_a_full_payment_announced_twice_is_off(world: World) -> None:
    world.publish(completion.SUCCESS, examples.SUCCESS)
    world.deliver()
    assert world.wrong() == ["orders completed, and announced as fully paid"]


HELD, UNFIT = "event types: messages, and held to them", "event types: messages that do not fit"


def test_a_message_of_a_type_that_nobody_registered_is_off(world: World) -> None:
    world.sale.execute("select outbox.publish('payment.unapplied', 'payment.refunded', '{}')")
    world.deliver()
    assert world.wrong() == [HELD]


def test_a_message_that_does_not_fit_its_type_is_off(world: World) -> None:
    enforce = "update outbox.event_type set enforcement = %s where type = 'payment.unapplied'"
    world.sale.execute(enforce, ["report"])
    world.sale.execute("select outbox.publish('payment.unapplied', 'payment.unapplied', '{}')")
    world.sale.execute(enforce, ["refuse"])
    world.deliver()
    assert world.wrong() == [HELD, UNFIT]


def test_types_that_are_not_enforced_are_off(world: World) -> None:
    world.sale.execute("update outbox.event_type set enforcement = 'off'")
    world.deliver()
    assert world.wrong() == [HELD]


MONEY = "EUR the provider took, and held or told as unapplied"


def test_money_that_vanished_is_off(world: World) -> None:
    world.stories = (story("2.30", "4.00", "1.01"),)
    world.deliver()
    assert world.wrong() == [MONEY]


def test_money_that_is_told_as_unapplied_twice_is_off(world: World) -> None:
    world.publish(unapplied.UNAPPLIED, TOO_LATE)
    world.deliver()
    assert world.wrong() == [MONEY]


@pytest.mark.parametrize(("status", "held"), [("PROCESSING", True), ("COMPLETED", False)])
def test_money_on_checks_counts_until_their_order_is_completed(
    world: World, status: str, held: bool
) -> None:
    world.sale.execute(
        "insert into sale.sale_order (number, status, merchant_id, sale_channel_id, currency, "
        "total, created_by, modified_by, completed_at) values ('T-2', %(status)s, 'm', 'web', "
        "'EUR', 3, 'till', 'till', case when %(status)s = 'COMPLETED' then now() end)",
        {"status": status},
    )
    world.sale.execute(
        "insert into sale.sale_check (order_id, position, total, paid) "
        "select id, 1, 3, 3 from sale.sale_order where number = 'T-2'"
    )
    world.deliver()
    assert (MONEY in world.wrong()) is held


def test_a_display_that_was_connected_and_not_told_is_off(world: World) -> None:
    world.deliver()
    told, cut_off, silent = (world.till.display(f"order-{number}") for number in range(3))
    told.updates, cut_off.cut_off = 1, True
    assert world.wrong() == ["displays to be told of their order"]
    silent.cut_off = True
    assert world.wrong() == []


def test_topics_are_read_to_their_end(world: World) -> None:
    world.deliver()
    world.deliver()
    with closing(Topics(world.places.bootstrap_servers, world.places.topics())) as topics:
        assert len(topics.read()) == sum(topics.counts().values()) == 12
