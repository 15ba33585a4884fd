"""Money that no order or check took: published on channel payment.unapplied."""

from decimal import Decimal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from service.database.transaction import Transaction
from service.payments.money import Amount, text
from service.payments.sale_event import SaleEvent, given
from service.payments.webhook.event import EventType
from service.payments.webhook.received import Received

NOT_IN_PAID = "The transaction's paid did not grow by this attempt."


class PaymentUnapplied(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Money that no order and no check took. The key is the order's id.

    `event` is what brought it up: a payment that came (ATTEMPT_SUCCESS), or a cancellation of what
    had been paid for in part. `amount` is what the merchant has to look after; without an attempt
    it is the cumulative `paid` of the transaction.

    One amount may be reported by more than one event: a payment when it came and its order had
    ended, and once more when its check is cancelled. Amounts are therefore not to be added up. A
    consumer keeps one case per order, check and attempt (`orderId`, `checkId`, `attemptId`, or
    `transactionId` without an attempt), and looks at the order and its check before it pays
    anything back.
    """

    order_id: UUID
    order_number: str
    check_id: UUID | UnsetType = UNSET
    amount: Amount
    currency: str
    reason: str
    event: EventType
    attempt_id: str | UnsetType = UNSET
    transaction_id: str | UnsetType = UNSET


UNAPPLIED = SaleEvent("payment.unapplied", "payment.unapplied", PaymentUnapplied)


async def publish(
    transaction: Transaction,
    received: Received,
    amount: Decimal,
    reason: str,
    *,
    check_id: UUID | None = None,
) -> None:
    """Publishes payment.unapplied ahead of everything else: priority 1."""
    order, payload = received.order, received.payload
    value = PaymentUnapplied(
        order_id=order.id,
        order_number=order.number,
        check_id=given(check_id),
        amount=text(amount),
        currency=order.currency,
        reason=reason,
        event=received.event,
        attempt_id=payload.attempt.id if payload.attempt else UNSET,
        transaction_id=payload.transaction.id if payload.transaction else UNSET,
    )
    await UNAPPLIED.publish(transaction, order.id, value, priority=1)
