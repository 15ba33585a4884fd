"""Where a subscription's messages go in a cluster: the topics of one prefix."""

from typing import Any

from confluent_kafka.admin import AdminClient

from relay.kafka.refused_channels import Undeliverable
from relay.kafka.routes import Route, Wire
from relay.kafka.topics import Topics


class Destination:
    """The topics of one prefix, and the channels that have none."""

    def __init__(self, wire: Wire, topics: Topics, prefix: str) -> None:
        self.topics = topics
        self.undeliverable = Undeliverable(wire, topics)
        self._wire = wire
        self._prefix = prefix

    @property
    def routes(self) -> dict[bytes, Route]:
        """By channel, as they are now."""
        return self._wire.routes(self._prefix)

    def channel_of(self, topic: str) -> bytes | None:
        """Which channel goes to this topic; None where it is no topic of this prefix."""
        return self.topics.channel(topic) if topic.startswith(self._prefix) else None


class Destinations:
    """Those of one cluster, made as they are needed, with one client that asks for their topics."""

    def __init__(self, wire: Wire, properties: dict[str, Any], prefix: str, own: str) -> None:
        """`prefix` comes before each subscription's own; `own` is the topic of relays' cursors."""
        self._wire = wire
        self._admin = AdminClient(properties)
        self._prefix = prefix
        self._own = own
        self._made: dict[str, Destination] = {}

    def of(self, topic_prefix: str) -> Destination:
        """That of subscriptions with this prefix."""
        made = self._made.get(topic_prefix)
        if made is None:
            prefix = self._prefix + topic_prefix
            topics = Topics(self._admin, prefix, own=self._own)
            made = self._made[topic_prefix] = Destination(self._wire, topics, prefix)
        return made
