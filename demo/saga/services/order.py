"""Order: takes orders from customers, and orchestrates what the other three do for each."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from demo.consumers.inbox import Connection, bounded_transaction
from demo.endpoint import bounded_body
from demo.saga import orchestrator
from demo.saga.messages import Reply
from demo.saga.orchestrator import Order, UnknownOrder
from demo.saga.services.life import Pool, Service, live

NAME = "order"


def take(connection: Connection, body: bytes) -> None:
    orchestrator.take_reply(connection, msgspec.json.decode(body, type=Reply))


def work(connection: Connection) -> int:
    """Looks for deadlines that have passed, from the first moment on: nothing else must happen."""
    with bounded_transaction(connection):
        return orchestrator.sweep(connection)


STATUS = "select status from shop.customer_order where id = %s"


def routes(pool: Pool) -> Sequence[Route]:
    """What customers ask: POST /orders, POST /orders/{id}/cancel, GET /orders/{id}.

    Each may be asked again where an answer was lost, and has one effect.
    """

    def begin(order: Order) -> bool:
        with pool.connection() as connection, bounded_transaction(connection):
            return orchestrator.begin(connection, order)

    def cancel(order_id: UUID) -> bool:
        with pool.connection() as connection, bounded_transaction(connection):
            return orchestrator.cancel(connection, order_id)

    def status(order_id: UUID) -> str | None:
        with pool.connection() as connection:
            row = connection.execute(STATUS, [order_id]).fetchone()
            return None if row is None else str(row[0])

    async def on_order(request: Request) -> Response:
        try:
            order = msgspec.json.decode(await bounded_body(request) or b"", type=Order)
        except msgspec.DecodeError as error:
            return PlainTextResponse(str(error), 400)
        is_new = await run_in_threadpool(begin, order)
        return Response(status_code=201 if is_new else 200)

    async def on_cancel(request: Request) -> Response:
        try:
            will_be_undone = await run_in_threadpool(cancel, request.path_params["id"])
        except UnknownOrder:
            return _unknown()
        if will_be_undone:
            return PlainTextResponse("the order is undone, or will be")
        return PlainTextResponse("too late: the parcel is on its way", 409)

    async def on_question(request: Request) -> Response:
        found = await run_in_threadpool(status, request.path_params["id"])
        return _unknown() if found is None else PlainTextResponse(found)

    return [
        Route("/orders", on_order, methods=["POST"]),
        Route("/orders/{id:uuid}", on_question, methods=["GET"]),
        Route("/orders/{id:uuid}/cancel", on_cancel, methods=["POST"]),
    ]


def _unknown() -> Response:
    return PlainTextResponse("there is no such order", 404)


def service() -> Service:
    return Service(NAME, take, work, routes)


if __name__ == "__main__":
    live(service())
