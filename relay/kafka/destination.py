"""Where a subscription's messages go in a cluster: topics, by channel."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from confluent_kafka.admin import AdminClient

from relay.kafka.asking_client import AskingClient
from relay.kafka.refused_channels import Undeliverable
from relay.kafka.routes import Route, Wire
from relay.kafka.rules import KAFKA, Rules
from relay.kafka.topic_names import TopicNames
from relay.kafka.topics import Topics
from relay.log.cursor import SinkSettings


class Destination:
    """The topics of some names, and the channels that have none."""

    def __init__(self, wire: Wire, topics: Topics, names: TopicNames) -> None:
        self.topics = topics
        self.undeliverable = Undeliverable(wire, topics)
        self._wire = wire
        self._names = names

    @property
    def routes(self) -> dict[bytes, Route]:
        """By channel, as they are now."""
        return self._wire.routes(self._names)

    def topic_of(self, channel: bytes) -> str:
        """The topic that this channel goes to."""
        return self._names.of(channel)

    def channels_of(self, topic: str, channels: Iterable[bytes]) -> list[bytes]:
        """Those of the channels that go to this topic."""
        return [channel for channel in channels if self.topic_of(channel) == topic]


class Destinations:
    """Those of one cluster, made as they are needed, with one client that asks for their topics."""

    def __init__(
        self,
        wire: Wire,
        properties: dict[str, Any],
        prefix: str,
        own: str,
        rules: Rules = KAFKA,
    ) -> None:
        """`prefix` comes before each subscription's own; `own` is the topic of relays' cursors."""
        self._wire = wire
        self._asking = AskingClient(partial(AdminClient, properties))
        self._prefix = prefix
        self._own = own
        self._rules = rules
        self._made: dict[TopicNames, Destination] = {}

    def of(self, settings: SinkSettings) -> Destination:
        """That of subscriptions with these settings."""
        names = TopicNames(self._prefix + settings.topic_prefix, settings.topic)
        made = self._made.get(names)
        if made is None:
            topics = Topics(self._asking, names, self._own, self._rules)
            made = self._made[names] = Destination(self._wire, topics, names)
        return made
