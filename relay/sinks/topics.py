"""What the Kafka sink knows of the topics that its channels go to."""

import time
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from relay.sink import SinkAway

# What a broker takes by default, with everything around the message: message.max.bytes.
DEFAULT_LIMIT_BYTES = 1_048_588
ASK_TIMEOUT_SECONDS = 5.0
# How often a missing topic is asked for again.
MISSING_AGAIN_SECONDS = 0.5
# And how often a message is tried on a topic that is there but refused to be written to.
REFUSED_AGAIN_SECONDS = 5.0

# The topic's own answers, and not the cluster's: its channel waits, the others flow.
TOPIC_ERRORS = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)


class Topic(msgspec.Struct, frozen=True):
    """A topic that takes messages. It refuses a batch above `limit_bytes` as a whole."""

    name: str
    limit_bytes: int
    # Compacted, it refuses a message without a key, and the whole batch with it.
    compacted: bool


class Missing(msgspec.Struct):
    """A topic that takes nothing now; times are of the monotonic clock."""

    name: str
    reason: str
    since: float
    asked_at: float
    refused: bool = False


class Topics:
    """The topics of one cluster, looked up once and again while they are missing."""

    def __init__(self, properties: dict[str, Any], prefix: str) -> None:
        self._admin = AdminClient(properties)
        self._prefix = prefix
        self._missing: dict[bytes, Missing] = {}

    def look_up(self, channel: bytes, client: Producer | AdminClient) -> Topic | Missing:
        """The channel's topic. Raises SinkAway where the cluster does not answer."""
        name = self._prefix + channel.decode()
        missing = self._missing.get(channel)
        now = time.monotonic()
        if missing is not None and now < missing.asked_at + _again_seconds(missing):
            return missing
        try:
            error = client.list_topics(name, timeout=ASK_TIMEOUT_SECONDS).topics[name].error
        except KafkaException as failed:
            raise SinkAway(f"metadata of topic {name}: {failed.args[0].str()}") from failed
        if error is not None and error.code() in TOPIC_ERRORS:
            reason = f"{error.name()}: topic {name} does not exist, or may not be written to"
            if missing is None:
                missing = self._missing[channel] = Missing(name, reason, since=now, asked_at=now)
            missing.reason, missing.asked_at = reason, now
            return missing
        if missing is not None and not missing.refused:
            del self._missing[channel]
        return self._describe(name)

    def refused(self, channel: bytes, reason: str) -> Missing:
        """Notes that a message was refused though the topic is there: its metadata can't tell."""
        now = time.monotonic()
        missing = self._missing.get(channel)
        if missing is None or now > missing.asked_at + 2 * REFUSED_AGAIN_SECONDS:
            name = self._prefix + channel.decode()
            missing = self._missing[channel] = Missing(name, reason, since=now, asked_at=now)
        missing.reason, missing.asked_at, missing.refused = reason, now, True
        return missing

    def _describe(self, name: str) -> Topic:
        resource = ConfigResource(ResourceType.TOPIC, name)
        answers = self._admin.describe_configs([resource], request_timeout=ASK_TIMEOUT_SECONDS)
        try:
            config = answers[resource].result(ASK_TIMEOUT_SECONDS)
        except KafkaException as failed:
            if failed.args[0].code() in (
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
                KafkaError.CLUSTER_AUTHORIZATION_FAILED,
                KafkaError._UNSUPPORTED_FEATURE,
                KafkaError.UNSUPPORTED_VERSION,
            ):
                # Allowed to write and not to ask, or no broker that knows: Kafka's defaults are
                # the best guess.
                return Topic(name, DEFAULT_LIMIT_BYTES, compacted=False)
            raise SinkAway(f"configuration of topic {name}: {failed.args[0].str()}") from failed
        except TimeoutError as failed:
            raise SinkAway(f"configuration of topic {name}: no answer") from failed
        return Topic(
            name,
            limit_bytes=int(config["max.message.bytes"].value),
            compacted="compact" in config["cleanup.policy"].value,
        )


def _again_seconds(missing: Missing) -> float:
    return REFUSED_AGAIN_SECONDS if missing.refused else MISSING_AGAIN_SECONDS
