"""The orders API: create, read, and the steps of an order's life."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from service.database import Database, Transaction
from service.payments.money import decoder
from service.payments.orders import creation, steps, view
from service.payments.orders.creation import Name, OrderForm
from service.payments.webhook.event import uuid_or_none
from service.problems import Problem
from service.settings import Settings
from service.web import body
from service.web.tracing import traceparent

T = TypeVar("T")
Step = Callable[[Transaction, UUID], Awaitable[None]]


class Shipment(msgspec.Struct, frozen=True, rename="camel"):
    """The body of POST …/ship."""

    tracking_number: Name


ORDER = decoder(OrderForm)
SHIPMENT = decoder(Shipment)


async def create_order(request: Request) -> Response:
    """POST /v1/api/sale/orders: 201 with the new order, a DRAFT."""
    form = await _form(request, ORDER)

    async def work(transaction: Transaction) -> tuple[UUID, bytes]:
        order_id = await creation.create(transaction, form)
        return order_id, await view.read(transaction, order_id)

    order_id, order = await _database(request).run(work, traceparent=_trace(request))
    location = f"/v1/api/sale/orders/{order_id}"
    return _json(order, status_code=201, headers={"Location": location})


async def read_order(request: Request) -> Response:
    """GET /v1/api/sale/orders/{id}: the order as it stands."""
    order_id = _path_id(request, "id")
    order = await _database(request).run(lambda transaction: view.read(transaction, order_id))
    return _json(order)


async def start_payment(request: Request) -> Response:
    """POST …/{id}/payments: the order as it is when its payment has been started."""
    return await _take_step(request, steps.start_payment)


async def start_check_payment(request: Request) -> Response:
    """POST …/{id}/checks/{checkId}/payments: likewise for one check."""
    check_id = _path_id(request, "checkId")

    async def step(transaction: Transaction, order_id: UUID) -> None:
        await steps.start_check_payment(transaction, order_id, check_id)

    return await _take_step(request, step)


async def ship_order(request: Request) -> Response:
    """POST …/{id}/ship {trackingNumber}"""
    shipment = await _form(request, SHIPMENT)

    async def step(transaction: Transaction, order_id: UUID) -> None:
        await steps.ship(transaction, order_id, shipment.tracking_number)

    return await _take_step(request, step)


async def deliver_order(request: Request) -> Response:
    """POST …/{id}/deliver"""
    return await _take_step(request, steps.deliver)


async def _take_step(request: Request, step: Step) -> Response:
    """200 with the order after the step; Problem 404 or 409 if it can't be taken."""
    order_id = _path_id(request, "id")

    async def work(transaction: Transaction) -> bytes:
        await step(transaction, order_id)
        return await view.read(transaction, order_id)

    return _json(await _database(request).run(work, traceparent=_trace(request)))


def _path_id(request: Request, name: str) -> UUID:
    if (known := uuid_or_none(request.path_params[name])) is None:
        raise Problem(404, "No such id; ids are UUIDs.")
    return known


async def _form(request: Request, shape: "msgspec.json.Decoder[T]") -> T:
    settings: Settings = request.state.settings
    return body.decode(shape, await body.read(request, settings.max_body_bytes))


def _database(request: Request) -> Database:
    database: Database = request.state.database
    return database


def _trace(request: Request) -> str | None:
    return traceparent(request.headers.get("traceparent"))


def _json(
    content: bytes, status_code: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(content, status_code, headers, media_type="application/json")
