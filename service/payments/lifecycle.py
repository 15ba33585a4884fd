"""Lifecycle events of orders, on channel orders.lifecycle, one group per order."""

from datetime import datetime
from uuid import UUID

import msgspec

from service.database.transaction import Transaction
from service.payments.money import text
from service.payments.sale import Item, Order

CHANNEL = "orders.lifecycle"


class OrderCreated(msgspec.Struct, frozen=True, rename="camel"):
    """order.created"""

    order_id: UUID
    customer_id: str | None
    items: list[Item]
    total: str
    currency: str


class OrderPaid(msgspec.Struct, frozen=True, rename="camel"):
    """order.paid"""

    order_id: UUID
    paid_at: datetime


class OrderShipped(msgspec.Struct, frozen=True, rename="camel"):
    """order.shipped"""

    order_id: UUID
    tracking_number: str


class OrderDelivered(msgspec.Struct, frozen=True, rename="camel"):
    """order.delivered"""

    order_id: UUID
    delivered_at: datetime


class OrderCancelled(msgspec.Struct, frozen=True, rename="camel"):
    """order.cancelled"""

    order_id: UUID
    cancelled_at: datetime
    reason: str


async def publish_created(transaction: Transaction, order: Order, items: list[Item]) -> None:
    """Publishes order.created."""
    value = OrderCreated(order.id, order.customer_id, items, text(order.total), order.currency)
    await transaction.publish(CHANNEL, "order.created", value, group_key=str(order.id))


async def publish_paid(transaction: Transaction, order: Order) -> None:
    """Publishes order.paid: paid in full."""
    value = OrderPaid(order.id, order.now)
    await transaction.publish(CHANNEL, "order.paid", value, group_key=str(order.id))


async def publish_shipped(transaction: Transaction, order: Order, tracking_number: str) -> None:
    """Publishes order.shipped."""
    value = OrderShipped(order.id, tracking_number)
    await transaction.publish(CHANNEL, "order.shipped", value, group_key=str(order.id))


async def publish_delivered(transaction: Transaction, order: Order) -> None:
    """Publishes order.delivered."""
    value = OrderDelivered(order.id, order.now)
    await transaction.publish(CHANNEL, "order.delivered", value, group_key=str(order.id))


async def publish_cancelled(transaction: Transaction, order: Order, reason: str) -> None:
    """Publishes order.cancelled."""
    value = OrderCancelled(order.id, order.now, reason)
    await transaction.publish(CHANNEL, "order.cancelled", value, group_key=str(order.id))
