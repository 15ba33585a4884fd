"""Where a connector leads and how: as requests write it, and as SQL stores it.

outbox.kafka_setting, outbox.sqs_setting and outbox.pubsub_setting hold the rules; the types here,
in event_hubs_config, in sqs_config and in pubsub_config say the same, so that the document does.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.platform.permission import require_channel
from service.platform.subscriptions import endpoint_settings
from service.problems import Problem
from service.web.access.authorization import Caller

_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_BROKER = rf"([A-Za-z0-9][A-Za-z0-9._\-]*|\[[0-9A-Fa-f:.]+\]):{_PORT}"

Brokers = Annotated[
    str,
    Meta(
        max_length=1000,
        pattern=rf"^{_BROKER}(,{_BROKER}){{0,9}}\Z",
        description="host:port,host:port: at most ten of the cluster's brokers. Whether the relay "
        "may connect there is decided whenever it does.",
    ),
]
Topic = Annotated[
    str,
    Meta(
        pattern=r"^(?!\.{1,2}\Z)(?!outbox\.cursors\Z)(?!__)[A-Za-z0-9._\-]{1,249}\Z",
        description="A topic: at most 249 letters, digits, dots, dashes and underscores, and not "
        "with __ in front, as Kafka's own are named. Without it that of the channel's name.",
    ),
]
Credentials = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9\-]{0,62}\Z",
        description="The name of a credential that the relay has, in its environment or files: at "
        "most 63 lower-case letters, digits and dashes.",
    ),
]
Start = Annotated[
    str,
    Meta(
        pattern=r"^(earliest|latest|[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
        r"|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|[12][0-9]))T([01][0-9]|2[0-3]):[0-5][0-9]"
        r"(:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+\-](0[0-9]|1[0-4]):[0-5][0-9]))\Z",
        description="Of direction in: where the topic is begun with: earliest (default), latest, "
        "or a time with its offset.",
    ),
]
Delivery = Literal["at_least_once", "exactly_once"]
Security = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

# HTTP's names and SQL's. `delivery` has a column of its own.
STORED_NAMES = {
    **endpoint_settings.STORED_NAMES,
    "brokers": "brokers",
    "topic": "topic",
    "security": "security",
    "saslMechanism": "sasl_mechanism",
    "credentials": "credentials",
    "from": "from",
    "namespace": "namespace",
    "eventHub": "event_hub",
    "queueUrl": "queue_url",
    "region": "region",
    "roleArn": "role_arn",
    "unwrap": "unwrap",
    "project": "project",
    "ordering": "ordering",
    "endpoint": "endpoint",
}
HTTP_NAMES = {stored: name for name, stored in STORED_NAMES.items()}
DEFAULT_DELIVERY: Delivery = "at_least_once"


class KafkaConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Another Kafka cluster; null is the default."""

    brokers: Brokers | UnsetType = UNSET
    topic: Topic | UnsetType | None = UNSET
    delivery: Delivery | UnsetType | None = UNSET
    security: Security | UnsetType | None = UNSET
    sasl_mechanism: SaslMechanism | UnsetType | None = UNSET
    credentials: Credentials | UnsetType | None = UNSET
    from_: Start | UnsetType | None = msgspec.field(default=UNSET, name="from")


class NewKafkaConfig(KafkaConfig, frozen=True, kw_only=True, rename="camel"):
    """Another Kafka cluster; null is the default.

    Of direction out it has to be named by `brokers`. Of direction in `topic` is required, and
    without `brokers` it is a topic of the relay's own cluster. With SASL a mechanism and a
    credential are required; without TLS and SASL there is neither.
    """

    JSON_SCHEMA: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {
                "properties": {
                    "security": {"enum": ["plaintext", None]},
                    "saslMechanism": {"type": "null"},
                    "credentials": {"type": "null"},
                }
            },
            {
                "required": ["security"],
                "properties": {"security": {"enum": ["ssl"]}, "saslMechanism": {"type": "null"}},
            },
            {
                "required": ["security", "saslMechanism", "credentials"],
                "properties": {
                    "security": {"enum": ["sasl_plaintext", "sasl_ssl"]},
                    "saslMechanism": {"type": "string"},
                    "credentials": {"type": "string"},
                },
            },
        ]
    }


def merged(
    stored: Mapping[str, Any], delivery: Delivery, change: msgspec.Struct
) -> tuple[dict[str, Any], Delivery]:
    """Settings and delivery with what `change` says over them; null takes a setting away."""
    said = msgspec.to_builtins(change)
    if "delivery" in said:
        delivery = said.pop("delivery") or DEFAULT_DELIVERY
    return endpoint_settings.merged(stored, said, STORED_NAMES), delivery


def effective_inward(stored: Mapping[str, Any]) -> KafkaConfig:
    """What applies to direction in."""
    defaults = {"from": "earliest", **({"security": "plaintext"} if "brokers" in stored else {})}
    named = {HTTP_NAMES[key]: value for key, value in stored.items() if key in HTTP_NAMES}
    return msgspec.convert({**defaults, **named}, KafkaConfig)


def effective(stored: Mapping[str, Any], delivery: Delivery) -> KafkaConfig:
    """What applies; what has no default is left out where it is not set."""
    named = {HTTP_NAMES[key]: value for key, value in stored.items() if key in HTTP_NAMES}
    if "brokers" in stored:
        named = {"security": "plaintext", **named}
    return msgspec.convert({**named, "delivery": delivery}, KafkaConfig)


def require_within(caller: Caller, settings: Mapping[str, Any]) -> None:
    """Raises Problem 403 where settings reach beyond a key that is limited to channels.

    The topic is taken for a channel there: it is in a cluster where others may have theirs.
    """
    if caller.channels is None:
        return
    for kind, what, setting in (("sqs", "queue", "queue_url"), ("pubsub", "topic", "project")):
        if setting in settings:
            detail = (
                f"type {kind} is beyond this key; requests to a {what} are signed by what is the "
                "operator's, and the key is limited to channels."
            )
            raise Problem(403, detail, field="type")
    if "topic" in settings:
        require_channel(caller, settings["topic"], "config.topic")
    if "credentials" in settings:
        detail = "config.credentials is beyond this key; one that is limited to channels uses none."
        raise Problem(403, detail, field="config.credentials")


def refused(fault: str) -> Problem:
    """422 for what SQL says of settings: a sentence that begins with `settings.` and a name."""
    return endpoint_settings.refused(fault, HTTP_NAMES, "config.")
