"""A sink of several subscriptions: what ends a run for one passes over no message of another."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from relay.kafka.reports import Refused
from relay.kafka.sink import KafkaSink
from relay.kafka.topic import Topic
from relay.log.cursor import SinkSettings
from relay.log.message import Row
from relay.log.sink import Page

TAKERS = [SinkSettings(topic_prefix="a."), SinkSettings(topic_prefix="b.")]


def row(n: int) -> Row:
    key = b"key %d" % n
    return n, b"orders", b"event", b"g", key, None, b"application/json", b"{}", 0, None, 0


class Wire:
    """Producers in memory."""

    transactions = None

    def __init__(self) -> None:
        self.reports = SimpleNamespace(
            demand_open=lambda: None, deadline=lambda: 0.0, held_seconds=0.0
        )
        self.refuses = False

    def begin(self) -> None: ...

    def purge(self) -> list[Any]:
        return []

    def end_after_refusal(self, *, alone: bool) -> list[Any]:
        return []

    def barrier(self, silent: object) -> None:
        if self.refuses:
            raise Refused


class Made:
    """A destination whose one topic is known."""

    def __init__(self, name: str, produce: Any) -> None:
        self.topics = SimpleNamespace(
            note_refused=lambda channel, why: None, is_temporary=lambda channel: False
        )
        topic = Topic(name, 1_000_000, compacted=False)
        route = SimpleNamespace(topic=topic, careful_bytes=900_000, producer=None, produce=produce)
        self.routes = {b"orders": route}

    def topic_of(self, channel: bytes) -> str:
        return channel.decode()

    def channels_of(self, topic: str, channels: object) -> list[bytes]:
        return []


class Destinations:
    """Topics of the same name behind two prefixes."""

    def __init__(self, **produce: Any) -> None:
        self._made = {f"{name}.": Made(f"{name}.orders", call) for name, call in produce.items()}

    def of(self, settings: SinkSettings) -> Any:
        return self._made[settings.topic_prefix]


def sink(wire: Wire, **produce: Any) -> KafkaSink:
    made = Destinations(**produce)
    return KafkaSink(cast(Any, wire), cast(Any, made), "/outbox", compressing=False)


def unknown_topic(*_: object) -> None:
    raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_topic_that_is_gone_moves_no_other_on(first: str) -> None:
    sent: list[object] = []
    calls = {"a": unknown_topic, "b": lambda *arguments: sent.append(arguments)}
    takers = (0, 1) if first == "a" else (1, 0)
    gone, other = sink(Wire(), **calls).deliver(
        [Page([row(1), row(2)], takers)], TAKERS, shared=True
    )
    for outcome in (gone, other):
        assert outcome.stopped is not None
        assert (outcome.stopped.message_id, outcome.messages, outcome.dead) == (0, 0, [])
    assert gone.stopped is not None
    assert gone.stopped.alone
    assert other.stopped is not None
    assert not other.stopped.alone


def test_of_a_run_of_which_a_batch_was_refused_nothing_counts_for_any() -> None:
    wire, sent = Wire(), list[object]()
    wire.refuses = True
    calls = {name: lambda *arguments: sent.append(arguments) for name in ("a", "b")}
    pages = [Page([row(1)], (0, 1)), Page([row(2)], (1,))]
    for outcome in sink(wire, **calls).deliver(pages, TAKERS, shared=True):
        assert outcome.stopped is not None
        assert (outcome.stopped.message_id, outcome.messages) == (0, 0)
        assert outcome.stopped.alone
    assert len(sent) == 3
