"""A new order, with its items, checks and allocations."""

from typing import Annotated, LiteralString
from uuid import UUID, uuid4

import msgspec
from msgspec import Meta, Raw

from service.database.transaction import Transaction
from service.payments import finance, lifecycle
from service.payments.money import Money
from service.payments.orders.steps import lock
from service.payments.sale import Item, Mode
from service.web.bodies.body import WITHOUT_NUL

MAX_METADATA_NAMES = 200

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=WITHOUT_NUL)]


class ItemForm(msgspec.Struct, frozen=True, rename="camel"):
    """What is sold; only PRODUCT items have stock."""

    item_type: Name
    item_id: Name
    quantity: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    mode: Mode


class CheckForm(msgspec.Struct, frozen=True):
    """One part of a split bill."""

    total: Money


class AllocationForm(msgspec.Struct, frozen=True, rename="camel"):
    """What was set aside for this order and is used up when it is paid."""

    allocation_id: Name


class OrderForm(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of POST /v1/api/sale/orders.

    Ids of things that other systems keep (merchant, customer, item, …) are taken as they are.
    """

    number: Name
    merchant_id: Name
    sale_channel_id: Name
    currency: Name
    total: Money
    created_by: Name
    items: Annotated[list[ItemForm], Meta(max_length=1000)]
    customer_id: Name | None = None
    closed_in_session_id: Name | None = None
    metadata: Annotated[dict[str, Raw], Meta(max_length=MAX_METADATA_NAMES)] | None = None
    checks: Annotated[list[CheckForm], Meta(max_length=200)] | None = None
    allocations: Annotated[list[AllocationForm], Meta(max_length=200)] | None = None


INSERT_ORDER: LiteralString = """
    insert into sale.sale_order
        (id, number, merchant_id, sale_channel_id, customer_id, closed_in_session_id, currency,
         total, metadata, created_by, modified_by)
    values
        (%(id)s, %(number)s, %(merchant_id)s, %(sale_channel_id)s, %(customer_id)s,
         %(closed_in_session_id)s, %(currency)s, %(total)s, %(metadata)s::json, %(created_by)s,
         %(created_by)s)
"""


async def create(transaction: Transaction, form: OrderForm) -> UUID:
    """Writes the order as a DRAFT, publishes order.created, and returns the order's id.

    Problem 422 where its payment could not be published.
    """
    if form.metadata and "finance" in form.metadata:
        finance.require_readable(form.metadata["finance"])
    order_id = uuid4()
    metadata = None if form.metadata is None else msgspec.json.encode(form.metadata).decode()
    await transaction.execute(
        INSERT_ORDER,
        {
            "id": order_id,
            "number": form.number,
            "merchant_id": form.merchant_id,
            "sale_channel_id": form.sale_channel_id,
            "customer_id": form.customer_id,
            "closed_in_session_id": form.closed_in_session_id,
            "currency": form.currency,
            "total": form.total,
            "metadata": metadata,
            "created_by": form.created_by,
        },
    )
    items = [
        Item(
            id=uuid4(),
            item_type=item.item_type,
            item_id=item.item_id,
            quantity=item.quantity,
            mode=item.mode,
        )
        for item in form.items
    ]
    await _insert_items(transaction, order_id, items)
    await _insert_checks(transaction, order_id, form.checks or [])
    await _insert_allocations(transaction, order_id, form.allocations or [])
    await lifecycle.publish_created(transaction, await lock(transaction, order_id), items)
    return order_id


INSERT_ITEMS: LiteralString = """
    insert into sale.order_item (id, order_id, position, item_type, item_id, quantity, mode)
    select id, %(order_id)s, position, item_type, item_id, quantity, mode
    from unnest(%(ids)s::uuid[], %(item_types)s::text[], %(item_ids)s::text[],
                %(quantities)s::integer[], %(modes)s::text[])
        with ordinality as item (id, item_type, item_id, quantity, mode, position)
"""


async def _insert_items(transaction: Transaction, order_id: UUID, items: list[Item]) -> None:
    await transaction.execute(
        INSERT_ITEMS,
        {
            "order_id": order_id,
            "ids": [item.id for item in items],
            "item_types": [item.item_type for item in items],
            "item_ids": [item.item_id for item in items],
            "quantities": [item.quantity for item in items],
            "modes": [item.mode for item in items],
        },
    )


INSERT_CHECKS: LiteralString = """
    insert into sale.sale_check (order_id, position, total)
    select %(order_id)s, position, total
    from unnest(%(totals)s::numeric[]) with ordinality as part (total, position)
"""


async def _insert_checks(transaction: Transaction, order_id: UUID, checks: list[CheckForm]) -> None:
    totals = [check.total for check in checks]
    await transaction.execute(INSERT_CHECKS, {"order_id": order_id, "totals": totals})


INSERT_ALLOCATIONS: LiteralString = """
    insert into sale.allocation_usage (order_id, position, allocation_id)
    select %(order_id)s, position, allocation_id
    from unnest(%(allocation_ids)s::text[]) with ordinality as part (allocation_id, position)
"""


async def _insert_allocations(
    transaction: Transaction, order_id: UUID, allocations: list[AllocationForm]
) -> None:
    ids = [allocation.allocation_id for allocation in allocations]
    await transaction.execute(INSERT_ALLOCATIONS, {"order_id": order_id, "allocation_ids": ids})
