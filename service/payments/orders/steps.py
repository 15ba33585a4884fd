"""Steps that people take: start a payment, ship, deliver."""

from typing import LiteralString
from uuid import UUID

from service.database.transaction import Transaction
from service.payments import lifecycle
from service.payments.sale import Check, Order
from service.problems import Problem

LOCK: LiteralString = """
    select id, number, status, merchant_id, sale_channel_id, customer_id, closed_in_session_id,
           currency, total, paid, metadata::text as metadata, created_by, modified_by, shipped_at,
           delivered_at, clock_timestamp() as now
    from sale.sale_order
    where id = %(order_id)s
    for no key update
"""


async def lock(transaction: Transaction, order_id: UUID) -> Order:
    """The order, locked until the transaction ends; Problem 404 if there is none."""
    order = await transaction.one(Order, LOCK, {"order_id": order_id})
    if order is None:
        raise Problem(404, "The order does not exist.")
    return order


START_PAYMENT: LiteralString = """
    update sale.sale_order
    set status = 'PROCESSING', modified_at = %(now)s
    where id = %(order_id)s
"""


async def start_payment(transaction: Transaction, order_id: UUID) -> None:
    """DRAFT or PARTIAL → PROCESSING, so that the (rest of the) order can be paid."""
    order = await lock(transaction, order_id)
    state = state_of(order)
    _require(state in ("DRAFT", "PARTIAL"), "order", state, "DRAFT or PARTIAL")
    await transaction.execute(START_PAYMENT, {"order_id": order_id, "now": order.now})


READ_CHECK: LiteralString = """
    select id, status, total, paid
    from sale.sale_check
    where id = %(check_id)s and order_id = %(order_id)s
"""

START_CHECK_PAYMENT: LiteralString = """
    update sale.sale_check
    set status = 'PROCESSING', cancelled_at = null, cancellation_reason = null
    where id = %(check_id)s
"""


async def start_check_payment(transaction: Transaction, order_id: UUID, check_id: UUID) -> None:
    """PARTIAL or CANCELLED → PROCESSING, for one check."""
    await lock(transaction, order_id)
    parameters: dict[str, object] = {"order_id": order_id, "check_id": check_id}
    check = await transaction.one(Check, READ_CHECK, parameters)
    if check is None:
        raise Problem(404, "The order has no such check.")
    _require(
        check.status in ("PARTIAL", "CANCELLED"), "check", check.status, "PARTIAL or CANCELLED"
    )
    await transaction.execute(START_CHECK_PAYMENT, {"check_id": check_id})


SHIP: LiteralString = """
    update sale.sale_order
    set shipped_at = %(now)s, tracking_number = %(tracking_number)s, modified_at = %(now)s
    where id = %(order_id)s
"""


async def ship(transaction: Transaction, order_id: UUID, tracking_number: str) -> None:
    """A COMPLETED order is SHIPPED; its status, which is the payment's, stays."""
    order = await lock(transaction, order_id)
    state = state_of(order)
    _require(state == "COMPLETED", "order", state, "COMPLETED")
    await transaction.execute(
        SHIP, {"order_id": order_id, "now": order.now, "tracking_number": tracking_number}
    )
    await lifecycle.publish_shipped(transaction, order, tracking_number)


DELIVER: LiteralString = """
    update sale.sale_order
    set delivered_at = %(now)s, modified_at = %(now)s
    where id = %(order_id)s
"""


async def deliver(transaction: Transaction, order_id: UUID) -> None:
    """A SHIPPED order is DELIVERED."""
    order = await lock(transaction, order_id)
    state = state_of(order)
    _require(state == "SHIPPED", "order", state, "SHIPPED")
    await transaction.execute(DELIVER, {"order_id": order_id, "now": order.now})
    await lifecycle.publish_delivered(transaction, order)


def state_of(order: Order) -> str:
    """How far an order is: its payment status, then SHIPPED, then DELIVERED."""
    if order.delivered_at is not None:
        return "DELIVERED"
    return "SHIPPED" if order.shipped_at is not None else order.status


def _require(allowed: bool, what: str, state: str, required: str) -> None:
    if not allowed:
        detail = f"The {what} is {state}; this step needs it to be {required}."
        raise Problem(409, detail, currentState=state, requiredState=required)
