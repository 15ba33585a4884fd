"""The settings of an `http` subscription; outbox.http_setting says what each of them may be."""

from typing import Literal

import msgspec

from relay.push.policy.schedule import Retry


class BreakerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """It opens where `threshold` of at least `minimum` attempts within the window failed."""

    window_seconds: float = 300.0
    minimum: int = 10
    threshold: float = 0.7
    cool_down_seconds: float = 30.0


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where requests go, and how.

    `concurrency` is the most requests of one relay at once; `rate_per_second` bounds all relays
    together. `client_errors`: what a 4xx means that is no 408, 410, 425 or 429. `on_exhausted`:
    whether the group of a message that was given up goes on or waits for it.
    """

    endpoint: str
    concurrency: int = 32
    rate_per_second: float | None = None
    timeout_seconds: float = 15.0
    max_payload_bytes: int = 983_040
    client_errors: Literal["retry", "dead_letter"] = "retry"
    on_exhausted: Literal["skip", "park"] = "skip"
    attempts_log: Literal["all", "failures", "none"] = "all"
    retry: Retry = Retry()
    breaker: BreakerSettings = BreakerSettings()


decode = msgspec.json.Decoder(Endpoint).decode
