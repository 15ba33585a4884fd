"""The server in place of Pub/Sub has Google's limits, keeps order, and loses nothing by a kill."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.pubsub_v1 import types

from local.pubsub import PubSub


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PubSub]:
    with PubSub.start(tmp_path) as server:
        yield server


def publish(server: PubSub, topic: str, *messages: dict[str, Any]) -> list[str]:
    request = types.PublishRequest(topic=topic, messages=messages)
    return list(server.publisher.publish(request, retry=None, timeout=10).message_ids)


def test_what_is_beyond_googles_limits_is_refused(server: PubSub) -> None:
    topic = server.create_topic("orders")
    beyond: list[list[dict[str, Any]]] = [
        [{"data": b"x", "ordering_key": "a"}, {"data": b"x", "ordering_key": "b"}],
        [{"data": b"x", "ordering_key": "a"}, {"data": b"x"}],
        [{"data": b"x"}] * 1001,
        [{"data": b"x" * 999_999}] * 11,
        [{}],
        [{"data": b"x", "ordering_key": "k" * 1025}],
        [{"attributes": {f"n{n}": "v" for n in range(101)}}],
        [{"attributes": {"n" * 257: "v"}}],
        [{"attributes": {"goog-n": "v"}}],
        [{"attributes": {"n": "v" * 1025}}],
    ]
    for messages in beyond:
        with pytest.raises(InvalidArgument):
            publish(server, topic, *messages)
    assert publish(server, topic, {"attributes": {"n": "v"}, "ordering_key": "k" * 1024}) == ["1"]


def test_of_a_key_nothing_is_given_out_before_what_is_ahead_of_it(server: PubSub) -> None:
    topic = server.create_topic("orders")
    subscription = server.subscribe("orders")
    for key in ("a", "b"):
        for number in (1, 2):
            data = f"{key}{number}".encode()
            publish(server, topic, {"data": data, "ordering_key": key})

    def taken(most: int) -> list[bytes]:
        said = server.subscriber.pull(subscription=subscription, max_messages=most, timeout=10)
        return [one.message.data for one in said.received_messages]

    assert taken(1) == [b"a1"]
    # What is taken and not acknowledged holds back its key alone.
    assert taken(10) == [b"b1", b"b2"]


def test_a_kill_loses_nothing_that_was_answered(server: PubSub) -> None:
    topic = server.create_topic("orders")
    subscription = server.subscribe("orders")
    publish(server, topic, {"data": b"1"}, {"data": b"2"})
    assert [one.data for one in server.pull(subscription, most=1)] == [b"1"]
    server.kill()
    server.launch()
    assert publish(server, topic, {"data": b"3"}) == ["3"]
    assert [one.data for one in server.pull(subscription)] == [b"2", b"3"]
