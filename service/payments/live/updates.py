"""ORDER_PAYMENT_UPDATED: how an update is written, and how updates are read.

Updates are messages on channel `outbox.live`, which stays inside the database. Each process reads
them with a snapshot as its position: what a transaction writes is seen when it has committed, and a
late commit is not passed over, whatever ids were handed out meanwhile.
"""

from decimal import Decimal
from typing import Final, Literal, LiteralString
from uuid import UUID

import msgspec

from service.database.transaction import Transaction
from service.payments.money import text
from service.payments.sale import Order, OrderStatus

EVENT: Final = "ORDER_PAYMENT_UPDATED"


class LivePayment(msgspec.Struct, frozen=True, rename="camel"):
    """The `payment` of an update; amounts are strings."""

    total: str
    paid: str
    currency: str
    is_fully_paid: bool


class OrderPaymentUpdated(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a WebSocket client receives."""

    event: Literal["ORDER_PAYMENT_UPDATED"]
    order_id: UUID
    status: OrderStatus
    payment: LivePayment
    cancellation_reason: str | None = None


# The channel is the platform's own, so that it takes a function.
PUBLISH: LiteralString = """
    select sale.publish_update(%(order_id)s, %(update)s::json, %(headers)s::json)
"""


async def publish(
    transaction: Transaction,
    order: Order,
    status: OrderStatus,
    paid: Decimal,
    cancellation_reason: str | None = None,
) -> None:
    """Tells the order's clients, in every process, once this transaction has committed."""
    payment = LivePayment(text(order.total), text(paid), order.currency, status == "COMPLETED")
    update = OrderPaymentUpdated(EVENT, order.id, status, payment, cancellation_reason)
    parameters = {
        "order_id": order.id,
        "update": msgspec.json.encode(update).decode(),
        "headers": transaction.message_headers,
    }
    await transaction.execute(PUBLISH, parameters)


class Seen(msgspec.Struct, frozen=True):
    """A row of the reader: always one at least, which carries the new position.

    `id` is NULL in a row that carries nothing else.
    """

    target: str
    history: str
    id: int | None
    group_key: str | None
    payload: bytes | None

    def update(self) -> str:
        """The update, as it is sent to clients of the order `group_key`.

        Raises ValueError where it is none, or of another order.
        """
        payload = self.payload or b""
        update = UPDATES.decode(payload)
        if str(update.order_id) != self.group_key:
            raise ValueError("the group key is not the id of the update's order")
        return payload.decode()


UPDATES = msgspec.json.Decoder(OrderPaymentUpdated)


class Start(msgspec.Struct, frozen=True):
    """A position to start from: a snapshot of a history."""

    target: str
    history: str
    order_exists: bool


START: LiteralString = """
    select pg_current_snapshot()::text as target,
           substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
               || coalesce(pg_stat_get_bgwriter_stat_reset_time()::text, '') as history,
           exists (select from sale.sale_order where id = %(order_id)s) as order_exists
"""


async def start(transaction: Transaction, order_id: UUID) -> Start:
    """A position from which on every update is seen that commits from now on."""
    found = await transaction.one(Start, START, {"order_id": order_id})
    assert found is not None, "a select without FROM has one row"
    return found


# The planner has no statistics for xid8 and would read the whole table where it may; local to the
# transaction, so that a pooler keeps nothing of it.
ON_THE_INDEX: LiteralString = """
    select set_config('enable_seqscan', 'off', true),
           set_config('enable_bitmapscan', 'off', true),
           set_config('jit', 'off', true)
"""

# `history` names the timeline, which changes with a failover, and since when the server counts: it
# begins anew after a crash (and with pg_stat_reset_shared, by which nothing is lost).
#
# What this statement sees and `seen` did not: the transactions that began after `seen` (fresh),
# and those that were running then and are over (late). The rows of one that goes on would be walked
# at every poll, so they are left out: see outbox.finished_ranges. One statement has one snapshot,
# so `target` is exactly what was read, and the next read goes on from there.
READ: LiteralString = """
    select pg_current_snapshot()::text as target,
           substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
               || coalesce(pg_stat_get_bgwriter_stat_reset_time()::text, '') as history,
           message.id, message.group_key, message.payload
    from (values (true)) as always
    left join lateral (
        select fresh.id, fresh.group_key, fresh.payload
        from outbox.finished_ranges(pg_snapshot_xmax(%(seen)s::pg_snapshot)) as finished
        cross join lateral (
            select id, group_key, payload
            from outbox.message
            where priority = 1 and channel = 'outbox.live'
              and xid >= finished.from_xid and xid < finished.before_xid
            offset 0
        ) as fresh
        union all
        select id, group_key, payload
        from outbox.message
        where priority = 1 and channel = 'outbox.live'
          and xid = any (array(
              select x from pg_snapshot_xip(%(seen)s::pg_snapshot) as x
              where pg_visible_in_snapshot(x, (select pg_current_snapshot()))))
    ) as message on true
    order by message.id
"""


async def read_since(transaction: Transaction, seen: str) -> list[Seen]:
    """What has committed since the position `seen`; at least one row, for the next position."""
    await transaction.execute(ON_THE_INDEX, {})
    return await transaction.all(Seen, READ, {"seen": seen})
