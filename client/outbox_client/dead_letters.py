"""Dead letters: what was given up, and why; reading it, sending it again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from outbox_client.operation import Resource, Via, listing, operation
from outbox_client.pages import Page
from outbox_client.shape import Shape, Time

State = Literal["dead", "redriven", "delivered"]


class DeadLetter(Shape, frozen=True, kw_only=True):
    """One message that one subscription gave up.

    `exhausted` is the limit that was used up, None where the message was refused for what it is.
    `detail` of what an endpoint refused is for keys that may manage.
    """

    id: str
    subscription_id: str
    message_id: str
    channel_id: str
    type: str
    group_key: str | None
    priority: int
    idempotency_key: str
    content_type: str
    created_at: datetime
    reason: str
    detail: str | None
    exhausted: str | None
    attempts: int
    died_at: datetime
    redriven_at: datetime | None
    delivered_at: datetime | None
    state: State


class WholeDeadLetter(DeadLetter, frozen=True, kw_only=True):
    """With what it carries: `payload` where that is JSON, else `payload_base64`, decoded.

    To a key without the scope payloads it is shown without that, and `withheld` says so.
    """

    headers: dict[str, str] | UnsetType | None = UNSET
    payload: Any | UnsetType = UNSET
    payload_base64: bytes | UnsetType = UNSET
    withheld: str | UnsetType = UNSET


class Redriven(Shape, frozen=True, kw_only=True):
    """How many go again; `more` fit than one request redrives."""

    redriven: int
    more: bool


class DeadLetters(Resource[Via]):
    """Reading needs the scope `read`, a redrive `manage`, or `operate` of kinds other than http."""

    @listing("/v1/dead-letters")
    def list(
        self,
        *,
        limit: int = 50,
        cursor: str | None = None,
        subscription_id: str | None = None,
        type: str | None = None,
        reason: str | None = None,
        state: State | None = None,
        from_: Time | None = None,
        to: Time | None = None,
    ) -> Page[DeadLetter]:
        """The newest first; `from_` and `to` are about when the message was given up."""

    @operation("GET", "/v1/dead-letters/{id}")
    def read(self, id: str) -> WholeDeadLetter:
        """One dead letter, with its payload and headers."""

    @operation("POST", "/v1/dead-letters/redrive", repeatable=True)
    def redrive(
        self,
        *,
        ids: Sequence[str] | UnsetType = UNSET,
        subscription_id: str | UnsetType = UNSET,
        type: str | None = None,
        reason: str | None = None,
        from_: Time | None = None,
        to: Time | None = None,
    ) -> Redriven:
        """Sends dead letters again, in order and with their idempotency keys; again adds none.

        `ids`, or those of a subscription, which the others narrow down. Where an answer was lost,
        what is counted is what the last request found.
        """
