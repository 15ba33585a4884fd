"""Answers that nobody takes: how much of them is held, and whose goes first."""

import uuid
from contextlib import ExitStack

import psycopg
import pytest

from service.platform import keys
from service.web.access.keys import Scope
from service.web.server.answers import SMALL_BYTES, Answers
from tests.eventually import eventually
from tests.service.raw import get
from tests.service.web.front import MEGABYTE, Front

SIZE = 1_000_000


class Client:
    """A connection whose client takes all of its answer, or nothing."""

    def __init__(self) -> None:
        self.unsent_bytes = 1
        self.is_dropped = False

    def drop_answer(self) -> None:
        self.is_dropped = True


def answer(answers: Answers, sender: str | None, size: int = SIZE) -> Client:
    client = Client()
    answers.written(client, sender, SMALL_BYTES + size)
    return client


def test_a_sender_that_holds_more_than_is_free_loses_its_oldest_answer() -> None:
    answers = Answers(10 * SIZE)
    others = answer(answers, None)
    crowd = [answer(answers, "crowd") for _ in range(10)]
    # Of ten parts the others hold one: four are the crowd's, and five are free.
    assert [one.is_dropped for one in crowd] == [True] * 6 + [False] * 4
    assert not others.is_dropped


def test_however_much_one_holds_there_is_room_for_the_next() -> None:
    answers = Answers(10 * SIZE)
    for _ in range(20):
        answer(answers, "crowd")
    assert not any(answer(answers, "next").is_dropped for _ in range(2))


def test_an_answer_that_was_taken_is_held_no_longer() -> None:
    answers = Answers(10 * SIZE)
    for _ in range(50):
        taken = answer(answers, "honest")
        taken.unsent_bytes = 0
        assert not taken.is_dropped
    left = [answer(answers, "honest") for _ in range(5)]
    answers.release(left[0])
    assert not any(one.is_dropped for one in (*left[1:], answer(answers, "honest")))


def test_small_answers_are_not_counted() -> None:
    answers = Answers(10 * SIZE)
    assert not any(answer(answers, None, 0).is_dropped for _ in range(1000))


@pytest.fixture
def megabyte(patient: Front) -> tuple[str, str, str]:
    """A path that answers with more than a megabyte, and two keys that may see it."""
    with psycopg.connect(patient.database_url, autocommit=True) as database:
        name = f"s{uuid.uuid4().hex}"
        subscribe = "select from outbox.subscribe(%s, 'c', 'https://receiver.example/')"
        database.execute(subscribe, [name])
        id_ = database.execute(
            """
            insert into outbox.dead_letter
                (subscription_id, cursor_id, message_id, priority, channel, type, idempotency_key,
                 content_type, payload, created_at, reason, detail, attempts)
            select subscription_id, cursor.id, 1, 3, 'c', 't', 'key', 'application/json',
                   convert_to(to_json(repeat('a', 950000))::text, 'UTF8'), now(), 'http_500', '', 1
            from outbox.subscription join outbox.cursor on subscription_id = subscription.id
            where name = %s and cursor.priority = 3
            returning id
            """,
            [name],
        ).fetchone()
        assert id_ is not None
        scopes: list[Scope] = ["read", "payloads"]
        mine, others = (keys.create(database, f"{name} {n}", scopes) for n in (1, 2))
    return f"/v1/dead-letters/{id_[0]}", mine, others


def test_answers_that_nobody_takes_fill_no_memory_and_end_none_of_others(
    patient: Front, megabyte: tuple[str, str, str]
) -> None:
    path, mine, others = megabyte
    ended = 'service_connections_ended_total{reason="too_many_answers"}'
    before = patient.memory()
    with ExitStack() as stack:
        slow = stack.enter_context(patient.raw(receive_buffer=4096))
        slow.send(get(path, f"Authorization: Bearer {others}"))
        for _ in range(120):
            greedy = stack.enter_context(patient.raw(receive_buffer=4096))
            greedy.send(get(path, f"Authorization: Bearer {mine}"))

        def counted() -> None:
            assert patient.metric(ended) >= 120 - 64

        eventually(counted, 20)
        assert patient.memory() - before < 100 * MEGABYTE
        status, content = slow.answer()
    assert (status, len(content) > 950_000) == (200, True)


def test_a_request_before_the_answer_was_taken_ends_the_connection_after_it(
    patient: Front, megabyte: tuple[str, str, str]
) -> None:
    """Its answer would be held besides the one before."""
    path, mine, _ = megabyte
    with patient.raw(receive_buffer=4096) as client:
        client.send(get(path, f"Authorization: Bearer {mine}"))
        client.some()
        content = client.send(get("/readyz")).rest()
    assert len(content) > 940_000
    assert b"HTTP/1.1" not in content
