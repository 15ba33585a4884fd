"""The reckoning: what must have happened against what did, from databases, topics and displays."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, LiteralString

import msgspec
import psycopg

from demo.places import CHANNELS, Places
from demo.plan import SUCCESS, Story
from demo.till import Till
from demo.topics import Arrival, Topics

Connection = psycopg.Connection[Any]


class Published(msgspec.Struct, frozen=True):
    """A committed message of the log."""

    id: int
    channel: str
    group_key: str | None
    idempotency_key: str


class Delivery(msgspec.Struct, frozen=True):
    """What became of one channel's messages in its topic.

    `delivered` counts keys, `repeated` what came beyond the first of each; `out_of_order` first
    arrivals that a later message of their group had overtaken; `uncommitted` what nobody committed.
    """

    channel: str
    committed: int
    delivered: int
    repeated: int
    lost: int
    out_of_order: int
    uncommitted: int

    @property
    def right(self) -> bool:
        return not (self.lost or self.out_of_order or self.uncommitted)


class Promise(msgspec.Struct, frozen=True):
    """One thing that must be so."""

    what: str
    expected: int | Decimal
    actual: int | Decimal

    @property
    def right(self) -> bool:
        return self.expected == self.actual


class Reckoning(msgspec.Struct, frozen=True):
    """The whole of it. `ignored` counts, by who ignored it, what came again."""

    deliveries: list[Delivery]
    promises: list[Promise]
    ignored: dict[str, int]
    rolled_back: int

    @property
    def right(self) -> bool:
        return all(each.right for each in self.deliveries) and all(
            each.right for each in self.promises
        )


def compare(channel: str, log: Iterable[Published], arrivals: Iterable[Arrival]) -> Delivery:
    """One channel's messages against the arrivals in its topic.

    Ids order a group's messages: each was drawn while the writer held the order's row.
    """
    published = {message.idempotency_key: message for message in log}
    seen: set[str] = set()
    furthest: defaultdict[str | None, int] = defaultdict(int)
    repeated = out_of_order = uncommitted = 0
    for arrival in arrivals:
        message = published.get(arrival.idempotency_key)
        if message is None:
            uncommitted += 1
        elif message.idempotency_key in seen:
            repeated += 1
        else:
            seen.add(message.idempotency_key)
            out_of_order += message.id < furthest[message.group_key]
            furthest[message.group_key] = max(furthest[message.group_key], message.id)
    return Delivery(
        channel=channel,
        committed=len(published),
        delivered=len(seen),
        repeated=repeated,
        lost=len(published) - len(seen),
        out_of_order=out_of_order,
        uncommitted=uncommitted,
    )


def reckon(places: Places, stories: Sequence[Story], till: Till) -> Reckoning:
    """Reads databases and topics anew. Raises psycopg.Error, KafkaException, TimeoutError."""
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
        log = [Published(*row) for row in sale.execute(LOG)]
        return Reckoning(
            deliveries=[
                compare(
                    channel,
                    [message for message in log if message.channel == channel],
                    [each for each in arrivals if each.topic == places.topic(channel)],
                )
                for channel in CHANNELS
            ],
            promises=[
                *service_promises(sale, stories),
                money_promise(sale, stories),
                *stock_promises(sale, inventory),
                *wallet_promises(sale, finance),
                Promise("displays to be told of their order", len(till.due), len(till.told)),
            ],
            ignored={
                "inventory": _number(inventory, REPEATED),
                "finance": _number(finance, REPEATED),
            },
            rolled_back=_number(sale, ROLLED_BACK),
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
DEAD_LETTERS = "select count(*) from outbox.dead_letter"


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
        Promise("messages in the dead letters", 0, _number(sale, DEAD_LETTERS)),
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


def _amount(connection: Connection, statement: LiteralString) -> Decimal:
    row = connection.execute(statement).fetchone()
    assert row is not None, "an aggregate always has one row"
    return Decimal(row[0])


def _number(connection: Connection, statement: LiteralString) -> int:
    row = connection.execute(statement).fetchone()
    assert row is not None, "an aggregate always has one row"
    return int(row[0])
