"""Connectors: channels that go to another system, or take in what a topic or a queue holds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import UNSET, UnsetType

from outbox_client.connector_configs import (
    Config,
    EventHubsConfig,
    KafkaConfig,
    PubsubConfig,
    SqsConfig,
)
from outbox_client.operation import Resource, Via, listing, operation
from outbox_client.pages import Page
from outbox_client.push_settings import BreakerState, Counts
from outbox_client.shape import Setting, Shape, Time
from outbox_client.subscriptions import SLOW_SECONDS, Replayed, Sent


class _Common(Shape, frozen=True, kw_only=True, tag_field="type"):
    """What a connector of each type has. `waiting_reason` says why none can go or come."""

    id: str
    name: str
    channel_id: str | None
    direction: Literal["out", "in"] = "out"
    types: list[str] | None
    shards: int
    paused: bool
    paused_reason: str | None
    waiting_since: datetime | None
    waiting_reason: str | None
    created_at: datetime
    counts: Counts


class KafkaConnector(_Common, frozen=True, kw_only=True, tag="kafka"):
    """To another Kafka cluster, or from a topic, whose records enter with `priority`."""

    config: KafkaConfig
    priority: int | None = None
    lag: int | None = None
    entered: int | None = None


class SqsConnector(_Common, frozen=True, kw_only=True, tag="sqs"):
    """To a queue of Amazon SQS, or from one; the latter has no breaker."""

    config: SqsConfig
    breaker_state: BreakerState | None
    priority: int | None = None
    lag: int | None = None
    entered: int | None = None


class EventHubsConnector(_Common, frozen=True, kw_only=True, tag="event_hubs"):
    """To Azure Event Hubs."""

    config: EventHubsConfig


class PubsubConnector(_Common, frozen=True, kw_only=True, tag="pubsub"):
    """To a topic of Google Cloud Pub/Sub."""

    config: PubsubConfig
    breaker_state: BreakerState


Connector = KafkaConnector | SqsConnector | EventHubsConnector | PubsubConnector


class Connectors(Resource[Via]):
    """Reading needs the scope `read`, all else `operate`, and `publish` besides to take in."""

    @operation("POST", "/v1/connectors")
    def create(
        self,
        *,
        name: str,
        channel_id: str,
        type: Literal["kafka", "sqs", "event_hubs", "pubsub"],
        config: Config,
        types: Sequence[str] | None = None,
        shards: int = 1,
        direction: Literal["out", "in"] = "out",
        priority: int = 3,
    ) -> Connector:
        """Connects a channel to another system from now on, or takes in what is there.

        `config` is that of the type. `priority` is of direction in, `types` and `shards` are of
        direction out; Event Hubs and Pub/Sub have that alone.
        """

    @listing("/v1/connectors")
    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Connector]:
        """All connectors, by id, `limit` of them a page."""

    @operation("GET", "/v1/connectors/{id}")
    def read(self, id: str) -> Connector:
        """One connector."""

    @operation("PATCH", "/v1/connectors/{id}")
    def change(
        self,
        id: str,
        *,
        name: str | UnsetType = UNSET,
        types: Setting[Sequence[str]] = UNSET,
        config: Config | UnsetType = UNSET,
    ) -> Connector:
        """Changes what is given, in force within a second or two; None is the default again."""

    @operation("DELETE", "/v1/connectors/{id}", timeout_seconds=SLOW_SECONDS)
    def delete(self, id: str, *, discard_undelivered: bool = False) -> None:
        """Ends a connector that has nothing left to deliver, or whose rest is to be lost."""

    @operation("POST", "/v1/connectors/{id}/pause", repeatable=True)
    def pause(self, id: str) -> Connector:
        """Holds everything from now on; nothing is dropped. Again does nothing."""

    @operation("POST", "/v1/connectors/{id}/resume", repeatable=True)
    def resume(self, id: str) -> Connector:
        """Goes on where it was paused, in order. Again does nothing."""

    @operation("POST", "/v1/connectors/{id}/replay", timeout_seconds=SLOW_SECONDS)
    def replay(
        self,
        id: str,
        *,
        from_: Time | UnsetType = UNSET,
        from_message_id: str | UnsetType = UNSET,
        dry_run: bool = False,
    ) -> Replayed:
        """Of direction out: sends what was published since then again, or counts it."""

    @operation("POST", "/v1/connectors/{id}/test")
    def test(self, id: str) -> Sent:
        """Of direction out: queues one message of type `outbox.test` for the connector alone."""

    @operation("POST", "/v1/connectors/{id}/seek")
    def seek(self, id: str, *, from_: str) -> Connector:
        """Of direction in: begins the topic anew from `earliest`, `latest` or a time in ISO 8601.

        It goes on where it was paused.
        """
