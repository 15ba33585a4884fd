"""What is known of a cluster that is not asked of it: limits, and what its errors mean there."""

from collections.abc import Mapping

import msgspec
from confluent_kafka import KafkaError


class Rules(msgspec.Struct, frozen=True):
    """Of Apache Kafka, unless it is said otherwise.

    `limit_bytes` is what its topics take, known by the name `limit`; None: each is asked how it is
    configured. `away` are errors of a message that say the same of all: the cluster takes nothing
    now. `hints` say of an error what is wrong and what to do, with `{topic}` in place of a topic.
    """

    limit_bytes: int | None = None
    limit: str = "max.message.bytes"
    away: frozenset[int] = frozenset()
    hints: Mapping[int, str] = {}

    @property
    def asks(self) -> bool:
        """Whether each topic is asked how it is configured."""
        return self.limit_bytes is None

    @property
    def producer(self) -> dict[str, int]:
        """What a producer is bounded to."""
        return {} if self.limit_bytes is None else {"message.max.bytes": self.limit_bytes}

    def told(self, error: KafkaError, otherwise: str | None = None, topic: str = "") -> str:
        """An error by its name, and what is wrong: `otherwise`, or librdkafka's words."""
        words = self.hints.get(error.code())
        if words is not None:
            return f"{error.name()}: {words.format(topic=topic)}"
        return f"{error.name()}: {otherwise or error.str()}"


KAFKA = Rules()
