"""Channels whose messages become dead letters, without a question to the cluster for each."""

import time
from collections.abc import Iterable

from confluent_kafka import KafkaException

from relay.kafka.routes import Wire
from relay.kafka.topic import ASK_TIMEOUT_SECONDS
from relay.kafka.topics import Topics

# Reason and detail of a dead letter.
DeadReason = tuple[str, str]

# What is written to a channel for which there is no room among those that wait is dead, until room
# is looked for again. In one run so many messages become dead letters
# without a question to the cluster.
NO_ROOM = "TOO_MANY_WAITING_CHANNELS"
MAX_UNASKED_DEAD = 5000
NO_ROOM_SECONDS = 30.0
# So is what prefix and channel together would send to the topic of the relay's own cursors.
OWN_TOPIC = "TOPIC_IS_THE_RELAYS_OWN"
# And to those that brokers keep for themselves, which no client may make or write to.
KAFKAS_TOPIC = "TOPIC_IS_KAFKAS_OWN"


class Undeliverable:
    """Channels that found no room among those that wait, and channels whose topic is the relay's
    own or Kafka's.
    """

    def __init__(self, wire: Wire, topics: Topics) -> None:
        self._wire = wire
        self._topics = topics
        self._until: dict[bytes, float] = {}
        self._has_topics_until = float("-inf")

    def add(self, channels: Iterable[str]) -> bool:
        """Whether messages of these may become dead letters; False: they wait. Raises SinkAway."""
        names = [channel.encode() for channel in channels]
        if any(self._topics.is_temporary(name) for name in names):
            # No message is to blame for brokers that are gone.
            return False
        now = time.monotonic()
        if now >= self._has_topics_until:
            try:
                topics = self._wire.any().list_topics(timeout=ASK_TIMEOUT_SECONDS).topics
            except KafkaException as failed:
                raise self._wire.reports.away(failed.args[0].str()) from failed
            if all(name.startswith("__") for name in topics):
                # A broker that has just started may know no topic yet.
                return False
            self._has_topics_until = now + NO_ROOM_SECONDS
        if len(self._until) > MAX_UNASKED_DEAD:
            self._until.clear()
        self._until.update(dict.fromkeys(names, now + NO_ROOM_SECONDS))
        return True

    def reason_for(self, channel: bytes) -> DeadReason | None:
        """Reason and detail of the dead letters of a channel whose messages go nowhere now."""
        if self._topics.is_own(channel):
            own = self._topics.own
            detail = f"topic {own} is the relay's own: change the subscription's topic_prefix"
            return OWN_TOPIC, detail
        if (kafkas := self._topics.kafkas_own(channel)) is not None:
            detail = f"topic {kafkas} is Kafka's own: change the subscription's topic_prefix"
            return KAFKAS_TOPIC, detail
        ends_at = self._until.get(channel)
        if ends_at is not None and time.monotonic() < ends_at:
            return NO_ROOM, "its topic is missing as well"
        return None
