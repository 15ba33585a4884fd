"""The one routine by which an order is paid, in part or in full: on both paths the same."""

from datetime import datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

import msgspec

from service.database.transaction import Transaction
from service.payments import lifecycle
from service.payments.live import updates
from service.payments.money import text
from service.payments.sale import Item, Order, OrderStatus


class Payment(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The `payment` of payment.success; amounts are strings, `paid_at` is ISO 8601."""

    total: str
    paid: str
    currency: str
    is_fully_paid: bool
    paid_at: datetime
    session_id: str | None = None
    finance: msgspec.Raw | None = None


class PaymentSuccess(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The value on topic payment.success; its key is the order's id."""

    sale_order_id: UUID
    sale_order_number: str
    sale_order_status: OrderStatus
    merchant_id: str
    sale_channel_id: str
    created_by: str
    modified_by: str
    payment: Payment
    items: list[Item]


PAY: LiteralString = """
    update sale.sale_order
    set status = %(status)s, paid = %(paid)s, modified_at = %(now)s,
        partial_at = case when %(is_fully_paid)s then partial_at else %(now)s end,
        completed_at = case when %(is_fully_paid)s then %(now)s::timestamptz end
    where id = %(order_id)s
"""


async def pay(
    transaction: Transaction, order: Order, items: list[Item], paid: Decimal, *, in_full: bool
) -> None:
    """Moves the locked order to COMPLETED or PARTIAL, with everything that goes with it.

    `paid` is what is paid by now, not what was added. The order's status has been checked.
    """
    status: OrderStatus = "COMPLETED" if in_full else "PARTIAL"
    await transaction.execute(
        PAY,
        {
            "status": status,
            "paid": paid,
            "now": order.now,
            "is_fully_paid": in_full,
            "order_id": order.id,
        },
    )
    await _publish_success(transaction, order, items, paid, status)
    await updates.publish(transaction, order, status, paid)
    if in_full:
        await _give_points(transaction, order)
        await _use_allocations(transaction, order)
        await lifecycle.publish_paid(transaction, order)


async def _publish_success(
    transaction: Transaction, order: Order, items: list[Item], paid: Decimal, status: OrderStatus
) -> None:
    value = PaymentSuccess(
        sale_order_id=order.id,
        sale_order_number=order.number,
        sale_order_status=status,
        merchant_id=order.merchant_id,
        sale_channel_id=order.sale_channel_id,
        created_by=order.created_by,
        modified_by=order.modified_by,
        payment=Payment(
            total=text(order.total),
            paid=text(paid),
            currency=order.currency,
            is_fully_paid=status == "COMPLETED",
            paid_at=order.now,
            session_id=order.closed_in_session_id,
            finance=_finance(order.metadata),
        ),
        items=items,
    )
    await transaction.publish("payment.success", "payment.success", value, group_key=str(order.id))


_METADATA = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _finance(metadata: str | None) -> msgspec.Raw | None:
    """`finance` of the order's metadata, byte for byte as the order's creator wrote it."""
    finance = _METADATA.decode(metadata).get("finance") if metadata else None
    return None if finance is None or bytes(finance) == b"null" else finance


GIVE_POINTS: LiteralString = """
    insert into sale.points_transaction (order_id, customer_id, points)
    values (%(order_id)s, %(customer_id)s, %(points)s)
    on conflict (order_id) do nothing
"""


async def _give_points(transaction: Transaction, order: Order) -> None:
    """One point per whole unit of the order's total, to the customer if there is one."""
    points = int(order.total)
    if order.customer_id is None or points == 0:
        return
    await transaction.execute(
        GIVE_POINTS,
        {"order_id": order.id, "customer_id": order.customer_id, "points": points},
    )


USE_ALLOCATIONS: LiteralString = """
    update sale.allocation_usage
    set status = 'SUCCESS'
    where order_id = %(order_id)s and usage_type = 'SALE_ORDER' and status = 'ACTIVE'
"""


async def _use_allocations(transaction: Transaction, order: Order) -> None:
    await transaction.execute(USE_ALLOCATIONS, {"order_id": order.id})
