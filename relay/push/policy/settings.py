"""The settings of a subscription whose messages are pushed; SQL says what each of them may be."""

from typing import Literal

import msgspec

from relay.push.policy.schedule import Retry


class BreakerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """It opens where `threshold` of at least `minimum` attempts within the window failed."""

    window_seconds: float = 300.0
    minimum: int = 10
    threshold: float = 0.7
    cool_down_seconds: float = 30.0


class Receiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How messages go out, wherever that is.

    `concurrency` is the most of one relay at once; `rate_per_second` bounds all relays together.
    `on_exhausted`: whether the group of a message that was given up goes on or waits for it.
    """

    concurrency: int = 32
    rate_per_second: float | None = None
    timeout_seconds: float = 15.0
    max_payload_bytes: int = 983_040
    on_exhausted: Literal["skip", "park"] = "skip"
    attempts_log: Literal["all", "failures", "none"] = "all"
    retry: Retry = Retry()
    breaker: BreakerSettings = BreakerSettings()

    @property
    def gives_up_refused(self) -> bool:
        """Whether a message that is refused for what it is becomes a dead letter at once."""
        raise NotImplementedError


class Endpoint(Receiver, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where requests go.

    `client_errors`: what a 4xx means that is no 408, 410, 425 or 429.
    """

    endpoint: str
    client_errors: Literal["retry", "dead_letter"] = "retry"

    @property
    def gives_up_refused(self) -> bool:
        return self.client_errors == "dead_letter"


class Queue(Receiver, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A queue of Amazon SQS. Without `credentials` the relay's own identity sends there."""

    queue_url: str
    region: str | None = None
    role_arn: str | None = None
    credentials: str | None = None
    # Eight requests of ten messages.
    concurrency: int = 80

    @property
    def gives_up_refused(self) -> bool:
        return True

    @property
    def is_fifo(self) -> bool:
        """Whether it keeps the order of its groups."""
        return self.queue_url.endswith(".fifo")


class Topic(Receiver, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A topic of Google Cloud Pub/Sub. Without `credentials` the relay's own identity sends there.

    With `ordering` the topic keeps the order of each group; without, requests hold messages of
    many groups.
    """

    project: str
    topic: str = ""
    ordering: bool = True
    endpoint: str = "https://pubsub.googleapis.com"
    credentials: str | None = None
    # Four requests of a hundred messages, where they share requests.
    concurrency: int = 400

    @property
    def gives_up_refused(self) -> bool:
        return True

    @property
    def path(self) -> str:
        """Its name, as requests have it."""
        return f"projects/{self.project}/topics/{self.topic}"


# What a connector leads to by way of a session.
Connected = Queue | Topic

_TYPES: dict[str, type[Receiver]] = {"http": Endpoint, "sqs": Queue, "pubsub": Topic}
_decoders = {kind: msgspec.json.Decoder(one) for kind, one in _TYPES.items()}


def decode(settings: str | bytes, kind: str = "http", topic: str = "") -> Receiver:
    """The settings of a subscription of this kind, as SQL has them.

    `topic` is the connector's: that of its settings, or of its channel's name.
    """
    found = _decoders[kind].decode(settings)
    return msgspec.structs.replace(found, topic=topic) if isinstance(found, Topic) else found
