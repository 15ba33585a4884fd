"""The reckoning: what must have happened against what did, from databases, topics and displays."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, LiteralString

import msgspec
import psycopg

from demo.bridged import Bridged, reckon_bridged
from demo.comparison import Delivery, Promise, Published, compare
from demo.places import CHANNELS, Places
from demo.plan import SUCCESS, Story
from demo.pushed import Pushed, reckon_pushed
from demo.till import Till
from demo.topics import Topics

Connection = psycopg.Connection[Any]


class Reckoning(msgspec.Struct, frozen=True):
    """The whole of it. `ignored` counts, by who ignored it, what came again."""

    deliveries: list[Delivery]
    promises: list[Promise]
    ignored: dict[str, int]
    rolled_back: int
    pushed: Pushed
    bridged: Bridged

    @property
    def right(self) -> bool:
        parts = (self, self.pushed, self.bridged)
        deliveries = [each for part in parts for each in part.deliveries]
        promises = [each for part in parts for each in part.promises]
        return all(each.right for each in deliveries) and all(each.right for each in promises)


def reckon(places: Places, stories: Sequence[Story], till: Till) -> Reckoning:
    """Reads databases, topics and records anew, and what is left in the queue.

    Raises psycopg.Error, sqlite3.Error, KafkaException, OSError, TimeoutError.
    """
    topics = Topics(places.bootstrap_servers, places.topics())
    try:
        arrivals = topics.read()
    finally:
        topics.close()
    with (
        psycopg.connect(places.sale) as sale,
        psycopg.connect(places.books["inventory"]) as inventory,
        psycopg.connect(places.books["finance"]) as finance,
    ):
        log = [Published(*row) for each in (sale, inventory) for row in each.execute(LOG)]
        return Reckoning(
            deliveries=[
                compare(
                    channel,
                    [message for message in log if message.channel == channel],
                    [
                        each.idempotency_key
                        for each in arrivals
                        if each.topic == places.topic(channel)
                    ],
                )
                for channel in CHANNELS
            ],
            promises=[
                *service_promises(sale, stories),
                money_promise(sale, stories),
                *stock_promises(sale, inventory),
                *wallet_promises(sale, finance),
                *type_promises(sale),
                Promise("displays to be told of their order", len(till.due), len(till.told)),
            ],
            ignored={
                "inventory": _number(inventory, REPEATED),
                "finance": _number(finance, REPEATED),
            },
            rolled_back=_number(sale, ROLLED_BACK),
            pushed=reckon_pushed(places, sale, log),
            bridged=reckon_bridged(places, inventory, log),
        )


# Channels `outbox.*` stay inside the database: the service's WebSockets live on them.
LOG = """
    select id, channel, group_key, idempotency_key
    from outbox.message
    where not starts_with(channel, 'outbox.')
    order by id
"""
# Ids that were drawn and never committed: CACHE is 1, so each gap is a rollback.
ROLLED_BACK = """
    select last_value - (select count(*) from outbox.message)
    from outbox.message_id_seq
"""
REPEATED = "select count(*) from repeated"
RECEIVED = "select count(*) from sale.received_webhook"
COMPLETED = "select count(*) from sale.sale_order where status = 'COMPLETED'"
ANNOUNCED = """
    select count(*)
    from outbox.message
    where channel = 'payment.success'
      and convert_from(payload, 'UTF8')::json #>> '{payment,isFullyPaid}' = 'true'
"""
POINTS_DUE = """
    select coalesce(sum(floor(total)), 0)
    from sale.sale_order
    where status = 'COMPLETED' and customer_id is not null
"""
POINTS_GIVEN = "select coalesce(sum(points), 0) from sale.points_transaction"


def service_promises(sale: Connection, stories: Sequence[Story]) -> list[Promise]:
    """Each webhook is taken in once, each completed order announced and rewarded once."""
    sent = {(hook.event_type, hook.attempt_id) for story in stories for hook in story.webhooks()}
    completed = _number(sale, COMPLETED)
    points = _number(sale, POINTS_DUE), _number(sale, POINTS_GIVEN)
    return [
        Promise(
            "different webhooks sent, and taken in once each", len(sent), _number(sale, RECEIVED)
        ),
        Promise(
            "orders completed, and announced as fully paid", completed, _number(sale, ANNOUNCED)
        ),
        Promise("loyalty points earned, and given", *points),
    ]


HELD = """
    select coalesce(sum(paid), 0)
    from (
        select paid from sale.sale_order
        union all
        select sale_check.paid
        from sale.sale_check
        join sale.sale_order on sale_order.id = sale_check.order_id
        where sale_order.status <> 'COMPLETED'
    ) as held
"""
UNAPPLIED = """
    select coalesce(sum((convert_from(payload, 'UTF8')::json ->> 'amount')::numeric), 0)
    from outbox.message
    where channel = 'payment.unapplied'
      and convert_from(payload, 'UTF8')::json ->> 'event' = 'ATTEMPT_SUCCESS'
"""


def money_promise(sale: Connection, stories: Sequence[Story]) -> Promise:
    """No cent vanishes: what the provider took is held by an order or a check, or is unapplied.

    A check's money is its order's once all checks are paid. Every story pays either its order or
    its checks, so that nothing is held twice.
    """
    hooks = (hook for story in stories for hook in story.webhooks())
    taken = {hook.attempt_id: hook.amount for hook in hooks if hook.event_type == SUCCESS}
    return Promise(
        "EUR the provider took, and held or told as unapplied",
        sum(taken.values(), Decimal(0)),
        _amount(sale, HELD) + _amount(sale, UNAPPLIED),
    )


SOLD = """
    select item.item_id, sum(item.quantity)
    from sale.order_item as item
    join sale.sale_order as sale_order on sale_order.id = item.order_id
    where sale_order.status = 'COMPLETED' and item.mode = 'PRODUCT'
    group by item.item_id
"""
STOCK = "select product, opening, on_hand from inventory.stock order by product"


def stock_promises(sale: Connection, inventory: Connection) -> list[Promise]:
    """Each product's opening stock without what completed orders took of it."""
    sold = dict(sale.execute(SOLD).fetchall())
    return [
        Promise(f"stock of {product}", opening - int(sold.get(product, 0)), on_hand)
        for product, opening, on_hand in inventory.execute(STOCK)
    ]


PAID = "select id, paid from sale.sale_order where paid > 0"
INCOME = "select order_id, sum(amount) from finance.wallet_transaction group by order_id"


def wallet_promises(sale: Connection, finance: Connection) -> list[Promise]:
    """What was paid is income: in all, and for each order."""
    paid, income = (dict(each.fetchall()) for each in (sale.execute(PAID), finance.execute(INCOME)))
    wrong = [order for order in {*paid, *income} if paid.get(order) != income.get(order)]
    totals = sum(paid.values(), Decimal(0)), sum(income.values(), Decimal(0))
    return [
        Promise("EUR paid for orders, and booked as income", *totals),
        Promise("orders whose income is not what was paid", 0, len(wrong)),
    ]


PUBLISHED = "select count(*) from outbox.message where not starts_with(channel, 'outbox.')"
CHECKED = """
    select count(*)
    from outbox.message as message
    join outbox.event_type as event_type using (type)
    where enforcement = 'refuse' and message.type_version = event_type.version
"""
FAULTS = "select coalesce(sum(faults), 0) from outbox.event_type_state"


def type_promises(sale: Connection) -> list[Promise]:
    """Whatever the services published was held to its type, and fits."""
    # No message at all would be no promise kept.
    published = max(_number(sale, PUBLISHED), 1)
    return [
        Promise("event types: messages, and held to them", published, _number(sale, CHECKED)),
        Promise("event types: messages that do not fit", 0, _number(sale, FAULTS)),
    ]


def _amount(connection: Connection, statement: LiteralString) -> Decimal:
    row = connection.execute(statement).fetchone()
    assert row is not None, "an aggregate always has one row"
    return Decimal(row[0])


def _number(connection: Connection, statement: LiteralString) -> int:
    row = connection.execute(statement).fetchone()
    assert row is not None, "an aggregate always has one row"
    return int(row[0])
