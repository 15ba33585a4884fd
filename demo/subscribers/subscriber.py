"""The life of a subscriber: signed webhooks in, each message taken once."""

import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from demo.endpoint import bounded_body
from demo.subscribers.records import Record
from demo.subscribers.signature import is_signed


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """A message of orders.lifecycle, as far as its subscribers read it."""

    order_id: str
    customer_id: str | None = None


class Refusal(Exception):
    """This message can't be taken now; carries the status of the answer and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


# What a subscriber does with an event; `faulty`: what is wrong with it is not repaired. May raise
# Refusal.
Effect = Callable[[Event, bool], Awaitable[None]]


class Subscriber:
    """One endpoint: 204 for what is taken or was taken before, 401 for what is not signed."""

    def __init__(self, key: bytes, record: Record, effect: Effect, *, faulty: bool) -> None:
        self._key = key
        self._record = record
        self._effect = effect
        self._faulty = faulty

    def app(self) -> Starlette:
        """Webhooks at /webhooks; PUT /fault with true or false, which no real subscriber has."""
        return Starlette(
            routes=[
                Route("/webhooks", self._on_webhook, methods=["POST"]),
                Route("/fault", self._on_fault, methods=["PUT"]),
                Route("/healthz", self._on_health, methods=["GET"]),
            ]
        )

    async def receive(self, headers: Mapping[str, str], body: bytes) -> Response:
        """One webhook; `headers` by lower-case names."""
        # The id is signed; the header idempotency-key says the same and is not.
        key, type = headers.get("webhook-id", ""), headers.get("ce-type", "")
        if not is_signed(self._key, headers, body, time.time()):
            self._record.write(key, "", type, "forged")
            return PlainTextResponse("this signature is not yours", 401)
        event = msgspec.json.decode(body, type=Event)
        if self._record.knows(key):
            self._record.write(key, event.order_id, type, "repeated")
            return Response(status_code=204)
        try:
            await self._effect(event, self._faulty)
        except Refusal as refusal:
            self._record.write(key, event.order_id, type, "refused")
            return PlainTextResponse(str(refusal), refusal.status)
        # It may have come a second time while the first was at work.
        if not self._record.write(key, event.order_id, type, "accepted"):
            self._record.write(key, event.order_id, type, "repeated")
        return Response(status_code=204)

    async def _on_webhook(self, request: Request) -> Response:
        body = await bounded_body(request)
        if body is None:
            return PlainTextResponse("too large", 413)
        return await self.receive(request.headers, body)

    async def _on_fault(self, request: Request) -> Response:
        self._faulty = msgspec.json.decode(await request.body(), type=bool)
        return Response(status_code=204)

    async def _on_health(self, _: Request) -> Response:
        return PlainTextResponse("ok")
