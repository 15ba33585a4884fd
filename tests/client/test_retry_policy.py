"""Which answers are waited out, for which requests, and for how long."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from outbox_client import (
    AsyncOutbox,
    NotFound,
    Outbox,
    Problem,
    Unanswered,
    Unavailable,
    Unreadable,
)
from outbox_client.retries import may_pass
from tests.client.script import Answer, Script

PUBLISHED = Answer(201, b'{"id": "7", "idempotencyKey": "k"}')
NOW = {"Retry-After": "0"}


def publish(outbox: Outbox) -> None:
    outbox.messages.publish(channel_id="c", type="paid", payload={"id": 7})


def rotate(outbox: Outbox) -> None:
    outbox.subscriptions.rotate_secret("1")


def delete(url: str) -> None:
    with Outbox(url, "key") as outbox:
        outbox.subscriptions.delete("1")


def delete_by_task(url: str) -> None:
    async def ask() -> None:
        async with AsyncOutbox(url, "key") as outbox:
            await outbox.subscriptions.delete("1")

    asyncio.run(ask())


Delete = Callable[[str], None]
deleting = pytest.mark.parametrize("delete", [delete, delete_by_task])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_publish_is_sent_again_to_the_letter_where_it_may_go_well_then(status: int) -> None:
    with (
        Script(Answer(status, headers=NOW), Answer(status), PUBLISHED) as script,
        Outbox(script.url, "key") as outbox,
    ):
        publish(outbox)
    first, second, third = script.requests
    assert first.headers["idempotency-key"]
    assert first == second == third


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_a_publish_that_is_refused_is_not_sent_again(status: int) -> None:
    with (
        Script(Answer(status)) as script,
        Outbox(script.url, "key") as outbox,
        pytest.raises(Problem),
    ):
        publish(outbox)
    assert len(script.requests) == 1


def test_what_would_have_a_second_effect_is_not_sent_again_after_a_503() -> None:
    # It may be the answer to a COMMIT that was not heard.
    with (
        Script(Answer(503, headers=NOW)) as script,
        Outbox(script.url, "key") as outbox,
        pytest.raises(Unavailable),
    ):
        rotate(outbox)
    assert len(script.requests) == 1


def test_what_was_refused_for_its_rate_is_sent_again_whatever_it_is() -> None:
    secret = Answer(200, b'{"secret": "whsec_x"}')
    with (
        Script(Answer(429, headers=NOW), secret) as script,
        Outbox(script.url, "key") as outbox,
    ):
        rotate(outbox)
    assert len(script.requests) == 2


def test_what_never_left_is_sent_again_whatever_it_is() -> None:
    # Nobody listens there any more.
    with Script(PUBLISHED) as script:
        url = script.url
    with (
        Outbox(url, "key", retry_seconds=0) as outbox,
        pytest.raises(Unanswered) as unanswered,
    ):
        rotate(outbox)
    assert may_pass(unanswered.value, repeatable=False)


def test_the_last_refusal_is_raised_when_the_time_is_over() -> None:
    with (
        Script(Answer(503)) as script,
        Outbox(script.url, "key", retry_seconds=0.4) as outbox,
        pytest.raises(Unavailable),
    ):
        publish(outbox)
    assert len(script.requests) > 1


@pytest.mark.parametrize("retry_after", ["90", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_no_request_comes_earlier_than_the_answer_asks_for(retry_after: str) -> None:
    answer = Answer(503, headers={"Retry-After": retry_after})
    with (
        Script(answer) as script,
        Outbox(script.url, "key", retry_seconds=60) as outbox,
        pytest.raises(Unavailable) as unavailable,
    ):
        publish(outbox)
    assert len(script.requests) == 1
    assert (unavailable.value.retry_after_seconds or 0) >= 90


@pytest.mark.parametrize("content", [b"<html>", b'{"id": 7}', b""])
def test_an_answer_that_is_not_the_apis_is_an_error_of_its_own(content: bytes) -> None:
    with (
        Script(Answer(201, content)) as script,
        Outbox(script.url, "key") as outbox,
        pytest.raises(Unreadable) as unreadable,
    ):
        publish(outbox)
    assert unreadable.value.request_key == script.requests[0].headers["idempotency-key"]


def test_a_service_that_says_nothing_is_waited_for_so_long_and_no_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Outbox(url, "key", timeout_seconds=0.1, retry_seconds=0) as outbox,
            pytest.raises(Unanswered, match="ReadTimeout") as unanswered,
        ):
            publish(outbox)
    assert unanswered.value.sent


def test_a_task_that_is_cancelled_sends_nothing_again() -> None:
    async def publish_within(url: str, seconds: float) -> None:
        async with AsyncOutbox(url, "key") as outbox, asyncio.timeout(seconds):
            await outbox.messages.publish(channel_id="c", type="paid", payload={"id": 7})

    with Script(Answer(503, headers={"Retry-After": "30"})) as script:
        with pytest.raises(TimeoutError):
            asyncio.run(publish_within(script.url, 0.5))
        assert len(script.requests) == 1


@deleting
def test_a_deletion_that_finds_nothing_is_done_where_an_earlier_attempt_may_have_done_it(
    delete: Delete,
) -> None:
    # The 429 between says nothing about the attempt before it.
    answers = (Answer(503), Answer(429, headers=NOW), Answer(404))
    with Script(*answers) as script:
        delete(script.url)
    assert len(script.requests) == 3


@deleting
def test_a_deletion_that_finds_nothing_after_one_that_was_refused_for_its_rate_found_nothing(
    delete: Delete,
) -> None:
    with Script(Answer(429, headers=NOW), Answer(404)) as script, pytest.raises(NotFound):
        delete(script.url)
    assert len(script.requests) == 2


def test_a_deletion_that_finds_nothing_after_one_that_found_no_connection_found_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = socket.create_connection
    refusals = [ConnectionRefusedError("nobody listens yet")]

    def once_refused(*args: Any, **kwargs: Any) -> socket.socket:
        if refusals:
            raise refusals.pop()
        return connect(*args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", once_refused)
    with Script(Answer(404)) as script, pytest.raises(NotFound):
        delete(script.url)
    assert refusals == []
