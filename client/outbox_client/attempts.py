"""Attempts: the requests that were logged, and what came of each."""

from datetime import datetime

from msgspec import UNSET, UnsetType

from outbox_client.operation import Resource, Via, listing
from outbox_client.pages import Page
from outbox_client.shape import Shape


class Attempt(Shape, frozen=True, kw_only=True):
    """One request; `answer` is the beginning of what a failed one was answered, as text.

    `answer` is for keys with the scope payloads: without it `withheld` says so where there is one.
    `detail` is for keys that may manage.
    """

    id: str
    subscription_id: str
    message_id: str
    idempotency_key: str
    number: int
    at: datetime
    duration_seconds: float
    status: int | None
    error: str | None
    detail: str | None
    next_at: datetime | None
    answer: str | None
    relay: str
    withheld: str | UnsetType = UNSET


class Attempts(Resource[Via]):
    """It needs the scope `read`."""

    @listing("/v1/attempts")
    def list(
        self,
        *,
        limit: int = 50,
        cursor: str | None = None,
        subscription_id: str | None = None,
        message_id: str | None = None,
    ) -> Page[Attempt]:
        """Attempts, the newest first."""
