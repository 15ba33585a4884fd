"""Stats: each subscription in numbers."""

from datetime import datetime
from typing import Literal

from outbox_client.operation import Resource, Via, listing
from outbox_client.pages import Page
from outbox_client.shape import Shape


class Backlog(Shape, frozen=True, kw_only=True):
    """What waits in the log: at least so many messages where `more`, else exactly."""

    messages: int
    more: bool
    oldest_at: datetime | None
    oldest_age_seconds: float


class DeliveryCounts(Shape, frozen=True, kw_only=True):
    """Deliveries by state, each counted up to 10,000, the first three together."""

    untried: int
    retrying: int
    in_flight: int
    behind: int
    parked: int


class Throughput(Shape, frozen=True, kw_only=True):
    """Of the last five minutes."""

    messages: int
    failures: int
    messages_per_second: float


class Stats(Shape, frozen=True, kw_only=True):
    """One subscription in numbers; `breaker` is None for kinds that have none.

    `dead_letters` wait for a redrive, and are counted up to 10,000.
    """

    subscription_id: str
    name: str
    paused: bool
    backlog: Backlog
    deliveries: DeliveryCounts
    dead_letters: int
    breaker: Literal["closed", "open", "halfOpen"] | None
    last_five_minutes: Throughput


class AllStats(Resource[Via]):
    """It needs the scope `read`."""

    @listing("/v1/stats")
    def list(self, *, limit: int = 20, cursor: str | None = None) -> Page[Stats]:
        """Backlog, age, deliveries by state, dead letters, breaker, throughput, by subscription."""
