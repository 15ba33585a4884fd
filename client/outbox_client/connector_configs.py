"""Where a connector leads and how. None is the default; what is left out of a change stays."""

from typing import Literal

from msgspec import UNSET, UnsetType

from outbox_client.push_settings import PushSettings
from outbox_client.shape import Setting, Shape


class KafkaConfig(Shape, frozen=True, kw_only=True):
    """A Kafka cluster. Of direction out `brokers` are required, of direction in `topic` is."""

    brokers: str | UnsetType = UNSET
    topic: Setting[str] = UNSET
    delivery: Setting[Literal["at_least_once", "exactly_once"]] = UNSET
    security: Setting[Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]] = UNSET
    sasl_mechanism: Setting[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]] = UNSET
    credentials: Setting[str] = UNSET
    from_: Setting[str] = UNSET


class SqsConfig(PushSettings, frozen=True, kw_only=True):
    """A queue of Amazon SQS; a new connector needs its `queue_url`."""

    queue_url: str | UnsetType = UNSET
    region: Setting[str] = UNSET
    role_arn: Setting[str] = UNSET
    credentials: Setting[str] = UNSET
    unwrap: Setting[Literal["sns"]] = UNSET


class EventHubsConfig(Shape, frozen=True, kw_only=True):
    """A namespace of Azure Event Hubs; a new connector needs it, and `credentials`."""

    namespace: str | UnsetType = UNSET
    event_hub: Setting[str] = UNSET
    credentials: str | UnsetType = UNSET
    delivery: Setting[Literal["at_least_once", "exactly_once"]] = UNSET


class PubsubConfig(PushSettings, frozen=True, kw_only=True):
    """A topic of Google Cloud Pub/Sub; a new connector needs its `project`."""

    project: str | UnsetType = UNSET
    topic: Setting[str] = UNSET
    ordering: Setting[bool] = UNSET
    endpoint: Setting[str] = UNSET
    credentials: Setting[str] = UNSET


Config = KafkaConfig | SqsConfig | EventHubsConfig | PubsubConfig
