"""payment.success, as far as its consumers read it; what they don't know they ignore."""

from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec


class Payment(msgspec.Struct, frozen=True, rename="camel"):
    """`paid` is cumulative."""

    paid: Decimal
    currency: str
    is_fully_paid: bool


class Item(msgspec.Struct, frozen=True, rename="camel"):
    """What was sold; only a PRODUCT has stock."""

    item_id: str
    quantity: int
    mode: Literal["PRODUCT", "CUSTOM"]


class PaymentSuccess(msgspec.Struct, frozen=True, rename="camel"):
    """An order has been paid, in part or in full."""

    sale_order_id: UUID
    payment: Payment
    items: list[Item]


DECODER = msgspec.json.Decoder(PaymentSuccess)
