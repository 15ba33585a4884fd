"""Subscriptions: endpoints that get what is published to a channel."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import UNSET, UnsetType

from outbox_client.operation import Resource, Via, listing, operation
from outbox_client.pages import Page
from outbox_client.push_settings import Breaker, BreakerState, Counts, Retry
from outbox_client.shape import Setting, Shape, Time

# The service waits for runs, for up to 60 s.
SLOW_SECONDS = 75.0


class Subscription(Shape, frozen=True, kw_only=True):
    """A subscription with all settings that apply; those of an endpoint are of kind http alone.

    `channel_id` is there where it reads one channel, `channels` is None where it reads all.
    """

    id: str
    name: str
    kind: Literal["http", "kafka", "sqs", "pubsub"]
    channel_id: str | UnsetType = UNSET
    channels: list[str] | None
    types: list[str] | None
    delivery: Literal["at_least_once", "exactly_once"]
    shards: int
    paused: bool
    paused_reason: str | None
    created_at: datetime
    counts: Counts
    topic_prefix: str | UnsetType = UNSET
    breaker_state: BreakerState | UnsetType = UNSET
    endpoint: str | UnsetType = UNSET
    concurrency: int | UnsetType = UNSET
    rate_per_second: float | UnsetType | None = UNSET
    timeout_seconds: float | UnsetType = UNSET
    max_payload_bytes: int | UnsetType = UNSET
    client_errors: str | UnsetType = UNSET
    on_exhausted: str | UnsetType = UNSET
    attempts_log: str | UnsetType = UNSET
    retry: Retry | UnsetType = UNSET
    breaker: Breaker | UnsetType = UNSET


class NewSubscription(Subscription, frozen=True, kw_only=True):
    """With the secret of its signatures, which is shown nowhere else."""

    secret: str

    def __repr__(self) -> str:
        return f"NewSubscription(id={self.id!r})"


class Secret(Shape, frozen=True, kw_only=True):
    """`whsec_` and base64; shown here and nowhere else."""

    secret: str

    def __repr__(self) -> str:
        return "Secret()"


class Replayed(Shape, frozen=True, kw_only=True):
    """How many messages come (again)."""

    messages: int
    dry_run: bool


class Retried(Shape, frozen=True, kw_only=True):
    """How many messages go now, counted up to a million; those behind in their groups follow."""

    messages: int


class Sent(Shape, frozen=True, kw_only=True):
    """A message that is on its way."""

    message_id: str


class Subscriptions(Resource[Via]):
    """Reading needs the scope `read`, all else `manage`.

    Those of a kind other than http are paused, resumed and replayed with `operate`.
    """

    @operation("POST", "/v1/subscriptions")
    def create(
        self,
        *,
        channel_id: str,
        endpoint: str,
        name: str,
        types: Sequence[str] | None = None,
        shards: int = 1,
        concurrency: Setting[int] = UNSET,
        rate_per_second: Setting[float] = UNSET,
        timeout_seconds: Setting[float] = UNSET,
        max_payload_bytes: Setting[int] = UNSET,
        client_errors: Setting[Literal["retry", "dead_letter"]] = UNSET,
        on_exhausted: Setting[Literal["skip", "park"]] = UNSET,
        attempts_log: Setting[Literal["all", "failures", "none"]] = UNSET,
        retry: Setting[Retry] = UNSET,
        breaker: Setting[Breaker] = UNSET,
    ) -> NewSubscription:
        """Subscribes an endpoint to a channel, from now on; the answer has the secret."""

    @listing("/v1/subscriptions")
    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Subscription]:
        """All subscriptions, by id, `limit` of them a page."""

    @operation("GET", "/v1/subscriptions/{id}")
    def read(self, id: str) -> Subscription:
        """One subscription; its endpoint without path and query unless the key may manage."""

    @operation("PATCH", "/v1/subscriptions/{id}")
    def change(
        self,
        id: str,
        *,
        channel_id: str | UnsetType = UNSET,
        endpoint: str | UnsetType = UNSET,
        name: str | UnsetType = UNSET,
        types: Setting[Sequence[str]] = UNSET,
        concurrency: Setting[int] = UNSET,
        rate_per_second: Setting[float] = UNSET,
        timeout_seconds: Setting[float] = UNSET,
        max_payload_bytes: Setting[int] = UNSET,
        client_errors: Setting[Literal["retry", "dead_letter"]] = UNSET,
        on_exhausted: Setting[Literal["skip", "park"]] = UNSET,
        attempts_log: Setting[Literal["all", "failures", "none"]] = UNSET,
        retry: Setting[Retry] = UNSET,
        breaker: Setting[Breaker] = UNSET,
    ) -> Subscription:
        """Changes what is given, in force within a second or two; None is the default again."""

    @operation("DELETE", "/v1/subscriptions/{id}", timeout_seconds=SLOW_SECONDS)
    def delete(self, id: str, *, discard_undelivered: bool = False) -> None:
        """Ends a subscription that has nothing left to deliver, or whose rest is to be lost."""

    @operation("POST", "/v1/subscriptions/{id}/pause", repeatable=True)
    def pause(self, id: str) -> Subscription:
        """Holds everything from now on; nothing is dropped. Again does nothing."""

    @operation("POST", "/v1/subscriptions/{id}/resume", repeatable=True)
    def resume(self, id: str) -> Subscription:
        """Goes on where it was paused or disabled, in order. Again does nothing."""

    @operation("POST", "/v1/subscriptions/{id}/rotate-secret")
    def rotate_secret(
        self, id: str, *, revoke_old: Literal["now", "after_a_day"] = "after_a_day"
    ) -> Secret:
        """A new secret; requests are signed with those before it for a day more, unless revoked."""

    @operation("POST", "/v1/subscriptions/{id}/replay", timeout_seconds=SLOW_SECONDS)
    def replay(
        self,
        id: str,
        *,
        from_: Time | UnsetType = UNSET,
        from_message_id: str | UnsetType = UNSET,
        dry_run: bool = False,
    ) -> Replayed:
        """Sends what was published since a time or a message again, or counts it with `dry_run`.

        `from_` is a time with its offset from UTC.
        """

    @operation("POST", "/v1/subscriptions/{id}/retry")
    def retry(self, id: str, *, group_key: str | UnsetType = UNSET) -> Retried:
        """Makes due what waits for its next attempt, of one group or of all, in order."""

    @operation("POST", "/v1/subscriptions/{id}/test")
    def test(self, id: str) -> Sent:
        """Queues one message of type `outbox.test` for this subscription alone."""
