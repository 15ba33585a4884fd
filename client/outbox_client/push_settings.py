"""How messages are pushed to an endpoint, a queue or a topic of Pub/Sub, and what became of it."""

from datetime import datetime
from typing import Literal

from msgspec import UNSET

from outbox_client.shape import Setting, Shape


class Retry(Shape, frozen=True, kw_only=True):
    """When a failed delivery is tried again, in seconds: a schedule, or what computes one."""

    initial_delay: Setting[float] = UNSET
    multiplier: Setting[float] = UNSET
    max_delay: Setting[float] = UNSET
    max_attempts: Setting[int] = UNSET
    schedule: Setting[list[float]] = UNSET
    jitter: Setting[float] = UNSET


class Breaker(Shape, frozen=True, kw_only=True):
    """It opens where `threshold` of at least `minimum` attempts within `window` seconds failed.

    `cool_down` is how many seconds it stays open before a probe.
    """

    window: Setting[float] = UNSET
    minimum: Setting[int] = UNSET
    threshold: Setting[float] = UNSET
    cool_down: Setting[float] = UNSET


class PushSettings(Shape, frozen=True, kw_only=True):
    """What may be said of how messages go there; None is the default."""

    concurrency: Setting[int] = UNSET
    rate_per_second: Setting[float] = UNSET
    timeout_seconds: Setting[float] = UNSET
    max_payload_bytes: Setting[int] = UNSET
    on_exhausted: Setting[Literal["skip", "park"]] = UNSET
    attempts_log: Setting[Literal["all", "failures", "none"]] = UNSET
    retry: Setting[Retry] = UNSET
    breaker: Setting[Breaker] = UNSET


class BreakerState(Shape, frozen=True, kw_only=True):
    """Whether requests are made; `retry_at` is when the half-open one may go."""

    state: Literal["closed", "open", "halfOpen"]
    failing_since: datetime | None
    opened_at: datetime | None
    retry_at: datetime | None


class Counts(Shape, frozen=True, kw_only=True):
    """Deliveries that are not in the log any more; `dead_letters` wait for a redrive.

    Dead letters are counted up to 10,000, so are those parked, and the other three together.
    """

    untried: int
    retrying: int
    in_flight: int
    parked: int
    dead_letters: int
