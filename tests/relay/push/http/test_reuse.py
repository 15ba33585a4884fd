"""Servers that close their connections: it costs no attempt, and no request goes twice."""

import asyncio
import socket
import threading
import time

import pytest
import uvloop

from relay.push.http import pool
from relay.push.http.answer import Answer
from relay.push.http.guard import Guard
from tests.relay.push.http.endpoint import OK, Script, endpoint, request, until_closed
from tests.relay.push.http.requests import LOOPBACK, Client
from tests.relay.push.http.requests import request as small

REQUESTS = 60


class Closing:
    """Answers, and closes the connection `seconds` later, after so many `answers` on it."""

    def __init__(self, seconds: float, answers: int = 1) -> None:
        self.got = 0
        self._seconds = seconds
        self._answers = answers
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket) -> None:
        for _ in range(self._answers):
            request(connection)
            with self._lock:
                self.got += 1
            connection.sendall(OK)
        time.sleep(self._seconds)


def sent(script: Script, pause_seconds: float, workers: int) -> tuple[list[Answer], int]:
    """The answers to REQUESTS requests, a pause before each, and how many connections it took."""

    async def send(url: str) -> list[Answer]:
        client, got = Client(Guard(LOOPBACK)), list[Answer]()

        async def work() -> None:
            for _ in range(REQUESTS // workers):
                await asyncio.sleep(pause_seconds)
                got.append(await client.post(small(url)))

        await asyncio.gather(*(work() for _ in range(workers)))
        await client.close()
        return got

    with endpoint(script) as server:
        return uvloop.run(send(server.url)), server.connections


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pause_seconds", [0.0, 0.003, 0.011])
@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.005, 0.02])
def test_a_server_that_closes_after_each_answer_costs_no_attempt(
    seconds: float, pause_seconds: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server on a busy machine closes later than it would; here the trial is longer than that.
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 60.0)
    script = Closing(seconds)
    got, _ = sent(script, pause_seconds, workers)
    assert [answer.error for answer in got] == [None] * REQUESTS
    assert script.got == REQUESTS


def test_the_trial_is_longer_than_servers_take_that_close_after_each_answer() -> None:
    assert pool.TRIAL_SECONDS >= 0.1


@pytest.mark.long
@pytest.mark.parametrize("blocking", [True, False], ids=["unread", "read"])
def test_a_server_that_closes_after_some_answers_costs_no_attempt(
    blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its connections had been used again and again before."""
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)
    closed = threading.Event()

    def speak(connection: socket.socket) -> None:
        for _ in range(10):
            request(connection)
            connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    async def send(url: str) -> list[Answer]:
        client, got = Client(Guard(LOOPBACK)), list[Answer]()
        for number in range(1, 31):
            got.append(await client.post(small(url)))
            if number % 10 == 0:
                if blocking:
                    closed.wait(10)
                else:
                    await asyncio.to_thread(closed.wait, 10)
                closed.clear()
        await client.close()
        return got

    with endpoint(speak) as server:
        assert [answer.error for answer in uvloop.run(send(server.url))] == [None] * 30
        assert server.connections >= 3


def keeping(connection: socket.socket) -> None:
    while True:
        request(connection)
        connection.sendall(OK)


def test_a_server_that_keeps_its_connections_is_soon_asked_over_few() -> None:
    _, connections = sent(keeping, 1.5 * pool.TRIAL_SECONDS, 10)
    # Each of the ten may begin one, and once more before any was seen to stay.
    assert connections <= 20


def known(*seen: tuple[str, float]) -> tuple[bool, float]:
    """Whether its connections stay, and how long a rest they may have, where this was seen."""
    endpoint_ = pool.Endpoint("https://a.example/")
    for what, seconds in seen:
        (endpoint_.stayed if what == "stayed" else endpoint_.ended)(seconds)
    return endpoint_.stays, endpoint_.rest_seconds


def test_what_is_known_of_an_endpoint_follows_what_it_does() -> None:
    assert known() == (False, 4.0)
    assert known(("stayed", 0.3)) == (True, 4.0)
    assert known(("stayed", 0.1)) == (False, 4.0)
    # What rested longer than half of what was seen to end is not used; nor is that for ever.
    assert known(("stayed", 0.3), ("ended", 0.3)) == (True, 0.15)
    assert known(("stayed", 0.3), ("ended", 0.001)) == (False, 0.0005)
    assert known(("stayed", 0.3), ("ended", 0.001), ("stayed", 3.0)) == (True, 1.5)


@pytest.mark.parametrize("how", ["reset", "cut"])
def test_a_close_with_the_request_under_way_is_a_failed_attempt_and_nothing_is_sent_again(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay can't know whether the endpoint took it."""
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)
    got: list[bytes] = []

    def speak(connection: socket.socket) -> None:
        got.append(request(connection))
        if len(got) == 1:
            connection.sendall(OK)
            got.append(request(connection))
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def both(url: str) -> list[Answer]:
        client = Client(Guard(LOOPBACK))
        first = await client.post(small(url))
        second = await client.post(small(url))
        await client.close()
        return [first, second]

    with endpoint(speak) as server:
        answers = uvloop.run(both(server.url))
        assert [answer.error for answer in answers] == [None, "disconnected"]
        assert (len(got), server.connections) == (2, 1)


def test_a_connection_is_not_used_for_ever_so_that_a_name_that_moves_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(pool, "MAX_AGE_SECONDS", 0.0)
    _, connections = sent(keeping, 0.0, 1)
    assert connections == REQUESTS


def test_idle_connections_are_closed_by_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(pool, "SWEEP_SECONDS", 0.01)
    closed = threading.Event()

    def speak(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(OK)
        until_closed(connection)
        closed.set()

    async def rest(url: str) -> bool:
        client = Client(Guard(LOOPBACK))
        await client.post(small(url))
        seen = await asyncio.to_thread(closed.wait, 10)
        await client.close()
        return seen

    with endpoint(speak) as server:
        assert uvloop.run(rest(server.url))
