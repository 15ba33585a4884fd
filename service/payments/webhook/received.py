"""The beginning of every webhook's transaction: lock, remember, read."""

from typing import LiteralString

import msgspec

from service.database.transaction import Transaction
from service.payments.sale import Check, Item, Order
from service.payments.webhook.event import CANCELLING, EventType, Payload
from service.payments.webhook.router import Target
from service.web.operations.ids import uuid_or_none


class Remembered(msgspec.Struct, frozen=True):
    """Whether this webhook came for the first time."""

    is_new: bool


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook whose order is locked: nothing about it can change until this transaction ends.

    `checks` are read for every event that can change something, `items` for ATTEMPT_SUCCESS.
    """

    event: EventType
    payload: Payload
    target: Target
    order: Order
    checks: list[Check]
    items: list[Item]
    is_new: bool


# The order's row comes first, for checks as well, and everything else is locked behind it: with one
# first lock there is no circle to wait in.
LOCK: LiteralString = """
    with locked as materialized (
        select id, number, status, merchant_id, sale_channel_id, customer_id,
               closed_in_session_id, currency, total, paid, metadata::text as metadata,
               created_by, modified_by, shipped_at, delivered_at
        from sale.sale_order
        where id = coalesce(
            (select order_id from sale.sale_check where id = %(check_id)s), %(order_id)s)
        for no key update
    )
    select locked.*, clock_timestamp() as now from locked
"""

# From here on each is a statement of its own, after the lock is held: its snapshot sees what the
# last holder committed. The repeat key names the order or check, so a transaction that records the
# same key has held this lock before: a key that is not found now, in any partition, is recorded by
# no other transaction until this one ends. Where there is no order, no key is recorded: the order
# may be created later, and the webhook sent again.
REMEMBER: LiteralString = """
    with received as (
        insert into sale.received_webhook (key, order_id, event_type)
        select %(key)s, id, %(event)s
        from sale.sale_order
        where id = coalesce(
                (select order_id from sale.sale_check where id = %(check_id)s), %(order_id)s)
          and not exists (select from sale.received_webhook where key = %(key)s)
        returning key
    )
    select exists (select from received) as is_new
"""

CHECKS: LiteralString = """
    select id, status, total, paid
    from sale.sale_check
    where order_id = coalesce(
        (select order_id from sale.sale_check where id = %(check_id)s), %(order_id)s)
    order by position
"""

ITEMS: LiteralString = """
    select id, item_type, item_id, quantity, mode
    from sale.order_item
    where order_id = coalesce(
        (select order_id from sale.sale_check where id = %(check_id)s), %(order_id)s)
    order by position
"""


async def record(
    transaction: Transaction, event: EventType, target: Target, payload: Payload
) -> Received | None:
    """Locks what the event is about and records it under its repeat key.

    None, and nothing recorded, where the order or check does not exist.
    """
    if (target_id := uuid_or_none(target.id)) is None:
        return None
    names_check = target.kind == "SaleCheck"
    parameters: dict[str, object] = {
        "check_id": target_id if names_check else None,
        "order_id": None if names_check else target_id,
        "key": f"{target.kind} {target_id} {event} {payload.occasion()}",
        "event": event,
    }
    # One round trip for all of them, and each only where its rows can matter.
    locked = await transaction.select(Order, LOCK, parameters)
    remembered = await transaction.select(Remembered, REMEMBER, parameters)
    succeeds = event is EventType.ATTEMPT_SUCCESS
    needs_checks = names_check or succeeds or event in CANCELLING
    checks = await transaction.select(Check, CHECKS, parameters) if needs_checks else None
    items = await transaction.select(Item, ITEMS, parameters) if succeeds else None
    order = await locked.fetchone()
    if order is None:
        return None
    first = await remembered.fetchone()
    assert first is not None
    return Received(
        event=event,
        payload=payload,
        target=target,
        order=order,
        checks=await checks.fetchall() if checks else [],
        items=await items.fetchall() if items else [],
        is_new=first.is_new,
    )
