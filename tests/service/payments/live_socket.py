"""Updates as they are written beside the service, and as WebSocket clients get them."""

import json
from typing import Any

import psycopg
from starlette.testclient import WebSocketTestSession

from tests.service.shop import Json

WS = "/v1/api/sale/ws"


PUBLISH = "select sale.publish_update(%(order_id)s, %(update)s::json)"


def update(order_id: str, reason: str) -> Json:
    """An update that is told from others by its reason."""
    payment = {"total": "10", "paid": "0", "currency": "EUR", "isFullyPaid": False}
    return {
        "event": "ORDER_PAYMENT_UPDATED",
        "orderId": order_id,
        "status": "CANCELLED",
        "payment": payment,
        "cancellationReason": reason,
    }


def publish(connection: psycopg.Connection[Any], order_id: str, reason: str) -> None:
    parameters = {"order_id": order_id, "update": json.dumps(update(order_id, reason))}
    connection.execute(PUBLISH, parameters)


def reason(socket: WebSocketTestSession) -> str:
    """The reason of the next update."""
    told: str = socket.receive_json()["cancellationReason"]
    return told
