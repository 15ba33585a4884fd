"""A client that gets no answers any more gives way to a new one, and no session ends for it.

librdkafka forgets all brokers where their cluster says that it has none, as a lone broker does
while its controller counts it as gone, and such a client may never ask again.
"""

from collections.abc import Collection
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from relay.kafka import topics as module
from relay.kafka.asking_client import UNANSWERED_SECONDS, AskingClient
from relay.kafka.topic_names import TopicNames
from relay.kafka.topics import Topics


class Client:
    """Answers each question at once: that nobody answered, or, where it `sees`, that there is no
    such topic.
    """

    sees = False

    def list_topics(self, *_: object, **__: object) -> object:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def describe_topics(self, topics: Any, **_: object) -> dict[str, "Future[Any]"]:
        return {name: self._answer() for name in topics.topic_names}

    def describe_configs(self, resources: Collection[Any], **_: object) -> dict[Any, "Future[Any]"]:
        return {one: self._answer() for one in resources}

    def _answer(self) -> "Future[Any]":
        code = KafkaError.UNKNOWN_TOPIC_OR_PART if self.sees else KafkaError._TIMED_OUT
        answer: Future[Any] = Future()
        answer.set_exception(KafkaException(KafkaError(code)))
        return answer


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock."""
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def wait(topics: Topics, seconds: list[float], how_long: float) -> None:
    """A channel that waits asks once a second."""
    end = seconds[0] + how_long
    while seconds[0] < end:
        seconds[0] += 1
        assert topics.check_missing(b"orders")


class Clients:
    """All that were made; the latest is the one that asks."""

    def __init__(self) -> None:
        self.made: list[Client] = []
        asking = AskingClient(self._make)
        self.topics = Topics(asking, TopicNames(), "own")
        self.others = Topics(asking, TopicNames("other."), "own")

    def _make(self) -> Any:
        self.made.append(Client())
        return self.made[-1]


def test_a_channel_that_waits_gets_a_new_client_where_the_one_it_has_is_told_nothing(
    seconds: list[float],
) -> None:
    clients = Clients()
    wait(clients.topics, seconds, UNANSWERED_SECONDS - 1)
    assert len(clients.made) == 1
    wait(clients.topics, seconds, 5)
    _, latest = clients.made
    latest.sees = True
    wait(clients.topics, seconds, 10 * UNANSWERED_SECONDS)
    assert len(clients.made) == 2


def test_a_cluster_that_answers_nothing_for_long_gets_few_clients_however_many_ask(
    seconds: list[float],
) -> None:
    clients = Clients()
    for _ in range(20):
        wait(clients.topics, seconds, 5)
        wait(clients.others, seconds, 5)
    assert len(clients.made) <= 1 + 200 / UNANSWERED_SECONDS


def test_a_client_that_is_told_something_now_and_then_is_kept(seconds: list[float]) -> None:
    clients = Clients()
    [client] = clients.made
    for _ in range(5):
        client.sees = False
        wait(clients.topics, seconds, UNANSWERED_SECONDS - 2)
        client.sees = True
        wait(clients.topics, seconds, 3)
    assert clients.made == [client]
