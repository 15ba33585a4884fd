"""What the Kafka sink knows of the topics that its channels go to."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.admin._topic import TopicDescription

from relay.sink import SinkAway

# What a broker takes by default, with everything around the message: message.max.bytes.
DEFAULT_LIMIT_BYTES = 1_048_588
ASK_TIMEOUT_SECONDS = 5.0
# How often missing topics are asked for again, all in one request; of very many, some each time.
MISSING_AGAIN_SECONDS = 0.5
MOST_ASKED = 250
# And how often a message is tried on a topic that is there but refused to be written to.
REFUSED_AGAIN_SECONDS = 5.0
# What nobody has looked for is forgotten: its channel was dropped, or another relay has it. And
# however many names are made up, no more of those for which nothing waits are remembered.
FORGOTTEN_SECONDS = 60.0
MOST_REMEMBERED = 10_000

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
# Allowed to write and not to ask for a configuration, or no broker that knows: Kafka's defaults are
# the best guess.
NOT_TOLD = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.UNSUPPORTED_VERSION,
    }
)


class Topic(msgspec.Struct, frozen=True):
    """A topic that takes messages. It refuses a batch above `limit_bytes` as a whole."""

    name: str
    limit_bytes: int
    # Compacted, it refuses a message without a key, and the whole batch with it.
    compacted: bool


class Missing(msgspec.Struct):
    """A topic that took nothing when it was last asked for; times are of the monotonic clock.

    `reason` is None until there is an answer. `wanted_at`: when a channel that waits asked for it.
    `refused`: a message was, though the topic is there; `found`: by now it is there, and a message
    can be tried.
    """

    name: str
    reason: str | None = None
    asked_at: float = float("-inf")
    wanted_at: float = float("-inf")
    refused: bool = False
    found: bool = False

    def is_fresh(self, now: float) -> bool:
        """Whether it need not be asked for again."""
        again_seconds = REFUSED_AGAIN_SECONDS if self.refused else MISSING_AGAIN_SECONDS
        return not self.found and now < self.asked_at + again_seconds


class Topics:
    """The topics of one cluster, looked up once, and again while they are missing.

    `own` is the topic of the relay's own cursors, to which no message goes.
    """

    def __init__(self, properties: dict[str, Any], prefix: str, own: str) -> None:
        self._admin = AdminClient(properties)
        self._prefix = prefix
        self.own = own
        self._missing: dict[bytes, Missing] = {}
        self._answers: dict[bytes, Future[TopicDescription]] = {}
        self._asked_at = float("-inf")

    def look_up(self, channels: Iterable[bytes]) -> dict[bytes, Topic | Missing]:
        """The topics of these channels, by two requests for all together.

        Raises SinkAway where the cluster does not answer.
        """
        now = time.monotonic()
        found: dict[bytes, Topic | Missing] = {}
        unknown: list[bytes] = []
        for channel in channels:
            missing = self._missing.get(channel)
            if missing is not None and missing.is_fresh(now) and missing.reason is not None:
                found[channel] = missing
            else:
                unknown.append(channel)
        there: dict[bytes, str] = {}
        for channel, answer in self._ask(unknown).items():
            name = self._prefix + channel.decode()
            reason = _reason(name, answer)
            if reason is None:
                there[channel] = name
                self._missing.pop(channel, None)
            else:
                found[channel] = self._missing[channel] = Missing(name, reason, now)
        if len(self._missing) > MOST_REMEMBERED:
            self._forget(now)
        configs = self._configs(there.values())
        return found | {channel: configs[name] for channel, name in there.items()}

    def is_own(self, channel: bytes) -> bool:
        """Whether the channel's topic is the relay's own: prefix and channel name it together."""
        return self._prefix + channel.decode() == self.own

    def is_missing(self, channel: bytes) -> bool:
        """Whether the topic of a channel that waits was missing when all that wait were last asked
        for together. Waits for no answer.
        """
        now = time.monotonic()
        missing = self._missing.get(channel)
        if missing is None:
            # Found missing by another relay, or before this one's start.
            name = self._prefix + channel.decode()
            missing = self._missing[channel] = Missing(name)
        missing.wanted_at = now
        self._ask_again(now)
        return not missing.found

    def refused(self, channel: bytes, reason: str) -> None:
        """Notes that a message was refused though the topic is there: its metadata can't tell."""
        now = time.monotonic()
        name = self._prefix + channel.decode()
        self._missing[channel] = Missing(name, reason, now, refused=True)

    def _ask_again(self, now: float) -> None:
        """Takes the answers that have come, and asks for what is due."""
        if self._answers:
            if not all(answer.done() for answer in self._answers.values()):
                return
            for channel, answer in self._answers.items():
                self._take(channel, answer, now)
            self._answers = {}
        if now < self._asked_at + MISSING_AGAIN_SECONDS:
            return
        self._asked_at = now
        self._forget(now)
        due = [
            channel
            for channel, missing in self._missing.items()
            if not missing.found and not missing.is_fresh(now)
        ]
        due.sort(key=lambda channel: self._missing[channel].asked_at)
        self._answers = self._ask(due[:MOST_ASKED])

    def _forget(self, now: float) -> None:
        """What no channel that waits has asked for; of a refusal nobody else can tell."""
        self._missing = {
            channel: missing
            for channel, missing in self._missing.items()
            if now < missing.wanted_at + FORGOTTEN_SECONDS
            or (missing.refused and missing.is_fresh(now))
        }

    def _take(self, channel: bytes, answer: Future[TopicDescription], now: float) -> None:
        missing = self._missing.get(channel)
        if missing is None:
            return
        missing.asked_at = now
        try:
            reason = _reason(missing.name, answer)
        except SinkAway:
            # Whoever sends a message will say so.
            return
        missing.found = reason is None
        if reason is not None:
            missing.reason, missing.refused = reason, False

    def _ask(self, channels: Iterable[bytes]) -> dict[bytes, Future[TopicDescription]]:
        """One request for all, with what the relay's user may do with them."""
        names = {self._prefix + channel.decode(): channel for channel in channels}
        if not names:
            return {}
        answers = self._admin.describe_topics(
            TopicCollection(list(names)),
            include_authorized_operations=True,
            request_timeout=ASK_TIMEOUT_SECONDS,
        )
        return {names[name]: answer for name, answer in answers.items()}

    def _configs(self, names: Iterable[str]) -> dict[str, Topic]:
        """The topics with what their configurations say, by one request for all."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        answers = self._admin.describe_configs(resources, request_timeout=ASK_TIMEOUT_SECONDS)
        return {one.name: _topic(one.name, answer) for one, answer in answers.items()}


def _reason(name: str, answer: Future[TopicDescription]) -> str | None:
    """Why a topic takes no messages; None: it does, as far as the cluster tells. Raises SinkAway.

    Brokers that are asked tell what their client may do with a topic; others tell it by refusing.
    https://cwiki.apache.org/confluence/display/KAFKA/KIP-430+-+Return+Authorized+Operations+in+Describe+Responses
    """
    try:
        operations = answer.result(ASK_TIMEOUT_SECONDS + 1).authorized_operations
    except KafkaException as failed:
        error = failed.args[0]
        if error.code() in TOPIC_ERRORS:
            return f"{error.name()}: topic {name} does not exist, or may not be written to"
        if error.code() == KafkaError.LEADER_NOT_AVAILABLE:
            return None
        raise SinkAway(f"metadata of topic {name}: {error.str()}") from failed
    except TimeoutError as failed:
        raise SinkAway(f"metadata of topic {name}: no answer") from failed
    if operations and AclOperation.WRITE not in operations:
        return f"TOPIC_AUTHORIZATION_FAILED: topic {name} may not be written to"
    return None


def _topic(name: str, answer: Future[Mapping[str, Any]]) -> Topic:
    try:
        config = answer.result(ASK_TIMEOUT_SECONDS + 1)
    except KafkaException as failed:
        error = failed.args[0]
        if error.code() in NOT_TOLD:
            return Topic(name, DEFAULT_LIMIT_BYTES, compacted=False)
        raise SinkAway(f"configuration of topic {name}: {error.str()}") from failed
    except TimeoutError as failed:
        raise SinkAway(f"configuration of topic {name}: no answer") from failed
    return Topic(
        name,
        limit_bytes=int(config["max.message.bytes"].value),
        compacted="compact" in config["cleanup.policy"].value,
    )
