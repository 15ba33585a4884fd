"""What a connector to a topic of Google Cloud Pub/Sub says: in requests, and as it applies."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.platform.connectors.config import HTTP_NAMES, Credentials
from service.platform.subscriptions import endpoint_settings
from service.platform.subscriptions.endpoint_settings import PushSettings

_HOST = r"([A-Za-z0-9][A-Za-z0-9._\-]*|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?"

Project = Annotated[
    str,
    Meta(
        max_length=100,
        pattern=r"^([a-z0-9.\-]+:)?[a-z][a-z0-9\-]{4,28}[a-z0-9]\Z",
        description="The id of a project, such as shop-prod.",
    ),
]
Topic = Annotated[
    str,
    Meta(
        pattern=r"^(?!goog)[A-Za-z][A-Za-z0-9._~+%\-]{2,254}\Z",
        description="A topic: 3 to 255 letters, digits and . _ ~ + % -, a letter first, and not "
        "beginning with goog. Without it that of the channel's name, if that is one.",
    ),
]
Endpoint = Annotated[
    str,
    Meta(
        max_length=300,
        pattern=rf"^https?://{_HOST}\Z",
        description="A region's host, as order needs it: https://europe-west1-pubsub.googleapis.com"
        ". With http:// nothing is signed, as an emulator has it. Whether the relay may send there "
        "is decided whenever it does.",
    ),
]

# What the relay does where a topic's connector says nothing; a test holds the two together.
DEFAULTS = {"ordering": True, "endpoint": "https://pubsub.googleapis.com", "concurrency": 400}


class PubsubConfig(PushSettings, frozen=True, kw_only=True, rename="camel"):
    """A topic of Google Cloud Pub/Sub, and how messages go there; null is the default."""

    project: Project | UnsetType = UNSET
    topic: Topic | UnsetType | None = UNSET
    ordering: bool | UnsetType | None = UNSET
    endpoint: Endpoint | UnsetType | None = UNSET
    credentials: Credentials | UnsetType | None = UNSET


class NewPubsubConfig(PubsubConfig, frozen=True, kw_only=True, rename="camel"):
    """A topic of Google Cloud Pub/Sub, and how messages go there; null is the default."""

    JSON_SCHEMA: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {"properties": {"credentials": {"type": "null"}}},
            {"properties": {"endpoint": {"type": "null"}}},
            {"properties": {"endpoint": {"pattern": "^https://"}}},
        ]
    }

    project: Project


def effective(stored: Mapping[str, Any]) -> PubsubConfig:
    """What applies; what has no default is left out where it is not set."""
    applies = endpoint_settings.effective({**DEFAULTS, **stored}, HTTP_NAMES)
    del applies["clientErrors"]
    return msgspec.convert(applies, PubsubConfig)
