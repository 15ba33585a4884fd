"""One topic: what the cluster answers about it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaError, KafkaException, Node, TopicPartitionInfo
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._topic import TopicDescription

from relay.kafka import errors
from relay.kafka.rules import KAFKA, Rules
from relay.log.sink import SinkAway

# What a broker takes by default, with everything around the message: message.max.bytes.
DEFAULT_LIMIT_BYTES = 1_048_588
ASK_TIMEOUT_SECONDS = 5.0
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
    # So many replicas have to be in sync, or all where it has fewer: min.insync.replicas.
    min_in_sync: int = 1
    # What the limit is called.
    limit: str = KAFKA.limit


class Closed(NamedTuple):
    """Why a topic takes no messages. `temporary`: its brokers or a clock are at fault."""

    reason: str
    temporary: bool = False


class Asked(NamedTuple):
    """What a topic is asked, by two requests for all: where it lies, and how it is configured.

    `config` is None where the rules of its cluster say it.
    """

    name: str
    description: Future[TopicDescription]
    config: Future[Mapping[str, Any]] | None
    rules: Rules = KAFKA

    def done(self) -> bool:
        """Whether both answers are there."""
        return self.description.done() and (self.config is None or self.config.done())

    def found(self, *, writable: bool) -> Topic | Closed:
        """The topic, or why it takes no messages; waits for the answers.

        With `writable` it has leaders and enough replicas. Raises SinkAway where no broker answers.
        """
        partitions = _partitions(self.name, self.description, self.rules)
        if isinstance(partitions, Closed):
            return partitions
        topic = _topic(self.name, self.config, self.rules)
        if writable and isinstance(topic, Topic):
            return _unwritable(topic, partitions) or topic
        return topic


def _partitions(
    name: str, answer: Future[TopicDescription], rules: Rules
) -> list[TopicPartitionInfo] | Closed:
    """A topic's partitions, or why it takes no messages, as far as the cluster tells.

    Brokers that are asked tell what their client may do with a topic; others tell it by refusing.
    https://cwiki.apache.org/confluence/display/KAFKA/KIP-430+-+Return+Authorized+Operations+in+Describe+Responses
    """
    try:
        description = answer.result(ASK_TIMEOUT_SECONDS + 1)
    except KafkaException as failed:
        error = failed.args[0]
        if error.code() in errors.MISSING:
            return _missing(name, error, rules)
        if error.code() == KafkaError.LEADER_NOT_AVAILABLE:
            return []
        raise SinkAway(f"metadata of topic {name}: {error.str()}") from failed
    except TimeoutError as failed:
        raise SinkAway(f"metadata of topic {name}: no answer") from failed
    operations = description.authorized_operations
    if operations and AclOperation.WRITE not in operations:
        return Closed(f"TOPIC_AUTHORIZATION_FAILED: topic {name} may not be written to")
    return list(description.partitions)


def not_shown(name: str, rules: Rules) -> Closed:
    """Of a topic that is not among all that the cluster shows."""
    return _missing(name, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), rules)


def _missing(name: str, error: KafkaError, rules: Rules) -> Closed:
    otherwise = f"topic {name} does not exist, or may not be written to"
    return Closed(rules.told(error, otherwise, topic=name))


def _unwritable(topic: Topic, partitions: Sequence[TopicPartitionInfo]) -> Closed | None:
    """Why a topic that is there can't be written to, whole as it is; None where it can."""
    if not partitions:
        return Closed(f"LEADER_NOT_AVAILABLE: topic {topic.name} has no leader", temporary=True)
    for one in partitions:
        where = f"partition {one.id} of topic {topic.name}"
        leader: Node | None = one.leader
        if leader is None:
            return Closed(f"LEADER_NOT_AVAILABLE: {where} has no leader", temporary=True)
        least = min(topic.min_in_sync, len(one.replicas))
        if len(one.isr) < least:
            replicas = f"{len(one.isr)} of {least} replicas in sync"
            return Closed(f"NOT_ENOUGH_REPLICAS: {where} has {replicas}", temporary=True)
    return None


def _topic(name: str, answer: Future[Mapping[str, Any]] | None, rules: Rules) -> Topic | Closed:
    """A topic as it is configured, or why it takes no messages. Raises SinkAway."""
    if answer is None:
        limit_bytes = rules.limit_bytes or DEFAULT_LIMIT_BYTES
        return Topic(name, limit_bytes, compacted=False, limit=rules.limit)
    try:
        config = answer.result(ASK_TIMEOUT_SECONDS + 1)
    except KafkaException as failed:
        error = failed.args[0]
        if error.code() in NOT_TOLD:
            return Topic(name, DEFAULT_LIMIT_BYTES, compacted=False)
        if error.code() in errors.MISSING:
            return _missing(name, error, rules)
        raise SinkAway(f"configuration of topic {name}: {error.str()}") from failed
    except TimeoutError as failed:
        raise SinkAway(f"configuration of topic {name}: no answer") from failed
    # Not every broker that speaks Kafka has replicas to count.
    least = config.get("min.insync.replicas")
    return Topic(
        name,
        limit_bytes=int(config["max.message.bytes"].value),
        compacted="compact" in config["cleanup.policy"].value,
        min_in_sync=int(least.value) if least else 1,
    )
