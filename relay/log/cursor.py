"""A cursor: how far one subscription has read the log, in one of its shards and priorities."""

import msgspec

# A kind of subscription and, in the words of its settings, its cluster. One that hangs holds up no
# other.
Target = tuple[str, str]


class SinkSettings(msgspec.Struct, frozen=True):
    """How a subscription wants its messages: what a sink is made for.

    Each channel has a topic of its own behind `topic_prefix`; with `topic` all go to that one.
    `cluster` is the text of the settings that name another cluster, and empty for that of the
    relay's environment.
    """

    delivery: str = "at_least_once"
    topic_prefix: str = ""
    topic: str = ""
    cluster: str = ""

    @property
    def exactly_once(self) -> bool:
        return self.delivery == "exactly_once"


class Cursor(msgspec.Struct, frozen=True):
    """One cursor of one subscription; a channel cursor, of one channel alone, has a `channel`.

    `n` and `relay` are of its latest checkpoint when it was probed. `waiting_reason` and
    `waiting_seconds` are there while its topic is missing. `made_by` is the API key, limited to
    channels, that made the subscription, by its name; None: the operator did.
    """

    id: int
    subscription_id: int
    subscription: str
    kind: str
    shard: int
    priority: int
    channel: str | None
    n: int
    relay: str
    waiting_reason: str | None
    waiting_seconds: float | None
    sink_settings: SinkSettings
    made_by: str | None = None

    @property
    def target(self) -> Target:
        """Whose cursors may share a run with it."""
        return self.kind, self.sink_settings.cluster

    @property
    def other_cluster(self) -> str:
        """The Kafka cluster that it goes to, where that is not the environment's; else empty."""
        return self.sink_settings.cluster if self.kind == "kafka" else ""

    @property
    def waits(self) -> bool:
        """Whether its topic was missing when it was last tried."""
        return self.waiting_reason is not None
