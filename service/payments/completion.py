"""The one routine by which an order is paid, in part or in full: on both paths the same."""

from decimal import Decimal
from typing import Annotated, Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from service.database.transaction import Transaction
from service.payments import finance, lifecycle
from service.payments.live import updates
from service.payments.money import Amount, text
from service.payments.sale import Item, Order, Time
from service.payments.sale_event import SaleEvent, given

PaidStatus = Literal["PARTIAL", "COMPLETED"]
Finance = Annotated[Raw, Meta(description="That of the order's metadata, as it was written.")]


class Payment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was paid by now, in all and not by this payment alone."""

    total: Amount
    paid: Amount
    currency: str
    is_fully_paid: bool
    paid_at: Time
    session_id: str | UnsetType = UNSET
    finance: Finance | UnsetType = UNSET


class PaymentSuccess(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order was paid, in full (COMPLETED) or in part (PARTIAL). The key is the order's id."""

    sale_order_id: UUID
    sale_order_number: str
    sale_order_status: PaidStatus
    merchant_id: str
    sale_channel_id: str
    created_by: str
    modified_by: str
    payment: Payment
    items: list[Item]


SUCCESS = SaleEvent("payment.success", "payment.success", PaymentSuccess)

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
    status: PaidStatus = "COMPLETED" if in_full else "PARTIAL"
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
    transaction: Transaction, order: Order, items: list[Item], paid: Decimal, status: PaidStatus
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
            session_id=given(order.closed_in_session_id),
            finance=given(finance.of(order.metadata)),
        ),
        items=items,
    )
    await SUCCESS.publish(transaction, order.id, value)


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
