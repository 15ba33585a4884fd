"""An order as it stands, for GET and for the answers of every step."""

from datetime import datetime
from decimal import Decimal
from typing import Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Raw

from service.database.transaction import Transaction
from service.payments.money import text
from service.payments.sale import CheckStatus, Item, OrderStatus
from service.problems import Problem


class OrderFields(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is of the order alone; `points` is 0 until there are any."""

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
    points: int
    cancellation_reason: str | None
    tracking_number: str | None
    created_by: str
    modified_by: str
    created_at: datetime
    modified_at: datetime
    partial_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None


class Check(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One of the checks that the order is split into."""

    id: UUID
    status: CheckStatus
    total: Decimal
    paid: Decimal
    cancellation_reason: str | None
    partial_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None


class Allocation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was set aside for the order; SUCCESS once the order is paid."""

    id: UUID
    allocation_id: str
    usage_type: str
    status: Literal["ACTIVE", "SUCCESS", "CANCELLED"]


class Order(OrderFields, frozen=True, kw_only=True, rename="camel"):
    """The JSON form of an order; amounts are strings."""

    metadata: dict[str, Raw] | None
    items: list[Item]
    checks: list[Check]
    allocations: list[Allocation]


class Row(OrderFields, frozen=True, kw_only=True, rename="camel"):
    """The same from SQL, which makes the JSON of what belongs to the order."""

    metadata: str | None
    items: str
    checks: str
    allocations: str


# One statement, so one snapshot: never an order of one moment with the checks of another.
READ: LiteralString = """
    select id, number, status, merchant_id, sale_channel_id, customer_id, closed_in_session_id,
           currency, total, paid, cancellation_reason, tracking_number, created_by, modified_by,
           created_at, modified_at, partial_at, completed_at, cancelled_at, shipped_at,
           delivered_at, metadata::text as metadata,
           coalesce((select points from sale.points_transaction where order_id = o.id), 0)
               as points,
           (select coalesce(json_agg(json_build_object(
                'id', id, 'itemType', item_type, 'itemId', item_id, 'quantity', quantity,
                'mode', mode) order by position), '[]')::text
            from sale.order_item where order_id = o.id) as items,
           (select coalesce(json_agg(json_build_object(
                'id', id, 'status', status, 'total', total::text, 'paid', paid::text,
                'cancellationReason', cancellation_reason, 'partialAt', partial_at,
                'completedAt', completed_at, 'cancelledAt', cancelled_at) order by position),
                '[]')::text
            from sale.sale_check where order_id = o.id) as checks,
           (select coalesce(json_agg(json_build_object(
                'id', id, 'allocationId', allocation_id, 'usageType', usage_type,
                'status', status) order by position), '[]')::text
            from sale.allocation_usage where order_id = o.id) as allocations
    from sale.sale_order as o
    where id = %(order_id)s
"""


async def read(transaction: Transaction, order_id: UUID) -> bytes:
    """An Order as JSON; Problem 404 if there is none."""
    row = await transaction.one(Row, READ, {"order_id": order_id})
    if row is None:
        raise Problem(404, "The order does not exist.")
    fields: dict[str, object] = msgspec.to_builtins(row, builtin_types=(UUID, datetime, Decimal))
    fields["total"], fields["paid"] = text(row.total), text(row.paid)
    for name in ("metadata", "items", "checks", "allocations"):
        if (json := fields[name]) is not None:
            fields[name] = Raw(str(json).encode())
    return msgspec.json.encode(fields)
