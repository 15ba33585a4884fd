"""The requests of the orders API: create, read, and the steps of an order's life."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec

from service.database.transaction import Transaction
from service.payments.orders import creation, steps, view
from service.payments.orders.creation import Name, OrderForm
from service.web.operations.operation import Call, Reply

Step = Callable[[Transaction, UUID], Awaitable[None]]


class Shipment(msgspec.Struct, frozen=True, rename="camel"):
    """The body of POST …/ship."""

    tracking_number: Name


async def create_order(call: Call[OrderForm, None]) -> Reply:
    """Creates an order, a DRAFT."""

    async def work(transaction: Transaction) -> tuple[UUID, bytes]:
        order_id = await creation.create(transaction, call.body)
        return order_id, await view.read(transaction, order_id)

    order_id, order = await call.database.run(work, traceparent=call.traceparent)
    return Reply(order, {"Location": f"/v1/api/sale/orders/{order_id}"})


async def read_order(call: Call[None, None]) -> bytes:
    """The order as it stands."""
    order_id = call.uuid("id")
    return await call.database.run(lambda transaction: view.read(transaction, order_id))


async def start_payment(call: Call[None, None]) -> bytes:
    """Starts the payment of the order, or of what is left of it."""
    return await _take_step(call, steps.start_payment)


async def start_check_payment(call: Call[None, None]) -> bytes:
    """Starts the payment of one of the order's checks."""
    check_id = call.uuid("checkId")

    async def step(transaction: Transaction, order_id: UUID) -> None:
        await steps.start_check_payment(transaction, order_id, check_id)

    return await _take_step(call, step)


async def ship_order(call: Call[Shipment, None]) -> bytes:
    """Marks an order that is paid in full as shipped."""

    async def step(transaction: Transaction, order_id: UUID) -> None:
        await steps.ship(transaction, order_id, call.body.tracking_number)

    return await _take_step(call, step)


async def deliver_order(call: Call[None, None]) -> bytes:
    """Marks an order that was shipped as delivered."""
    return await _take_step(call, steps.deliver)


async def _take_step(call: Call[Any, None], step: Step) -> bytes:
    """The order after the step; Problem 404 or 409 if it can't be taken."""
    order_id = call.uuid("id")

    async def work(transaction: Transaction) -> bytes:
        await step(transaction, order_id)
        return await view.read(transaction, order_id)

    return await call.database.run(work, traceparent=call.traceparent)
