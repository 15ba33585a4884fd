"""What a connector to Azure Event Hubs says: as requests write it, and as it applies.

outbox.kafka_setting holds the rules; the types here say the same, so that the document does.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.platform.connectors.config import HTTP_NAMES, Credentials, Delivery

Namespace = Annotated[
    str,
    Meta(
        max_length=255,
        pattern=r"^([A-Za-z][A-Za-z0-9\-]{4,48}[A-Za-z0-9]|[A-Za-z0-9\-]+([.][A-Za-z0-9\-]+)+"
        r"|[A-Za-z0-9.\-]+:[1-9][0-9]{0,4})\Z",
        description="The name of a namespace, or its host name where that does not end in "
        ".servicebus.windows.net, with or without a port.",
    ),
]
EventHub = Annotated[
    str,
    Meta(
        max_length=256,
        pattern=r"^(?!outbox\.cursors\Z)[A-Za-z0-9]([A-Za-z0-9._\-]*[A-Za-z0-9])?\Z",
        description="An event hub: at most 256 letters, digits, dots, dashes and underscores. "
        "Without it that of the channel's name.",
    ),
]


class EventHubsConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A namespace of Azure Event Hubs; null is the default.

    The credential's part `connection_string` is a connection string of it. Nothing is delivered
    exactly once.
    """

    # Besides its properties, in whose place others of that name would stand.
    JSON_SCHEMA: ClassVar[dict[str, Any]] = {
        "not": {"required": ["delivery"], "properties": {"delivery": {"const": "exactly_once"}}}
    }

    namespace: Namespace | UnsetType = UNSET
    event_hub: EventHub | UnsetType | None = UNSET
    credentials: Credentials | UnsetType = UNSET
    delivery: Delivery | UnsetType | None = UNSET


class NewEventHubsConfig(EventHubsConfig, frozen=True, kw_only=True, rename="camel"):
    """A namespace of Azure Event Hubs; null is the default.

    The credential's part `connection_string` is a connection string of it. Nothing is delivered
    exactly once.
    """

    namespace: Namespace
    credentials: Credentials


def effective(stored: Mapping[str, Any], delivery: Delivery) -> EventHubsConfig:
    """What applies; what has no default is left out where it is not set."""
    named = {HTTP_NAMES[key]: value for key, value in stored.items() if key in HTTP_NAMES}
    return msgspec.convert({**named, "delivery": delivery}, EventHubsConfig)
