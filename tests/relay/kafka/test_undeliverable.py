"""A sink that was closed while its thread was in a run confirms nothing of it."""

import threading
from collections.abc import Iterator

import pytest

from relay.kafka.cluster import kafka_sink
from relay.log.cursor import SinkSettings
from relay.log.message import Row
from relay.log.sink import Page, SinkAway
from relay.process.heartbeat import Heartbeat
from relay.settings import Settings
from tests.conftest import CreateTopic
from tests.topic_reader import read_topic

MESSAGES = 10


def row(n: int, channel: bytes) -> Row:
    key = b"key %d" % n
    return n, channel, b"test.event", b"g", key, None, b"application/json", b"{}", 0, None, 0


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_what_was_thrown_away_does_not_count_as_sent(
    kafka: str, create_topic: CreateTopic, topic_prefix: str, delivery: str
) -> None:
    topics = [create_topic("orders"), create_topic("others")]
    settings = Settings(
        database_url="postgresql://h/d",
        # Messages lie in the queue until the barrier.
        kafka={"bootstrap.servers": kafka, "linger.ms": "30000"},
        topic_prefix=topic_prefix,
    )
    sink = kafka_sink(settings, threading.Event(), Heartbeat(), SinkSettings(delivery))
    sink.open()
    if sink.transactions is not None:
        sink.transactions.fence(f"{topic_prefix}cursor")
        sink.transactions.own(1)
    # From here on the channel's topic is known.
    page, takers = Page([row(0, b"orders")], [0]), [SinkSettings(delivery)]
    (outcome,) = sink.deliver([page], takers)
    assert outcome.stopped is not None

    def pages() -> Iterator[Page]:
        yield Page([row(n, b"orders") for n in range(1, MESSAGES)], [0])
        sink.close()
        # The topic of this one has to be looked up, and the run ends before it.
        yield Page([row(MESSAGES, b"others")], [0])

    with pytest.raises(SinkAway, match="ended from outside"):
        sink.deliver(pages(), takers)
    assert [read_topic(kafka, topic) for topic in topics] == [[], []]
