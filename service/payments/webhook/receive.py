"""POST /v1/api/sale/webhooks/payment: one event, one transaction, one answer."""

import time
from functools import partial

import msgspec
import structlog

from service.database.transaction import Transaction
from service.fair_turns import asks_for
from service.payments.money import decoder, text
from service.payments.webhook import check, order, signature
from service.payments.webhook.event import Envelope, EventType, Payload, WebhookBody
from service.payments.webhook.received import record
from service.payments.webhook.router import Target, route
from service.problems import Problem
from service.web.bodies import body, lone_surrogates
from service.web.operations.operation import Call, RequestHeader

log = structlog.get_logger()

ENVELOPE = decoder(Envelope)
DECODER = decoder(WebhookBody)


EVENT_TYPE = RequestHeader(
    "X-Webhook-Event-Type",
    "Wins over eventType in the body; must equal it where webhooks are signed. Known: "
    + ", ".join(EventType),
    {"type": "string"},
)


class Acknowledgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer; `reason` says why an event was not acknowledged."""

    acknowledged: bool
    reason: str | None = None


async def receive_payment(call: Call[None, None]) -> Acknowledgement:
    """Reads, verifies, routes and applies one event.

    An event that comes twice is acknowledged twice and applied once. Raises Problem: 401 signature,
    422 a body that does not fit its event, 503 the database.
    """
    raw, secret = call.raw_body, call.settings.webhook_secret
    if secret is not None:
        signature.verify(secret, call.headers, raw, time.time())
        asks_for.set("the payment provider")
    header = call.headers.get(EVENT_TYPE.name)
    decode = partial(_event, header, is_signed=secret is not None)
    async with call.decoding.begin(raw, decode) as (name, payload):
        event = EventType.known(name)
        answer, outcome = await _answer(call, event, payload)
        if not answer.acknowledged:
            _log_refusal(name, payload, answer)
    call.metrics.webhooks.labels(event or "unknown", outcome).inc()
    return answer


def _event(header: str | None, raw: bytes, *, is_signed: bool) -> tuple[str, Payload | None]:
    """Its type and payload; the payload may be None where the type is unknown."""
    written = body.decode(ENVELOPE, lone_surrogates.replaced(raw)).event_type
    name = _event_name(header, written, is_signed=is_signed)
    known = EventType.known(name) is not None
    return name, body.decode(DECODER, raw).payload if known else _payload(raw)


def _event_name(header: str | None, body: str | None, *, is_signed: bool) -> str:
    """The event's type. A signature covers the body alone, so there the body has to say it."""
    if is_signed and header and body and header != body:
        detail = "eventType differs from the header X-Webhook-Event-Type, which is not signed."
        raise Problem(422, detail, field="eventType")
    if is_signed and not body:
        raise Problem(422, "eventType is required in the body, which is signed.", field="eventType")
    if not (name := header or body):
        raise Problem(
            422,
            "eventType is required, here or in the header X-Webhook-Event-Type.",
            field="eventType",
        )
    return name


def _payload(raw: bytes) -> Payload | None:
    """What an event that is unknown tells, for the log; None where it has a form of its own.

    A provider adds events, and disables endpoints that answer with 4xx.
    """
    try:
        return body.decode(DECODER, raw).payload
    except Problem:
        return None


async def _answer(
    call: Call[None, None], event: EventType | None, payload: Payload | None
) -> tuple[Acknowledgement, str]:
    """The answer, and its outcome in one word for the metrics."""
    if event is None or payload is None:
        return Acknowledgement(False, "The event type is unknown."), "refused"
    if (target := route(payload)) is None:
        reason = "The event names neither an order nor a check."
        return Acknowledgement(False, reason), "refused"

    async def work(transaction: Transaction) -> str:
        return await apply(transaction, event, target, payload)

    outcome = await call.database.run(work, traceparent=call.traceparent)
    if outcome == "not_found":
        kind = "check" if target.kind == "SaleCheck" else "order"
        return Acknowledgement(False, f"The {kind} does not exist."), outcome
    return Acknowledgement(True), outcome


async def apply(
    transaction: Transaction, event: EventType, target: Target, payload: Payload
) -> str:
    """Applies a new event to its order or check: `applied`, `repeated` or `not_found`."""
    received = await record(transaction, event, target, payload)
    if received is None:
        return "not_found"
    if not received.is_new:
        return "repeated"
    part = check if target.kind == "SaleCheck" else order
    await part.apply(transaction, received)
    return "applied"


# What the log repeats of an event is this long. Where webhooks are not signed, any client that
# reaches the service may have written it.
MAX_WORD_LENGTH = 64


def _log_refusal(name: str, payload: Payload | None, answer: Acknowledgement) -> None:
    """Logs what it takes to find the event at the provider: money may depend on it."""
    told: dict[str, str | None] = {"event_type": name}
    if payload is not None:
        target = route(payload)
        told |= {
            "target_kind": target.kind if target else None,
            "target_id": target.id if target else None,
            "attempt_id": payload.attempt.id if payload.attempt else None,
            "transaction_id": payload.transaction.id if payload.transaction else None,
            "amount": text(payload.amount()),
        }
    cut = {field: word and word[:MAX_WORD_LENGTH] for field, word in told.items()}
    log.warning("not acknowledged", reason=answer.reason, **cut)
