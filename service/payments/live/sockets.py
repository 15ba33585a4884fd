"""WebSocket /v1/api/sale/ws?orderId=…: the updates of one order's payment."""

import asyncio
from contextlib import AsyncExitStack, suppress
from uuid import UUID

import anyio
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from service.payments.live.clients import TRY_AGAIN_LATER, Client, Live
from service.problems import Problem
from service.web.operations.ids import uuid_or_none

SEND_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 2.0

log = structlog.get_logger()


async def watch_order(socket: WebSocket) -> None:
    """Sends each update as text until the client or the server goes.

    Refused with problem details before the upgrade: 422 without orderId, 404 for an order that
    does not exist, 503 while the database can't be reached.
    """
    live: Live = socket.state.live
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(live.client(_order_id(socket)))
        except Problem as problem:
            await socket.send_denial_response(problem.response())
            return
        await socket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, socket, tasks.cancel_scope)
            await send_updates(socket, client)
            tasks.cancel_scope.cancel()


def _order_id(socket: WebSocket) -> UUID:
    if not (order_id := socket.query_params.get("orderId")):
        raise Problem(422, "The query parameter orderId is required.", field="orderId")
    if (known := uuid_or_none(order_id)) is None:
        raise Problem(404, "The order does not exist.", field="orderId")
    return known


async def send_updates(socket: WebSocket, client: Client) -> None:
    """Sends until the client is dropped or can't be sent to, then closes in bounded time."""
    close_code = TRY_AGAIN_LATER
    try:
        while (update := await client.next()) is not None:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await socket.send_text(update)
        close_code = client.close_code or TRY_AGAIN_LATER
    except WebSocketDisconnect:
        return
    except TimeoutError:
        log.warning("client did not take an update", order_id=client.order_id)
    # A client that takes no update does not take a close frame either.
    with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS), suppress(WebSocketDisconnect):
        await socket.close(close_code)


async def _until_gone(socket: WebSocket, scope: anyio.CancelScope) -> None:
    """Clients have nothing to say here; see WebSocketConnection."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    scope.cancel()
