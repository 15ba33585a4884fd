"""Lifecycle events of orders, on channel orders.lifecycle, one group per order."""

from uuid import UUID

import msgspec

from service.database.transaction import Transaction
from service.payments.money import Amount, text
from service.payments.sale import Item, Order, Time
from service.payments.sale_event import SaleEvent

CHANNEL = "orders.lifecycle"


class OrderCreated(msgspec.Struct, frozen=True, rename="camel"):
    """A new order; nothing of it is paid yet."""

    order_id: UUID
    customer_id: str | None
    items: list[Item]
    total: Amount
    currency: str


class OrderPaid(msgspec.Struct, frozen=True, rename="camel"):
    """The order is paid in full. It comes once for each order."""

    order_id: UUID
    paid_at: Time


class OrderShipped(msgspec.Struct, frozen=True, rename="camel"):
    """An order that is paid in full is on its way."""

    order_id: UUID
    tracking_number: str


class OrderDelivered(msgspec.Struct, frozen=True, rename="camel"):
    """An order that was shipped has arrived."""

    order_id: UUID
    delivered_at: Time


class OrderCancelled(msgspec.Struct, frozen=True, rename="camel"):
    """A payment failed, expired or was cancelled, and with it the order.

    What had been paid in part comes as payment.unapplied.
    """

    order_id: UUID
    cancelled_at: Time
    reason: str


CREATED = SaleEvent("order.created", CHANNEL, OrderCreated)
PAID = SaleEvent("order.paid", CHANNEL, OrderPaid)
SHIPPED = SaleEvent("order.shipped", CHANNEL, OrderShipped)
DELIVERED = SaleEvent("order.delivered", CHANNEL, OrderDelivered)
CANCELLED = SaleEvent("order.cancelled", CHANNEL, OrderCancelled)


async def publish_created(transaction: Transaction, order: Order, items: list[Item]) -> None:
    """Publishes order.created."""
    value = OrderCreated(order.id, order.customer_id, items, text(order.total), order.currency)
    await CREATED.publish(transaction, order.id, value)


async def publish_paid(transaction: Transaction, order: Order) -> None:
    """Publishes order.paid: paid in full."""
    await PAID.publish(transaction, order.id, OrderPaid(order.id, order.now))


async def publish_shipped(transaction: Transaction, order: Order, tracking_number: str) -> None:
    """Publishes order.shipped."""
    await SHIPPED.publish(transaction, order.id, OrderShipped(order.id, tracking_number))


async def publish_delivered(transaction: Transaction, order: Order) -> None:
    """Publishes order.delivered."""
    await DELIVERED.publish(transaction, order.id, OrderDelivered(order.id, order.now))


async def publish_cancelled(transaction: Transaction, order: Order, reason: str) -> None:
    """Publishes order.cancelled."""
    await CANCELLED.publish(transaction, order.id, OrderCancelled(order.id, order.now, reason))
