"""/openapi.json: OpenAPI 3.1, its schemas taken from the types that decode the requests."""

import functools
import hashlib
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from service.payments.money import MAX_DECIMALS, MAX_DIGITS, Money
from service.payments.orders.api import Shipment
from service.payments.orders.creation import OrderForm
from service.payments.switch import Payments
from service.payments.webhook.event import Envelope, EventType, WebhookBody
from service.payments.webhook.receive import Acknowledgement
from service.platform import document as events
from service.platform.api import OPERATIONS
from service.problems import Problem

AMOUNT = f"[0-9]{{1,{MAX_DIGITS}}}(\\.[0-9]{{1,{MAX_DECIMALS}}})?"


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457; `field` is the path that is to blame."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


PAYMENTS = (WebhookBody, Envelope, OrderForm, Shipment, Acknowledgement)


def document(*, payments: bool) -> dict[str, Any]:
    """The whole description, ready to be encoded; with the paths of payments or without."""
    types = (ProblemDetails, *(PAYMENTS if payments else ()))
    _, schemas = msgspec.json.schema_components(
        types, schema_hook=_amount_schema, ref_template="#/components/schemas/{name}"
    )
    platform, platform_schemas = events.paths(OPERATIONS)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Event platform{' and payment webhooks' if payments else ''}",
            "version": "1",
        },
        "paths": {**(_paths() if payments else {}), **platform},
        "components": {
            "schemas": {**schemas, **platform_schemas},
            "securitySchemes": events.SECURITY_SCHEMES,
        },
    }


@functools.cache
def encoded(*, payments: bool) -> tuple[bytes, str]:
    """The document as it is sent, and its ETag; made once, since anybody may ask for it."""
    # Python's end of a text; in ECMAScript, which JSON Schema's patterns are, `$` is just that.
    content = msgspec.json.encode(document(payments=payments)).replace(rb"\\Z", b"$")
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


async def show_document(request: Request) -> Response:
    """GET /openapi.json; 304 to who has it already (If-None-Match)."""
    payments: Payments = request.state.payments
    try:
        served = await payments.are_served()
    except Problem:
        # Until the database can say that there are none.
        served = True
    content, etag = encoded(payments=served)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or f"W/{etag}" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")


def _amount_schema(kind: type) -> dict[str, Any]:
    if kind is not Money:
        raise NotImplementedError(f"no schema for {kind}")
    return {
        "description": "A decimal amount; a string keeps every digit.",
        "anyOf": [
            {"type": "number", "minimum": 0, "exclusiveMaximum": 10**MAX_DIGITS},
            {"type": "string", "pattern": f"^{AMOUNT}$"},
        ],
    }


def _paths() -> dict[str, Any]:
    orders = "/v1/api/sale/orders"
    event_type = {
        "name": "X-Webhook-Event-Type",
        "in": "header",
        "description": "Wins over eventType in the body; must equal it where webhooks are signed. "
        "Known: " + ", ".join(EventType),
        "schema": {"type": "string"},
    }
    webhook = _operation("receivePayment", 200, "Acknowledgement", "WebhookBody", 401)
    webhook["parameters"] = [event_type]
    # An event of a type that is not known may bring whatever it likes.
    webhook["requestBody"]["content"]["application/json"]["schema"] = {
        "anyOf": [_schema("WebhookBody"), _schema("Envelope")]
    }
    return {
        "/v1/api/sale/webhooks/payment": {"post": webhook},
        orders: {"post": _operation("createOrder", 201, None, "OrderForm")},
        f"{orders}/{{id}}": {"get": _operation("readOrder", 200, None, None, 404), **_ids("id")},
        f"{orders}/{{id}}/payments": _step("startPayment", None, "id"),
        f"{orders}/{{id}}/checks/{{checkId}}/payments": _step(
            "startCheckPayment", None, "id", "checkId"
        ),
        f"{orders}/{{id}}/ship": _step("shipOrder", "Shipment", "id"),
        f"{orders}/{{id}}/deliver": _step("deliverOrder", None, "id"),
    }


def _step(name: str, body: str | None, *ids: str) -> dict[str, Any]:
    return {"post": _operation(name, 200, None, body, 404, 409), **_ids(*ids)}


def _ids(*names: str) -> dict[str, Any]:
    return {
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "format": "uuid"},
            }
            for name in names
        ]
    }


def _operation(
    name: str, status: int, answer: str | None, body: str | None, *problems: int
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "responses": {
            str(status): {
                "description": "Done.",
                "content": {"application/json": {"schema": _schema(answer)}},
            }
        },
    }
    if body is not None:
        problems += (408, 413, 415, 422)
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(body)}},
        }
    for problem in sorted((*problems, 503)):
        operation["responses"][str(problem)] = {
            "description": "Problem details (RFC 9457).",
            "content": {"application/problem+json": {"schema": _schema("ProblemDetails")}},
        }
    return operation


def _schema(name: str | None) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"} if name else {"type": "object"}
