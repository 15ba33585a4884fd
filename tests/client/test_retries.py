"""What is sent again has one effect, and what would have two is not sent again."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from outbox_client import (
    AsyncOutbox,
    Conflict,
    Message,
    NotFound,
    Outbox,
    Published,
    Unanswered,
)
from tests.client.service import Service
from tests.proxy import Proxy

PUBLISHES = 24


@pytest.fixture
def wire(service: Service) -> Iterator[Proxy]:
    """What may lose answers, between the client and the service."""
    with Proxy(service.port) as proxy:
        yield proxy


@pytest.fixture
def losing(wire: Proxy, service: Service) -> Iterator[Outbox]:
    with Outbox(wire.url(service.url), service.key) as outbox:
        yield outbox


def lose_first(wire: Proxy) -> list[bytes]:
    """Loses the first answer; how each begins is noted."""
    answers: list[bytes] = []

    def hear(piece: bytes) -> None:
        if piece.startswith(b"HTTP/"):
            answers.append(piece[:12])
            if len(answers) == 1:
                wire.cut()

    wire.hear = hear
    return answers


class Murderer:
    """Loses every fifth piece of an answer, and kills the service (kill -9) at the eighth."""

    def __init__(self, wire: Proxy, service: Service) -> None:
        self.deaths = 0
        self.losses = 0
        self._heard = 0
        self._wire = wire
        self._service = service
        self._lock = threading.Lock()

    def hear(self, _: bytes) -> None:
        with self._lock:
            self._heard += 1
            if self._heard == 8:
                self.deaths += 1
                self._service.program.kill()
                self._wire.cut()
                self._service.program.launch()
            elif self._heard % 5 == 0:
                self.losses += 1
                self._wire.cut()


@pytest.mark.long
def test_publishes_have_one_effect_each_while_answers_are_lost_and_the_service_is_killed(
    service: Service, wire: Proxy, losing: Outbox
) -> None:
    """Half of them by threads, the others by tasks at the same time."""
    murderer = Murderer(wire, service)
    wire.hear = murderer.hear
    channel = service.name()

    def publish(n: int) -> Published:
        return losing.messages.publish(channel_id=channel, type="paid", payload={"n": n})

    async def publish_all(numbers: Sequence[int]) -> list[Published]:
        async with AsyncOutbox(wire.url(service.url), service.key) as outbox:
            return await asyncio.gather(
                *(
                    outbox.messages.publish(channel_id=channel, type="paid", payload={"n": n})
                    for n in numbers
                )
            )

    by_threads, by_tasks = range(PUBLISHES // 2), range(PUBLISHES // 2, PUBLISHES)
    with ThreadPoolExecutor(4) as threads:
        tasks = threads.submit(lambda: asyncio.run(publish_all(by_tasks)))
        published = [*threads.map(publish, by_threads), *tasks.result()]
    stored = {int(json.loads(payload)["n"]): id_ for id_, payload in service.published(channel)}
    assert len(service.published(channel)) == PUBLISHES
    assert stored == {n: one.id for n, one in enumerate(published)}
    assert murderer.deaths == 1
    assert murderer.losses > 1


def test_several_messages_whose_answer_is_lost_are_published_once_in_their_order(
    service: Service, wire: Proxy, losing: Outbox
) -> None:
    answers = lose_first(wire)
    channel = service.name()
    messages = [Message(channel_id=channel, type="paid", payload=n) for n in range(3)]
    published = losing.messages.publish_transactional(messages)
    assert service.published(channel) == [(one.id, str(n)) for n, one in enumerate(published)]
    assert len(answers) == 2


def test_a_publish_with_a_key_that_was_given_is_the_same_publish_later(
    service: Service, outbox: Outbox
) -> None:
    channel = service.name()
    published = [
        outbox.messages.publish(
            channel_id=channel, type="paid", payload=1, request_key=f"{channel}-1"
        )
        for _ in range(2)
    ]
    assert published[0] == published[1]
    with pytest.raises(Conflict) as refused:
        outbox.messages.publish(
            channel_id=channel, type="paid", payload=2, request_key=f"{channel}-1"
        )
    assert refused.value.request_key == f"{channel}-1"
    assert len(service.published(channel)) == 1


def test_a_new_subscription_whose_answer_is_lost_is_not_asked_for_again(
    service: Service, wire: Proxy, losing: Outbox, outbox: Outbox
) -> None:
    answers = lose_first(wire)
    name = service.name()
    with pytest.raises(Unanswered) as lost:
        losing.subscriptions.create(channel_id=name, endpoint="https://shop.example/", name=name)
    assert lost.value.sent
    assert len(answers) == 1
    assert [one.name for one in outbox.subscriptions.list() if one.name == name] == [name]


def test_a_deletion_whose_answer_is_lost_is_done(
    service: Service, wire: Proxy, losing: Outbox, outbox: Outbox
) -> None:
    name = service.name()
    made = outbox.subscriptions.create(channel_id=name, endpoint="https://shop.example/", name=name)
    answers = lose_first(wire)
    losing.subscriptions.delete(made.id)
    assert len(answers) == 2
    with pytest.raises(NotFound):
        losing.subscriptions.delete(made.id)
