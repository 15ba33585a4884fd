"""The four services in one database, and the messages between them in the test's own hands."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from demo.consumers.inbox import Connection
from demo.saga import fate, orchestrator
from demo.saga.messages import ROUTES, Command
from demo.saga.orchestrator import Order
from demo.saga.services import fulfilment, inventory, order, payment
from demo.saga.services.life import Service, receive
from demo.saga.services.till import Verdict

SERVICES = {
    "order": Service("order", order.take),
    "inventory": Service("inventory", inventory.take),
    "payment": Service("payment", payment.take),
    "fulfilment": Service("fulfilment", fulfilment.take),
}
SCRIPTS = Path(order.__file__).parent
PRICE_CENTS = 795


class Message(msgspec.Struct, frozen=True):
    """One that was published. `name`: what it says and which attempt, the same in every run."""

    channel: str
    type: str
    key: str
    payload: bytes

    @property
    def name(self) -> str:
        return f"{self.type} {msgspec.json.decode(self.payload)['attempt']}"


class Provider:
    """Remembers by idempotency key what it took; says nothing where `is_silent`."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}
        self.failures: dict[str, int] = {}
        self.is_silent = False

    def ask(self, verb: str, key: str, command: Command) -> Verdict:
        if verb == "charge" and fate.is_declined(command.order_id):
            return "declined"
        if key not in self.taken and verb == "refund":
            failures = self.failures.get(key, 0)
            if failures < fate.failed_refunds(command.order_id):
                self.failures[key] = failures + 1
                return "unknown" if self.is_silent else "failed"
        self.taken[key] = command.amount_cents
        return "unknown" if self.is_silent else "taken"

    def holds(self, order_id: UUID) -> int:
        """Of one order, in cents."""
        charged = self.taken.get(f"{order_id}:charge", 0)
        return charged - self.taken.get(f"{order_id}:refund", 0)


MESSAGES = """
    select channel, type, idempotency_key, payload from outbox.message
    where group_key = %s order by id
"""
SECONDS_LEFT = """
    select extract(epoch from deadline - clock_timestamp()) from shop.saga where order_id = %s
"""
EXPIRE = """
    update shop.saga set deadline = '-infinity' where order_id = %s and deadline is not null
"""


class World:
    """Everything that the saga consists of but the wires. Each call is one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.provider = Provider()
        self.came: list[str] = []

    def begin(self, wanted: Order, *, in_stock: int = 5) -> Order:
        """Takes an order for a product that is its own unless it is there already."""
        self.connection.execute(
            "insert into inventory.stock values (%s, %s, %s) on conflict do nothing",
            [wanted.product, in_stock, in_stock],
        )
        with self.connection.transaction():
            assert orchestrator.begin(self.connection, wanted)
        return wanted

    def published(self, order_id: UUID) -> list[Message]:
        return [Message(*row) for row in self.connection.execute(MESSAGES, [str(order_id)])]

    def waiting(self, order_id: UUID) -> list[Message]:
        """What was published and has not come yet."""
        return [each for each in self.published(order_id) if each.key not in self.came]

    def deliver(self, message: Message) -> bool:
        """Whether it took effect."""
        _, receiver = ROUTES[message.channel]
        is_new = receive(
            self.connection, SERVICES[receiver], message.channel, message.key, message.payload
        )
        self.came.append(message.key)
        return is_new

    def deliver_next(self, order_id: UUID) -> str:
        """The oldest that has not come; its type."""
        message = self.waiting(order_id)[0]
        self.deliver(message)
        return message.type

    def deliver_until(self, order_id: UUID, type: str) -> Message:
        """All before the first of this type, which is returned and has not come yet."""
        while True:
            waiting = self.waiting(order_id)
            if not waiting:
                assert self.ask_provider(order_id), f"no {type} is ever sent"
            elif waiting[0].type == type:
                return waiting[0]
            else:
                self.deliver(waiting[0])

    def ask_provider(self, order_id: UUID) -> bool:
        """Whether there was something to ask."""
        match self.charge(order_id):
            case "asked":
                payment.charge_now(self.connection, self.provider.ask, order_id)
            case "returning":
                payment.refund_now(self.connection, self.provider.ask, order_id)
            case _:
                return False
        return True

    def time_out(self, order_id: UUID) -> None:
        """The deadline passes, and the sweep comes."""
        self.connection.execute(EXPIRE, [order_id])
        order.work(self.connection)

    def cancel(self, order_id: UUID) -> bool:
        with self.connection.transaction():
            return orchestrator.cancel(self.connection, order_id)

    def settle(self, order_id: UUID) -> str:
        """Until the saga has ended and nothing is on its way; how it ended."""
        for _ in range(100):
            if self.waiting(order_id):
                self.deliver_next(order_id)
            elif not self.ask_provider(order_id):
                if self.saga(order_id)[0] in ("delivered", "undone"):
                    return self.saga(order_id)[0]
                self.time_out(order_id)
        raise AssertionError(f"no end: {self.saga(order_id)}")

    def saga(self, order_id: UUID) -> tuple[str, str]:
        """State and step."""
        statement = "select state, step from shop.saga where order_id = %s"
        return self._row(statement, order_id) or ("", "")

    def seconds_left(self, order_id: UUID) -> float:
        """Until the deadline of a saga that has not ended, by the database's clock."""
        [seconds] = self._row(SECONDS_LEFT, order_id)
        return float(seconds)

    def status(self, order_id: UUID) -> str:
        return self._value("select status from shop.customer_order where id = %s", order_id)

    def history(self, order_id: UUID) -> list[str]:
        """Events, each with the command that it is about."""
        rows = self.connection.execute(
            "select event, command from shop.history where order_id = %s order by id", [order_id]
        )
        return [f"{event} {command}".strip() for event, command in rows]

    def reservation(self, order_id: UUID) -> str:
        return self._value("select state from inventory.reservation where order_id = %s", order_id)

    def charge(self, order_id: UUID) -> str:
        return self._value("select state from payment.charge where order_id = %s", order_id)

    def parcel(self, order_id: UUID) -> str:
        return self._value("select state from fulfilment.parcel where order_id = %s", order_id)

    def available(self, product: str) -> int:
        row = self.connection.execute(
            "select available from inventory.stock where product = %s", [product]
        ).fetchone()
        assert row is not None
        return int(row[0])

    def check(self, wanted: Order, in_stock: int = 5) -> None:
        """Asserts that the order is delivered or fully undone, to the unit and the cent."""
        state, status = self.saga(wanted.id)[0], self.status(wanted.id)
        left = self.available(wanted.product)
        money = self.provider.holds(wanted.id)
        places = self.reservation(wanted.id), self.charge(wanted.id), self.parcel(wanted.id)
        if state == "delivered":
            assert (status, left, money) == (
                "delivered",
                in_stock - wanted.quantity,
                wanted.amount_cents,
            )
            assert places == ("reserved", "charged", "shipped")
        else:
            assert (state, status, left, money) == ("undone", "cancelled", in_stock, 0)
            held = {"reserved", "asked", "charged", "returning", "packed", "shipped"}
            assert not held & set(places)

    def _value(self, statement: Any, order_id: UUID) -> str:
        row = self._row(statement, order_id)
        return "" if row is None else str(row[0])

    def _row(self, statement: Any, order_id: UUID) -> Any:
        return self.connection.execute(statement, [order_id]).fetchone()


FATES = Random(17)


def an_order(
    *,
    declined: bool = False,
    closed: bool = False,
    failed_releases: int = 0,
    failed_refunds: int = 0,
    loses_answer: bool | None = None,
    product: str | None = None,
    quantity: int = 1,
) -> Order:
    """One with this fate."""
    while True:
        id = UUID(int=FATES.getrandbits(128), version=4)
        if (
            fate.is_declined(id) == declined
            and fate.finds_closed(id) == closed
            and fate.failed_releases(id) == failed_releases
            and fate.failed_refunds(id) == failed_refunds
            and loses_answer in (None, fate.loses_answer(id))
        ):
            return Order(id, product or f"product of {id}", quantity, quantity * PRICE_CENTS)


TABLES = """
    truncate shop.customer_order, shop.saga, shop.history, inventory.stock, inventory.reservation,
             payment.charge, fulfilment.parcel, fulfilment.shipment, outbox.message, inbox.received,
             repeated
"""


@contextmanager
def committed(url: str, count: int) -> Iterator[Sequence[World]]:
    """So many worlds over one database, each with a connection; everything is committed."""
    connections = [psycopg.connect(url, autocommit=True) for _ in range(count)]
    try:
        yield [World(connection) for connection in connections]
    finally:
        connections[0].execute(TABLES)
        for connection in connections:
            connection.close()
