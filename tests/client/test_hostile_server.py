"""A server that means harm, or is broken, gets so much time and memory, and no key for another."""

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from outbox_client import (
    AsyncOutbox,
    NotFound,
    Outbox,
    OutboxError,
    Problem,
    Unanswered,
    Unreadable,
    transport,
)
from tests.client.script import Answer, Script

SECONDS = 0.3
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"

Ask = Callable[[str], None]


def by_thread(url: str) -> None:
    with Outbox(url, "key", timeout_seconds=SECONDS, retry_seconds=0) as outbox:
        outbox.subscriptions.read("1")


def by_task(url: str) -> None:
    async def ask() -> None:
        async with AsyncOutbox(url, "key", timeout_seconds=SECONDS, retry_seconds=0) as outbox:
            await outbox.subscriptions.read("1")

    asyncio.run(ask())


both = pytest.mark.parametrize("ask", [by_thread, by_task])


@contextmanager
def dripping(at_once: bytes, drops: bytes) -> Iterator[str]:
    """Answers with what comes at once, and then with a byte now and then; its URL."""
    over = threading.Event()

    def serve() -> None:
        taken, _ = listener.accept()
        with taken:
            taken.sendall(at_once)
            for place in range(len(drops)):
                if over.wait(0.05):
                    return
                try:
                    taken.sendall(drops[place : place + 1])
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


@both
@pytest.mark.parametrize(
    ("at_once", "drops"),
    [(b"", HEAD * 2), (b"HTTP/1.1 200 OK\r\nx: ", b"x" * 200), (HEAD, b" " * 200)],
    ids=["from the beginning", "in a header", "in the body"],
)
def test_an_answer_that_drips_ends_with_the_time_of_one_attempt(
    ask: Ask, at_once: bytes, drops: bytes
) -> None:
    with dripping(at_once, drops) as url:
        began_at = time.monotonic()
        with pytest.raises(Unanswered):
            ask(url)
        assert time.monotonic() - began_at < 10 * SECONDS


@both
def test_a_handshake_that_does_not_end_sends_nothing(ask: Ask) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(Unanswered) as unanswered,
    ):
        ask(f"https://127.0.0.1:{silent.getsockname()[1]}")
    assert not unanswered.value.sent


def test_a_task_closes_the_connection_of_a_handshake_that_does_not_end() -> None:
    def hear_end(silent: socket.socket) -> None:
        """Raises TimeoutError where it stays open."""
        taken, _ = silent.accept()
        with taken:
            taken.settimeout(5)
            while taken.recv(65_536):
                pass

    async def ask(silent: socket.socket) -> None:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with AsyncOutbox(url, "key", timeout_seconds=SECONDS, retry_seconds=0) as outbox:
            with pytest.raises(Unanswered):
                await outbox.subscriptions.read("1")
            await asyncio.to_thread(hear_end, silent)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(ask(silent))


@both
@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 100_000,
        b'{"id": "\xff"}',
        b'{"id": 5}',
        b"[]",
        b"",
        b"<html>",
        b'{"id": "\\ud800"}',
    ],
    ids=["nested", "not UTF-8", "other type", "other shape", "nothing", "a page", "half a pair"],
)
def test_an_answer_that_is_none_is_said_to_be(ask: Ask, body: bytes) -> None:
    with Script(Answer(200, body)) as script, pytest.raises(Unreadable):
        ask(script.url)


@both
@pytest.mark.parametrize("status", [200, 503])
def test_what_is_packed_is_not_unpacked(ask: Ask, status: int) -> None:
    packed = gzip.compress(b" " * 10_000_000)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/problem+json"}
    with Script(Answer(status, packed, headers)) as script, pytest.raises(OutboxError):
        ask(script.url)
    assert script.requests[0].headers["accept-encoding"] == "identity"


@both
def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 10_000)
    with Script(Answer(200, b" " * 20_000)) as script, pytest.raises(Unreadable, match="larger"):
        ask(script.url)


@pytest.mark.parametrize(
    "after",
    [
        "9" * 400,
        "-1",
        "1e9",
        "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 01 Jan 0001 00:00:00 -0000",
        "Mon, 01 Jan 2001 00:00:00 +99999999999999999999",
        "\xb2",
    ],
)
def test_a_wait_that_is_absurd_is_not_waited_for(after: str) -> None:
    answer = Answer(503, b"", {"Retry-After": after})
    with Script(answer) as script, pytest.raises(Problem, match="503"):
        by_thread(script.url)


@both
def test_the_key_goes_to_no_host_that_an_answer_names(ask: Ask) -> None:
    with Script(Answer(200)) as other:
        moved = Answer(307, b"", {"Location": f"{other.url}/v1/subscriptions/1"})
        with Script(moved) as script, pytest.raises(Problem, match="307"):
            ask(script.url)
    assert other.requests == []


def test_no_cookie_is_kept_or_sent() -> None:
    tries = 3
    sets = [Answer(404, b"", {"Set-Cookie": f"n{n}=1; Path=/"}) for n in range(tries)]

    def by_one_client(url: str) -> int:
        with Outbox(url, "key") as outbox:
            for _ in range(tries):
                with pytest.raises(NotFound):
                    outbox.subscriptions.read("1")
            return len(outbox._transport._http.cookies)

    async def by_one_async_client(url: str) -> int:
        async with AsyncOutbox(url, "key") as outbox:
            for _ in range(tries):
                with pytest.raises(NotFound):
                    await outbox.subscriptions.read("1")
            return len(outbox._transport._http.cookies)

    with Script(*sets) as script:
        kept = by_one_client(script.url), asyncio.run(by_one_async_client(script.url))
    assert kept == (0, 0)
    assert len(script.requests) == 2 * tries
    assert not [one for one in script.requests if "cookie" in one.headers]


def test_a_list_that_leads_back_to_where_it_was_ends() -> None:
    page = Answer(200, b'{"items": [], "nextCursor": "5"}')
    with (
        Script(page) as script,
        Outbox(script.url, "key") as outbox,
        pytest.raises(Unreadable, match="nextCursor"),
    ):
        list(outbox.subscriptions.list())
    assert len(script.requests) == 2


def lone(outbox: Outbox | AsyncOutbox) -> None:
    """It has one connection at a time."""
    http: Any = outbox._transport._http
    http._transport._pool._max_connections = 1


def by_threads(url: str) -> None:
    with Outbox(url, "key", timeout_seconds=1.2, retry_seconds=0) as outbox:
        lone(outbox)
        with ThreadPoolExecutor(2) as threads:
            for asked in [threads.submit(outbox.subscriptions.pause, "1") for _ in range(2)]:
                with pytest.raises(Unreadable):
                    asked.result()


def by_tasks(url: str) -> None:
    async def ask() -> None:
        async with AsyncOutbox(url, "key", timeout_seconds=1.2, retry_seconds=0) as outbox:
            lone(outbox)
            asked = (outbox.subscriptions.pause("1") for _ in range(2))
            ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in ends] == [Unreadable] * 2

    asyncio.run(ask())


@pytest.mark.parametrize("ask", [by_threads, by_tasks])
def test_who_waits_for_a_connection_has_all_of_its_time_then(ask: Ask) -> None:
    with Script(Answer(200, b"{}", after_seconds=0.7)) as script:
        ask(script.url)
