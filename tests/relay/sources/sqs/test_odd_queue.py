"""A queue whose answers are odd stops nothing, and a long visibility delays nothing for long."""

from collections.abc import Callable
from typing import Any

import pytest

from relay.push.policy.settings import Queue as QueueSettings
from relay.sources.sqs import queue as module
from relay.sources.sqs.queue import MAX_VISIBILITY_SECONDS, MAX_WAITING, Queue

Opened = Callable[..., Queue]


class Client:
    """Says the same each time."""

    def __init__(self, attributes: dict[str, str], messages: list[dict[str, Any]]) -> None:
        self.asked: dict[str, Any] = {}
        self.requests = 0
        self._attributes = attributes
        self._messages = messages

    def attributes(self) -> dict[str, str]:
        return self._attributes

    def call(self, _: str, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        self.requests += 1
        return {"Messages": self._messages}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """A queue that has these attributes and messages."""

    def open_(*messages: dict[str, Any], **attributes: str) -> Queue:
        monkeypatch.setattr(module, "Client", lambda *_: Client(attributes, list(messages)))
        return Queue(QueueSettings(queue_url="https://q/1/orders"), None)  # type: ignore[arg-type]

    return open_


def asked_visibility(queue: Queue) -> object:
    queue.receive()
    client: Any = queue._client
    return client.asked["VisibilityTimeout"]


def message(sequence: object, body: str) -> dict[str, Any]:
    return {
        "MessageId": body,
        "ReceiptHandle": "h",
        "Body": body,
        "Attributes": {"SequenceNumber": sequence},
    }


def test_what_a_killed_relay_had_is_seen_again_soon_whatever_the_queue_says(opened: Opened) -> None:
    assert asked_visibility(opened(VisibilityTimeout="43200")) == MAX_VISIBILITY_SECONDS
    assert asked_visibility(opened(VisibilityTimeout="60")) == 60
    assert asked_visibility(opened(VisibilityTimeout="0")) == 5


@pytest.mark.parametrize("odd", ["²", "٣", "-1", "1" * 5000, "", "x"])
def test_what_is_no_number_is_none(opened: Opened, odd: str) -> None:
    queue = opened(message(odd, "a"), VisibilityTimeout=odd, ApproximateNumberOfMessages=odd)
    assert asked_visibility(queue) == 30
    assert queue.waiting() is None
    assert [one.sequence for one in queue.receive()] == [0]


def test_more_messages_than_the_database_counts_are_as_many_as_it_does(opened: Opened) -> None:
    assert opened(ApproximateNumberOfMessages="9" * 30).waiting() == MAX_WAITING


def test_a_batch_of_a_fifo_queue_is_in_the_order_of_its_long_numbers(opened: Opened) -> None:
    first, second = "18849496460467696128", "18849496460467696129"
    queue = opened(message(second, "b"), message(first, "a"))
    assert [one.record.value for one in queue.receive()] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("attributes", "most"),
    [
        ({"MaximumMessageSize": "262144"}, 8),
        ({"MaximumMessageSize": "1048576"}, 3),
        ({"MaximumMessageSize": "9" * 30}, 1),
        ({"MaximumMessageSize": "0"}, 8),
        # Who may not ask knows what all queues take.
        ({}, 3),
    ],
)
def test_few_are_in_memory_at_once_where_messages_may_be_large(
    opened: Opened, attributes: dict[str, str], most: int
) -> None:
    """Who sends many small ones and then large ones could else have a relay's memory, and with it
    all that it delivers.
    """
    queue = opened(*[message("1", "v")] * 10, **attributes)
    client: Any = queue._client
    counts: list[int] = []
    for _ in range(6):
        before = client.requests
        queue.receive()
        counts.append(client.requests - before)
    assert max(counts) == most
