"""Rows of the schema `sale`, as they are read for a decision."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

OrderStatus = Literal["DRAFT", "PROCESSING", "PARTIAL", "COMPLETED", "CANCELLED"]
CheckStatus = Literal["PROCESSING", "PARTIAL", "COMPLETED", "CANCELLED"]
Mode = Literal["PRODUCT", "CUSTOM"]

# As it goes out.
Time = Annotated[datetime, Meta(tz=True)]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order whose row is locked; `now` is the database's clock at that moment."""

    id: UUID
    number: str
    status: OrderStatus
    merchant_id: str
    sale_channel_id: str
    customer_id: str | None
    closed_in_session_id: str | None
    currency: str
    total: Decimal
    paid: Decimal
    metadata: str | None
    created_by: str
    modified_by: str
    shipped_at: datetime | None
    delivered_at: datetime | None
    now: datetime


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One of the checks that an order is split into."""

    id: UUID
    status: CheckStatus
    total: Decimal
    paid: Decimal


# Also its own JSON form.
class Item(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is sold; only a PRODUCT has stock."""

    id: UUID
    item_type: str
    item_id: str
    quantity: Annotated[int, Meta(ge=1)]
    mode: Mode
