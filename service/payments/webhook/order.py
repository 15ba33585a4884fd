"""The order part: payment events that name an order."""

from typing import LiteralString

import structlog

from service.database.transaction import Transaction
from service.payments import completion, lifecycle
from service.payments.live import updates
from service.payments.webhook import unapplied
from service.payments.webhook.event import EventType, Payload
from service.payments.webhook.received import Received

log = structlog.get_logger()


async def apply(transaction: Transaction, received: Received) -> None:
    """What a new event does to its order. Only a PROCESSING order can be paid or cancelled."""
    match received.event:
        case EventType.ATTEMPT_SUCCESS:
            await _succeed(transaction, received)
        case EventType.TRANSACTION_SETTLED | EventType.TRANSACTION_CANCELLED:
            log.info("nothing to do", event_type=received.event, order_id=str(received.order.id))
        case _:
            await _cancel(transaction, received)


async def _succeed(transaction: Transaction, received: Received) -> None:
    """Pays the order, and reports what it does not take: of this attempt, and of its checks."""
    order, payload = received.order, received.payload
    if payload.transaction and payload.transaction.total != order.total:
        log.warning(
            "total differs",
            order_id=str(order.id),
            ours=str(order.total),
            theirs=str(payload.transaction.total),
        )
    if order.status != "PROCESSING":
        reason = f"The order is {order.status}, not PROCESSING."
        await unapplied.publish(transaction, received, payload.amount(), reason)
        return
    paid = payload.paid(order.paid)
    in_full = paid >= order.total
    await completion.pay(transaction, order, received.items, paid, in_full=in_full)
    if (shortfall := payload.shortfall(order.paid)) > 0:
        await unapplied.publish(transaction, received, shortfall, unapplied.NOT_IN_PAID)
    if in_full:
        reason = "The order was paid in full without this check."
        await _report_checks(transaction, received, reason)


CANCEL: LiteralString = """
    update sale.sale_order
    set status = 'CANCELLED', cancelled_at = %(now)s, modified_at = %(now)s,
        cancellation_reason = %(reason)s
    where id = %(order_id)s
"""


async def _cancel(transaction: Transaction, received: Received) -> None:
    order = received.order
    if order.status != "PROCESSING":
        log.info(
            "not cancelled",
            event_type=received.event,
            order_id=str(order.id),
            status=order.status,
        )
        return
    reason = cancellation_reason(received.event, received.payload)
    await transaction.execute(CANCEL, {"now": order.now, "reason": reason, "order_id": order.id})
    await updates.publish(transaction, order, "CANCELLED", order.paid, reason)
    await lifecycle.publish_cancelled(transaction, order, reason)
    if order.paid > 0:
        why = f"The order was cancelled after it had been paid in part: {reason}"
        await unapplied.publish(transaction, received, order.paid, why)
    why = f"The order of this check was cancelled: {reason}"
    await _report_checks(transaction, received, why)


async def _report_checks(transaction: Transaction, received: Received, reason: str) -> None:
    """Reports what the checks had taken of an order that ended without them."""
    for check in received.checks:
        # What a cancelled check had taken was said when it was cancelled.
        if check.paid > 0 and check.status != "CANCELLED":
            await unapplied.publish(transaction, received, check.paid, reason, check_id=check.id)


def cancellation_reason(event: EventType, payload: Payload) -> str:
    """Why an order or a check is cancelled by this event."""
    match event:
        case EventType.ATTEMPT_EXPIRED:
            return "Payment expired"
        case EventType.ATTEMPT_CANCELLED:
            return "Payment cancelled"
        case _:
            return (payload.attempt and payload.attempt.reason) or "Payment failed"
