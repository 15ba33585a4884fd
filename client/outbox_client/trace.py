"""Where a message is: what became of it at each subscription, and how that is known."""

from datetime import datetime
from typing import Literal

from outbox_client.shape import Shape


class TracedPassage(Shape, frozen=True, kw_only=True):
    """By which run the cursor passed the message: between two checkpoints."""

    cursor: int
    at: datetime
    after_checkpoint: int | None = None
    after_at: datetime | None = None
    checkpoint: int | None = None
    relay: str | None = None
    merged_at: datetime | None = None


class TracedHead(Shape, frozen=True, kw_only=True):
    """The message for which its group waits; `tried_since` is its first attempt."""

    message_id: str
    state: Literal["untried", "retrying", "inFlight", "parked"]
    attempts: int
    due_at: datetime | None
    reason: str | None
    tried_since: datetime | None


class TracedQueue(Shape, frozen=True, kw_only=True):
    """Behind what it waits: `ahead` messages of its cursor, `ahead_in_group` deliveries.

    At least so many where `more`.
    """

    cursor: int
    priority: int
    shard: int
    channel: str | None
    checkpoint: int
    at: datetime
    relay: str | None
    ahead: int | None
    ahead_in_group: int | None
    more: bool
    head: TracedHead | None


class TracedDeadLetter(Shape, frozen=True, kw_only=True):
    """Its dead letter, whatever became of that."""

    id: str
    reason: str
    exhausted: str | None
    attempts: int
    died_at: datetime
    redriven_at: datetime | None
    delivered_at: datetime | None


class TracedAttempt(Shape, frozen=True, kw_only=True):
    """One request; without `error` it was acknowledged."""

    number: int
    at: datetime
    duration_seconds: float
    status: int | None
    error: str | None
    relay: str


class TracedPlace(Shape, frozen=True, kw_only=True):
    """What became of it at one subscription; `attempts` are the latest fifty, newest first."""

    subscription_id: str
    subscription: str
    kind: Literal["http", "kafka", "sqs", "pubsub"]
    state: Literal[
        "delivered",
        "deadLetter",
        "redriven",
        "dropped",
        "notWanted",
        "beforeStart",
        "passed",
        "waiting",
        "replayed",
        "retrying",
        "inFlight",
        "paused",
        "breakerOpen",
        "channelWaiting",
        "gone",
    ]
    since: datetime | None
    because: str | None
    next_attempt_at: datetime | None
    passed: TracedPassage | None
    queue: TracedQueue | None
    dead_letter: TracedDeadLetter | None
    attempts: list[TracedAttempt]


class Trace(Shape, frozen=True, kw_only=True):
    """A message without what it carries, and where it is; `gone`: the log no longer has it."""

    id: str
    state: Literal["inLog", "gone"]
    transaction_id: str | None
    channel_id: str | None
    type: str | None
    group_key: str | None
    priority: int | None
    idempotency_key: str | None
    created_at: datetime | None
    subscriptions: list[TracedPlace]
