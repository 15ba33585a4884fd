"""Messages: publishing them, finding them, and where they are."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from outbox_client.operation import Resource, Via, operation
from outbox_client.shape import Shape, Time
from outbox_client.trace import Trace


class Message(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """A message to publish. `payload` is whatever msgspec writes as JSON.

    `msgspec.Raw(b'{"id": 7}')` goes byte for byte as written. `idempotency_key` goes to every
    consumer with the message, which gets a UUID without it.
    """

    channel_id: str
    type: str
    payload: Any
    group_key: str | None = None
    priority: int = 3
    idempotency_key: str | None = None
    headers: Mapping[str, str] | None = None


class Published(Shape, frozen=True, kw_only=True):
    """What a message is known by: its id here, its idempotency key at every consumer."""

    id: str
    idempotency_key: str


class Found(Shape, frozen=True, kw_only=True):
    """The latest with an idempotency key, the newest first, ten at most.

    Those since `looked_from` were looked at, which is None where the log has none in the span;
    `more`: the span has more.
    """

    message_ids: list[str]
    looked_from: datetime | None
    more: bool


class Messages(Resource[Via]):
    """Publishing needs the scope `publish`, finding and a trace `read`."""

    @operation("POST", "/v1/messages")
    def publish(
        self,
        *,
        channel_id: str,
        type: str,
        payload: Any,
        group_key: str | None = None,
        priority: int = 3,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        request_key: str | None = None,
    ) -> Published:
        """Publishes one message, once in effect however often the request is sent.

        `payload` is whatever msgspec writes as JSON, or `msgspec.Raw` as it is. `request_key` is
        the request's Idempotency-Key, made here unless given: with one of your own you can publish
        the same again after a restart. `idempotency_key` is the message's own, for its consumers.
        """

    @operation("POST", "/v1/messages/transactional", body="messages")
    def publish_transactional(
        self, messages: Sequence[Message], *, request_key: str | None = None
    ) -> list[Published]:
        """Publishes up to 100 messages in one transaction, in their order: all of them or none."""

    @operation("GET", "/v1/messages")
    def find(
        self,
        *,
        idempotency_key: str,
        channel_id: str | None = None,
        from_: Time | None = None,
        to: Time | None = None,
    ) -> Found:
        """Finds messages by their idempotency key, of those written in a span of time.

        A key that is limited to channels names one of these.
        """

    @operation("GET", "/v1/messages/{id}/trace")
    def trace(self, id: str) -> Trace:
        """Where a message is: what became of it at each subscription, and how that is known."""
