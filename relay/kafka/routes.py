"""What a run to Kafka is produced by: a route for each topic, and the producers behind it."""

from collections.abc import Callable
from typing import Protocol

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from relay.kafka.reports import Failures, Reports, nothing
from relay.kafka.topic import Topic
from relay.kafka.topic_names import TopicNames
from relay.log.sink import Transactions

# librdkafka's default.
BATCH_BYTES = 1_000_000


class Route(msgspec.Struct, frozen=True):
    """A topic with the producer that serves it, and `produce` for it: one lookup a message.

    A batch above its topic's limit would be refused with all its good messages, so each limit has
    a batch size of its own. A payload above `careful_bytes` may be too large with all its headers.
    """

    topic: Topic
    batch_bytes: int
    careful_bytes: int
    producer: Producer
    produce: Callable[..., None]


class Routes:
    """Routes by channel, for each way of naming topics."""

    def __init__(self) -> None:
        self._of: dict[TopicNames, dict[bytes, Route]] = {}

    def of(self, names: TopicNames) -> dict[bytes, Route]:
        """By channel; empty after `clear`, which must find them all."""
        return self._of.setdefault(names, {})

    def clear(self) -> None:
        """Their producers end, or may."""
        for routes in self._of.values():
            routes.clear()


class Wire(Protocol):
    """The producers that runs go through."""

    @property
    def transactions(self) -> Transactions | None:
        """Those of a sink that delivers exactly once."""

    def routes(self, names: TopicNames) -> dict[bytes, Route]:
        """To topics of these names by channel, for as long as their producers live."""

    @property
    def reports(self) -> Reports:
        """Of all its producers."""

    def any(self) -> Producer | AdminClient:
        """A client to ask the cluster with."""

    def begin(self) -> None:
        """A run begins."""

    def get(self, batch_bytes: int) -> Producer | None:
        """One whose batches are at most so large; None: from the next run on."""

    def alone(self, route: Route) -> Producer:
        """One for a message that goes while no other is in flight."""

    def barrier(self, silent: Callable[[], None] = nothing) -> None:
        """Returns when everything that was produced is acknowledged.

        Calls `silent` while nothing is. Raises what that raises, Refused, and SinkAway where it
        takes too long.
        """

    def purge(self) -> Failures:
        """Nothing that was produced and not confirmed arrives from now on; what failed before."""

    def end_after_refusal(self, *, alone: bool) -> Failures:
        """The same after Refused, where one message may have been `alone`."""

    def close(self) -> None:
        """Ends all producers."""
