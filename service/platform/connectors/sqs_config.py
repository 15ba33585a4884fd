"""What a connector of a queue of Amazon SQS says: as requests write it, and as it applies."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.platform.connectors.config import HTTP_NAMES, Credentials
from service.platform.subscriptions import endpoint_settings
from service.platform.subscriptions.endpoint_settings import PushSettings

_HOST = r"([A-Za-z0-9][A-Za-z0-9._\-]*|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?"

QueueUrl = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=rf"^https?://{_HOST}/[0-9]{{12}}/"
        r"([A-Za-z0-9_\-]{1,80}|[A-Za-z0-9_\-]{1,75}\.fifo)\Z",
        description="The URL of a queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, its "
        "account of 12 digits. Whether the relay may send there is decided whenever it does.",
    ),
]
Region = Annotated[
    str,
    Meta(
        max_length=40,
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z",
        description="A region, such as eu-central-1; required where the URL does not begin with "
        "https://sqs.REGION.amazonaws.com/.",
    ),
]
RoleArn = Annotated[
    str,
    Meta(
        max_length=600,
        pattern=r"^arn:aws[a-z\-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/\-]+\Z",
        description="The ARN of a role that is taken on first: arn:aws:iam::ACCOUNT:role/NAME.",
    ),
]

Unwrap = Annotated[
    Literal["sns"],
    Meta(description="Of direction in: messages stand in notifications of Amazon SNS."),
]

# What the relay does where a queue's connector says nothing; a test holds the two together.
DEFAULTS = {"concurrency": 80}


class SqsConfig(PushSettings, frozen=True, kw_only=True, rename="camel"):
    """A queue of Amazon SQS, and how messages go there or come from there; null is the default."""

    queue_url: QueueUrl | UnsetType = UNSET
    region: Region | UnsetType | None = UNSET
    role_arn: RoleArn | UnsetType | None = UNSET
    credentials: Credentials | UnsetType | None = UNSET
    unwrap: Unwrap | UnsetType | None = UNSET


class NewSqsConfig(SqsConfig, frozen=True, kw_only=True, rename="camel"):
    """A queue of Amazon SQS, and how messages go there or come from there; null is the default."""

    JSON_SCHEMA: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {"required": ["region"], "properties": {"region": {"type": "string"}}},
            {
                "properties": {
                    "queueUrl": {
                        "pattern": r"^https://sqs\.[a-z0-9\-]+\.amazonaws\.com(\.cn)?/",
                    }
                }
            },
        ]
    }

    queue_url: QueueUrl


def effective_inward(stored: Mapping[str, Any]) -> SqsConfig:
    """What applies to direction in."""
    named = {HTTP_NAMES[key]: value for key, value in stored.items()}
    return msgspec.convert(named, SqsConfig)


def effective(stored: Mapping[str, Any]) -> SqsConfig:
    """What applies; what has no default is left out where it is not set."""
    applies = endpoint_settings.effective({**DEFAULTS, **stored}, HTTP_NAMES)
    del applies["clientErrors"]
    return msgspec.convert(applies, SqsConfig)
