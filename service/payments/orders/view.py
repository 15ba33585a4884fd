"""An order as it stands, for GET and for the answers of every step."""

from datetime import datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Raw

from service.database import Transaction
from service.payments.money import text
from service.payments.sale import OrderStatus
from service.problems import Problem


class OrderRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The order's JSON form but for what SQL gives as text; `points` is 0 until there are any."""

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
    """The order as JSON; Problem 404 if there is none."""
    row = await (await transaction.select(OrderRow, READ, {"order_id": order_id})).fetchone()
    if row is None:
        raise Problem(404, "The order does not exist.")
    fields: dict[str, object] = msgspec.to_builtins(row, builtin_types=(UUID, datetime, Decimal))
    fields["total"], fields["paid"] = text(row.total), text(row.paid)
    for name in ("metadata", "items", "checks", "allocations"):
        if (json := fields[name]) is not None:
            fields[name] = Raw(str(json).encode())
    return msgspec.json.encode(fields)
