"""A sale as its events tell it: one of each type, for who reads the catalogue."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from msgspec import Raw

from service.payments.completion import Payment, PaymentSuccess
from service.payments.lifecycle import (
    OrderCancelled,
    OrderCreated,
    OrderDelivered,
    OrderPaid,
    OrderShipped,
)
from service.payments.sale import Item
from service.payments.webhook.event import EventType
from service.payments.webhook.unapplied import PaymentUnapplied

ORDER: Final = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
PAID_AT: Final = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ITEMS: Final = [
    Item(
        id=UUID("01890a5d-ac96-7b7e-8e2f-3f6d5a1c9b20"),
        item_type="GOODS",
        item_id="espresso",
        quantity=2,
        mode="PRODUCT",
    )
]

CREATED: Final = OrderCreated(ORDER, "customer-7", ITEMS, "4.80", "EUR")
PAID: Final = OrderPaid(ORDER, PAID_AT)
SHIPPED: Final = OrderShipped(ORDER, "1Z999AA10123456784")
DELIVERED: Final = OrderDelivered(ORDER, datetime(2026, 3, 3, 14, 5, tzinfo=UTC))
CANCELLED: Final = OrderCancelled(ORDER, PAID_AT, "Payment expired")
SUCCESS: Final = PaymentSuccess(
    sale_order_id=ORDER,
    sale_order_number="S-1",
    sale_order_status="COMPLETED",
    merchant_id="merchant-1",
    sale_channel_id="web",
    created_by="till-3",
    modified_by="till-3",
    payment=Payment(
        total="4.80",
        paid="4.80",
        currency="EUR",
        is_fully_paid=True,
        paid_at=PAID_AT,
        session_id="session-12",
        finance=Raw(b'{"account": "4711"}'),
    ),
    items=ITEMS,
)
UNAPPLIED: Final = PaymentUnapplied(
    order_id=ORDER,
    order_number="S-1",
    amount="4.80",
    currency="EUR",
    reason="The order is COMPLETED, not PROCESSING.",
    event=EventType.ATTEMPT_SUCCESS,
    attempt_id="attempt-2",
    transaction_id="transaction-1",
)
