"""A cursor: how far one subscription has read the log, in one of its shards and priorities."""

import msgspec


class SinkSettings(msgspec.Struct, frozen=True):
    """How a subscription wants its messages: what a sink is made for."""

    delivery: str = "at_least_once"
    topic_prefix: str = ""

    @property
    def exactly_once(self) -> bool:
        return self.delivery == "exactly_once"


class Cursor(msgspec.Struct, frozen=True):
    """One cursor of one subscription; a channel cursor, of one channel alone, has a `channel`.

    `n` and `relay` are of its latest checkpoint when it was probed. `waiting_reason` and
    `waiting_seconds` are there while its topic is missing.
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

    @property
    def waits(self) -> bool:
        """Whether its topic was missing when it was last tried."""
        return self.waiting_reason is not None
