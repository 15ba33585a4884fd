"""The reckoning: what must be, against what the four databases and the provider's book say."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from demo.comparison import Delivery, Promise, Published, compare
from demo.saga import fate
from demo.saga.customers import Customers
from demo.saga.gauges import TOMBSTONES, number
from demo.saga.messages import KAFKA, ROUTES
from demo.saga.orchestrator import Order
from demo.saga.places import SERVICES, Places
from demo.saga.provider import reading

Connection = psycopg.Connection[Any]


class Reckoning(msgspec.Struct, frozen=True):
    """The whole of it; `troubles` counts what went wrong on the way, by the words for it."""

    deliveries: list[Delivery]
    promises: list[Promise]
    troubles: dict[str, int]

    @property
    def right(self) -> bool:
        deliveries = all(each.right for each in self.deliveries)
        return deliveries and all(each.right for each in self.promises)


class Ended(msgspec.Struct, frozen=True):
    """An order as the order service says it ended, or not."""

    id: UUID
    product: str
    quantity: int
    amount_cents: int
    status: str
    state: str


ORDERS = """
    select id, product, quantity, amount_cents, status, state
    from shop.customer_order left join shop.saga on order_id = id
"""


def reckon(places: Places, customers: Customers) -> Reckoning:
    """Reads everything anew. Raises psycopg.Error, sqlite3.Error."""
    with ExitStack() as stack:
        databases = {
            service: stack.enter_context(psycopg.connect(places.databases[service]))
            for service in SERVICES
        }
        return compared(databases, places.book, customers)


def compared(databases: Mapping[str, Connection], book: Path, customers: Customers) -> Reckoning:
    """The databases, by service, with each other, with the book and with what customers know."""
    ended = [Ended(*row) for row in databases["order"].execute(ORDERS)]
    return Reckoning(
        deliveries=[delivery(databases, channel) for channel in ROUTES],
        promises=[
            *saga_promises(databases["order"], ended),
            *stock_promises(databases["inventory"], ended),
            *money_promises(databases["payment"], book, ended),
            *parcel_promises(databases["fulfilment"], ended),
            *customer_promises(customers, ended),
        ],
        troubles=troubles(databases, book),
    )


# Order holds within one priority.
LOG = """
    select id, channel, group_key || ' ' || priority, idempotency_key
    from outbox.message where channel = %s order by id
"""
ARRIVALS = """
    select idempotency_key from (
        select idempotency_key, received_at as at from inbox.received where consumer = %(channel)s
        union all
        select idempotency_key, repeated_at
        from repeated join inbox.received using (idempotency_key)
        where consumer = %(channel)s
    ) as arrival
    order by at
"""


def delivery(databases: Mapping[str, Connection], channel: str) -> Delivery:
    """What one service committed, against what another applied, and knew."""
    sender, receiver = ROUTES[channel]
    log = [Published(*row) for row in databases[sender].execute(LOG, [channel])]
    arrivals = [key for (key,) in databases[receiver].execute(ARRIVALS, {"channel": channel})]
    way = "Kafka" if channel in KAFKA else "webhook"
    return compare(f"{channel} ({way})", log, arrivals)


WAITING = "select count(*) from shop.saga where deadline is not null"
# A compensation that has failed is done later, or its saga has not ended.
SHOWN_BUT_FAILED = """
    select count(*)
    from shop.history as failed
    join shop.saga using (order_id)
    where failed.event = 'failed' and saga.deadline is null
      and not exists (
          select from shop.history as done
          where done.order_id = failed.order_id and done.command = failed.command
            and done.event = 'done' and done.id > failed.id)
"""
MOVED_TWICE = """
    select count(*) from (
        select from shop.history where event = 'done' group by order_id, command
        having count(*) > 1
    ) as again
"""
STATUSES = {("delivered", "delivered"), ("cancelled", "undone")}


def saga_promises(order: Connection, ended: list[Ended]) -> list[Promise]:
    """Every order has come to one of two ends."""
    odd = [each for each in ended if (each.status, each.state) not in STATUSES]
    fated = [
        each.id
        for each in delivered(ended)
        if fate.is_declined(each.id) or fate.finds_closed(each.id)
    ]
    return [
        Promise("orders that are neither delivered nor undone", 0, len(odd)),
        Promise("sagas that still wait for something", 0, number(order, WAITING)),
        Promise("declined, or closed, and yet delivered", 0, len(fated)),
        Promise("failed compensations, shown as done", 0, number(order, SHOWN_BUT_FAILED)),
        Promise("replies that moved their saga twice", 0, number(order, MOVED_TWICE)),
    ]


STOCK = "select product, opening, available from inventory.stock order by product"
RESERVED = "select order_id, quantity from inventory.reservation where state = 'reserved'"


def stock_promises(inventory: Connection, ended: list[Ended]) -> list[Promise]:
    """What is not on the shelf any more is what was delivered, to the unit."""
    sold: Counter[str] = Counter()
    for each in delivered(ended):
        sold[each.product] += each.quantity
    stock = inventory.execute(STOCK).fetchall()
    quantities = {each.id: each.quantity for each in delivered(ended)}
    wrong = differing(quantities, dict(inventory.execute(RESERVED).fetchall()))
    return [
        *(
            Promise(f"{product}s on the shelf", opening - sold[product], available)
            for product, opening, available in stock
        ),
        Promise("orders with goods that are not theirs, or without", 0, wrong),
    ]


CHARGED = "select order_id, amount_cents from payment.charge where state = 'charged'"
BOOKED = """
    select order_id, sum(case kind when 'charge' then amount_cents else - amount_cents end)
    from entry where outcome = 'taken' group by order_id
"""


def money_promises(payment: Connection, book: Path, ended: list[Ended]) -> list[Promise]:
    """What the provider holds was paid for what was delivered, to the cent."""
    prices = {each.id: each.amount_cents for each in delivered(ended)}
    charged = dict(payment.execute(CHARGED).fetchall())
    with reading(book) as connection:
        rows = connection.execute(BOOKED).fetchall()
    booked = {UUID(order_id): cents for order_id, cents in rows if cents}
    due = _euros(prices.values())
    return [
        Promise("EUR of delivered orders, at the provider", due, _euros(booked.values())),
        Promise("EUR of delivered orders, in payment's books", due, _euros(charged.values())),
        Promise("orders charged too much or too little", 0, differing(prices, booked)),
        Promise("orders booked otherwise than charged", 0, differing(charged, booked)),
    ]


SHIPPED = "select order_id, quantity from fulfilment.shipment"
PACKED = "select count(*) from fulfilment.parcel where state = 'packed'"


def parcel_promises(fulfilment: Connection, ended: list[Ended]) -> list[Promise]:
    """Who has paid has a parcel with what it paid for, and nobody else has."""
    quantities = {each.id: each.quantity for each in delivered(ended)}
    shipped = dict(fulfilment.execute(SHIPPED).fetchall())
    return [
        Promise("shipments, and delivered orders", len(quantities), len(shipped)),
        Promise("units shipped, and ordered", sum(quantities.values()), sum(shipped.values())),
        Promise("orders with a shipment that is not theirs", 0, differing(quantities, shipped)),
        Promise("parcels left in the warehouse", 0, number(fulfilment, PACKED)),
    ]


def customer_promises(customers: Customers, ended: list[Ended]) -> list[Promise]:
    """What customers ordered is what the shop knows; when they cancelled, they were told so."""
    wanted = {each.order.id: each.order for each in customers.ordered}
    known = {
        each.id: Order(each.id, each.product, each.quantity, each.amount_cents) for each in ended
    }
    arrived = {each.id for each in delivered(ended)}
    wrong = len(customers.in_time & arrived), len(customers.too_late - arrived)
    return [
        Promise("orders of customers, taken once each", len(customers.ordered), len(ended)),
        Promise("orders taken otherwise than they were made", 0, differing(wanted, known)),
        Promise("cancelled in time, and yet delivered", 0, wrong[0]),
        Promise("told that it is too late, and yet undone", 0, wrong[1]),
    ]


EVENTS = """
    select case when event = 'refused' then event || ': ' || detail else event end, count(*)
    from shop.history
    where event in ('refused', 'timed out', 'late', 'failed', 'cancelled', 'cancel refused')
    group by 1 order by 1
"""
REPEATED = "select count(*) from repeated"
ASKED_AGAIN = "select count(*) from entry where kind = 'charge' and calls > 1"


def troubles(databases: Mapping[str, Connection], book: Path) -> dict[str, int]:
    """What went wrong on the way, and made no difference in the end."""
    events: dict[str, int] = dict(databases["order"].execute(EVENTS).fetchall())
    with reading(book) as connection:
        [(asked_again,)] = connection.execute(ASKED_AGAIN).fetchall()
    tombstones = sum(number(databases[name], sql) for name, sql in TOMBSTONES.items())
    return {
        **events,
        "compensations before their action": tombstones,
        "charges that were asked for again": asked_again,
        "messages that came again": sum(number(each, REPEATED) for each in databases.values()),
    }


def delivered(ended: list[Ended]) -> list[Ended]:
    return [each for each in ended if each.status == "delivered"]


def differing(expected: Mapping[UUID, object], actual: Mapping[UUID, object]) -> int:
    """Of how many orders the two say something else."""
    return sum(expected.get(each) != actual.get(each) for each in {*expected, *actual})


def _euros(cents: Iterable[int]) -> Decimal:
    return Decimal(sum(cents)) / 100
