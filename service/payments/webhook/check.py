"""The check part: payment events that name one check of an order."""

from decimal import Decimal
from typing import LiteralString
from uuid import UUID

import structlog

from service.database.transaction import Transaction
from service.payments import completion
from service.payments.sale import Check
from service.payments.webhook import unapplied
from service.payments.webhook.event import EventType
from service.payments.webhook.order import cancellation_reason
from service.payments.webhook.received import Received

log = structlog.get_logger()

# Statuses of an order that its checks can still complete.
OPEN = ("DRAFT", "PROCESSING", "PARTIAL")


async def apply(transaction: Transaction, received: Received) -> None:
    """What a new event does to its check. Only a PROCESSING check can be paid or cancelled."""
    check_id = UUID(received.target.id)
    check = next(check for check in received.checks if check.id == check_id)
    match received.event:
        case EventType.ATTEMPT_SUCCESS:
            await _succeed(transaction, received, check)
        case EventType.TRANSACTION_SETTLED | EventType.TRANSACTION_CANCELLED:
            log.info("nothing to do", event_type=received.event, check_id=str(check.id))
        case _:
            await _cancel(transaction, received, check)


PAY: LiteralString = """
    update sale.sale_check
    set status = %(status)s, paid = %(paid)s,
        partial_at = case when %(in_full)s then partial_at else %(now)s end,
        completed_at = case when %(in_full)s then %(now)s::timestamptz end
    where id = %(check_id)s
"""


async def _succeed(transaction: Transaction, received: Received, check: Check) -> None:
    order, payload = received.order, received.payload
    if payload.transaction and payload.transaction.total != check.total:
        log.warning(
            "total differs",
            check_id=str(check.id),
            ours=str(check.total),
            theirs=str(payload.transaction.total),
        )
    if check.status != "PROCESSING":
        reason = f"The check is {check.status}, not PROCESSING."
        await unapplied.publish(transaction, received, payload.amount(), reason, check_id=check.id)
        return
    paid = payload.paid(check.paid)
    in_full = paid >= check.total
    await transaction.execute(
        PAY,
        {
            "status": "COMPLETED" if in_full else "PARTIAL",
            "paid": paid,
            "in_full": in_full,
            "now": order.now,
            "check_id": check.id,
        },
    )
    if order.status not in OPEN:
        reason = f"The check was paid, but its order is {order.status} already."
        await unapplied.publish(transaction, received, payload.amount(), reason, check_id=check.id)
        return
    if (shortfall := payload.shortfall(check.paid)) > 0:
        await unapplied.publish(
            transaction, received, shortfall, unapplied.NOT_IN_PAID, check_id=check.id
        )
    if in_full:
        await _complete_order(transaction, received, check, paid)


async def _complete_order(
    transaction: Transaction, received: Received, completed: Check, paid: Decimal
) -> None:
    """Completes the order if this was the last of its checks.

    Siblings were read behind the order's lock, so of two that complete at the same moment exactly
    the second sees all of them completed. `paid` of the order becomes the sum of theirs, and never
    less than it was. What was paid on the order itself paid for the same things a second time: the
    smaller of the two is in no `paid`, and therefore reported.
    """
    siblings = [check for check in received.checks if check.id != completed.id]
    if any(sibling.status != "COMPLETED" for sibling in siblings):
        return
    order = received.order
    total_paid = sum((sibling.paid for sibling in siblings), paid)
    await completion.pay(
        transaction, order, received.items, max(order.paid, total_paid), in_full=True
    )
    if (beside := min(order.paid, total_paid)) > 0:
        reason = "Paid on the order itself, beside its checks."
        await unapplied.publish(transaction, received, beside, reason)


CANCEL: LiteralString = """
    update sale.sale_check
    set status = 'CANCELLED', cancelled_at = %(now)s, cancellation_reason = %(reason)s
    where id = %(check_id)s
"""


async def _cancel(transaction: Transaction, received: Received, check: Check) -> None:
    """Cancels the check alone: its order and its siblings stay as they are."""
    if check.status != "PROCESSING":
        log.info(
            "not cancelled",
            event_type=received.event,
            check_id=str(check.id),
            status=check.status,
        )
        return
    reason = cancellation_reason(received.event, received.payload)
    await transaction.execute(
        CANCEL, {"now": received.order.now, "reason": reason, "check_id": check.id}
    )
    if check.paid > 0:
        why = f"The check was cancelled after it had been paid in part: {reason}"
        await unapplied.publish(transaction, received, check.paid, why, check_id=check.id)
