"""Connections are bounded over all endpoints, and running out of them is no endpoint's failure."""

import asyncio
import errno
import math
import socket
import threading
import time
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from relay.push.http import openings, pool, tcp
from relay.push.http.answer import Answer
from relay.push.http.client import Destination
from relay.push.http.guard import Guard
from relay.push.http.lines import lines
from relay.push.http.url import parse
from tests.relay.push.http.endpoint import OK, Script, endpoint, request, until_closed
from tests.relay.push.http.requests import LOOPBACK, Client
from tests.relay.push.http.requests import request as small


def answering(connection: socket.socket) -> None:
    while True:
        request(connection)
        connection.sendall(OK)


def when_set(others_wait: threading.Event, connection: socket.socket) -> None:
    while True:
        request(connection)
        others_wait.wait(20)
        connection.sendall(OK)


def hanging(connection: socket.socket) -> None:
    until_closed(connection, 60)


@pytest.mark.parametrize("hang", [1, 2, 3])
def test_endpoints_that_hang_leave_connections_to_one_that_answers(hang: int) -> None:
    async def beside(urls: list[str], good: str) -> list[Answer]:
        client = Client(Guard(LOOPBACK), most_connections=40)
        stuck = [
            asyncio.create_task(client.post(small(url, timeout_seconds=60)))
            for url in urls
            for _ in range(200)
        ]
        await asyncio.sleep(0)
        got = [await client.post(small(good, timeout_seconds=20)) for _ in range(30)]
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        await client.close()
        return got

    with ExitStack() as servers:
        urls = [servers.enter_context(endpoint(hanging)).url for _ in range(hang)]
        good = servers.enter_context(endpoint(answering))
        got = uvloop.run(beside(urls, good.url))
        assert [answer.error for answer in got] == [None] * 30


def test_there_are_never_more_connections_than_may_be() -> None:
    async def crowd(urls: list[str]) -> tuple[list[Answer], int]:
        client, most = Client(Guard(LOOPBACK), most_connections=8), 0

        async def one(url: str) -> Answer:
            nonlocal most
            answer = await client.post(small(url, timeout_seconds=30))
            most = max(most, len(client._pool._of))
            return answer

        got = await asyncio.gather(*(one(url) for _ in range(40) for url in urls))
        await client.close()
        return got, most

    with ExitStack() as servers:
        urls = [servers.enter_context(endpoint(answering)).url for _ in range(5)]
        got, most = uvloop.run(crowd(urls))
        assert {answer.error for answer in got} == {None}
        assert most <= 8


def test_of_an_endpoint_so_many_connections_are_opened_at_once() -> None:
    """Its handshakes hang; another endpoint's requests do not wait for them."""

    async def crowd(stuck: str, good: str) -> Answer:
        client = Client(Guard(LOOPBACK))
        hang = [
            asyncio.create_task(client.post(small(stuck, timeout_seconds=60))) for _ in range(200)
        ]
        await asyncio.sleep(0)
        answer = await client.post(small(good, timeout_seconds=20))
        for task in hang:
            task.cancel()
        await asyncio.gather(*hang, return_exceptions=True)
        await client.close()
        return answer

    with endpoint(hanging) as stuck, endpoint(answering) as good:
        url = stuck.url.replace("http:", "https:")
        assert uvloop.run(crowd(url, good.url)).error is None
        assert 0 < stuck.connections <= openings.FIRST_OPENING


def test_a_request_that_waits_to_open_a_connection_takes_one_that_rests_before_newcomers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though no further connection is ever open, and each answer brings the next request."""
    monkeypatch.setattr(openings, "MAX_OPENING", 2)
    others_wait = threading.Event()
    others_wait.set()

    async def crowd(url: str) -> list[str]:
        client = Client(Guard(LOOPBACK))
        order: list[str] = []
        all_came = asyncio.Event()

        def send(name: str, *following: str) -> None:
            def answered(_: Answer) -> None:
                order.append(name)
                if following:
                    send(*following)
                if len(order) == 4:
                    all_came.set()

            client.send(Destination(url, 60), lines({}), b"{}", math.inf, answered)

        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        await client.post(small(url))
        client._pool._endpoint(parse(url)).stays = True
        monkeypatch.setattr(client._pool._dialler, "dial", never)
        # While the one connection is at work two are being opened, and one waits.
        others_wait.clear()
        send("goes", "newcomer", "the next")
        for _ in range(openings.MAX_OPENING):
            send("hangs")
        send("waits")
        for _ in range(10):
            await asyncio.sleep(0)
        others_wait.set()
        await asyncio.wait_for(all_came.wait(), 20)
        await client.close()
        return order

    with endpoint(partial(when_set, others_wait)) as scarce:
        assert uvloop.run(crowd(scarce.url)) == ["goes", "waits", "newcomer", "the next"]


def test_a_request_that_waits_to_open_a_connection_takes_one_whose_trial_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a server that has no more to give until one of those that rest is closed."""
    monkeypatch.setattr(openings, "MAX_OPENING", 2)

    async def crowd(url: str) -> str | None:
        client = Client(Guard(LOOPBACK))

        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        await client.post(small(url))
        assert not client._pool._endpoint(parse(url)).stays
        monkeypatch.setattr(client._pool._dialler, "dial", never)
        hang = [asyncio.create_task(client.post(small(url))) for _ in range(2)]
        await asyncio.sleep(0)
        answer = await client.post(small(url))
        for task in hang:
            task.cancel()
        await client.close()
        return answer.error

    with endpoint(answering) as scarce:
        assert uvloop.run(crowd(scarce.url)) is None


def test_a_connection_that_rests_is_taken_though_another_endpoint_waits_for_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No more of its own may be opened, and it need not wait until one is."""
    monkeypatch.setattr(openings, "MAX_OPENING", 2)
    others_wait = threading.Event()
    others_wait.set()

    async def crowd(url: str, other: str) -> str | None:
        client = Client(Guard(LOOPBACK), most_connections=4)
        dial = client._pool._dialler.dial
        await client.post(small(url))
        client._pool._endpoint(parse(url)).stays = True

        async def never(origin: object, *rest: Any) -> None:
            if origin == parse(url).origin:
                await asyncio.Event().wait()
            await dial(origin, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(client._pool._dialler, "dial", never)
        # While the one connection is at work two are being opened.
        others_wait.clear()
        busy = [asyncio.create_task(client.post(small(url))) for _ in range(3)]
        for _ in range(10):
            await asyncio.sleep(0)
        others_wait.set()
        await busy[0]
        hang = [asyncio.create_task(client.post(small(other))) for _ in range(2)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert client._pool._waiting
        answer = await client.post(small(url))
        for task in (*busy, *hang):
            task.cancel()
        await client.close()
        return answer.error

    with endpoint(partial(when_set, others_wait)) as good, endpoint(hanging) as stuck:
        assert uvloop.run(crowd(good.url, stuck.url)) is None


def test_requests_without_a_pause_learn_too_that_connections_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So many that each connection is used again long before its trial would be over."""
    monkeypatch.setattr(pool, "MAX_ON_TRIAL", 3)

    async def steadily(url: str) -> bool:
        client = Client(Guard(LOOPBACK))
        at_last = time.monotonic() + 20 * pool.TRIAL_SECONDS
        learned = client._pool._endpoint(parse(url))
        while not learned.stays and time.monotonic() < at_last:
            assert (await client.post(small(url))).error is None
        await client.close()
        return learned.stays

    with endpoint(answering) as server:
        assert uvloop.run(steadily(server.url))


def test_who_gets_no_connection_in_time_has_sent_nothing() -> None:
    async def crowd(url: str) -> list[Answer]:
        client = Client(Guard(LOOPBACK), most_connections=3)
        got = await asyncio.gather(
            *(client.post(small(url, timeout_seconds=0.3)) for _ in range(5))
        )
        await client.close()
        return got

    with endpoint(hanging) as server:
        words = [str(answer.error) for answer in uvloop.run(crowd(server.url))]
        assert set(words) == {"no_connection", "timeout"}
        # When one is over another may just get its place, and have no time left to connect.
        assert server.connections <= words.count("timeout")


@pytest.mark.parametrize("number", sorted(tcp.LOCAL_ERRNOS))
def test_what_this_machine_has_no_more_of_is_no_endpoints_failure(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> socket.socket:
        raise OSError(number, "")

    async def once() -> Answer:
        client = Client(Guard(LOOPBACK))
        answer = await client.post(small("http://127.0.0.1:1025/"))
        await client.close()
        return answer

    monkeypatch.setattr(tcp, "socket", SimpleNamespace(socket=fail, AF_INET6=socket.AF_INET6))
    answer = uvloop.run(once())
    assert (answer.status, answer.error) == (None, "no_connection")
    assert errno.errorcode[number] not in answer.detail


def test_a_connection_that_was_given_up_while_it_was_made_leaves_nothing_behind() -> None:
    async def crowd(url: str) -> tuple[int, int]:
        client, answers = Client(Guard(LOOPBACK)), list[Answer]()
        for _ in range(20):
            client.send(Destination(url, 5.0), lines([]), b"", math.inf, answers.append)
        await asyncio.sleep(0)
        await client.close()
        return len(client._pool._of), len(answers)

    with endpoint(hanging) as server:
        assert uvloop.run(crowd(server.url)) == (0, 0)


def test_those_count_as_open_that_are_neither_dialled_nor_lost() -> None:
    async def counts(good: str, stuck: str) -> list[int]:
        client = Client(Guard(LOOPBACK))
        hangs = asyncio.create_task(client.post(small(stuck, timeout_seconds=60)))
        await client.post(small(good, timeout_seconds=20))
        # By now the first one has had its turns.
        open_ = [client._pool._opened(good), client._pool._opened(stuck)]
        hangs.cancel()
        await asyncio.gather(hangs, return_exceptions=True)
        for connection in list(client._pool._resting):
            client._pool._retire(connection)
        left = [client._pool._opened(good), client._pool._opened(stuck)]
        await client.close()
        return open_ + left

    with endpoint(answering) as good, endpoint(hanging) as stuck:
        assert uvloop.run(counts(good.url, stuck.url.replace("http:", "https:"))) == [1, 0, 0, 0]


def test_who_waits_for_a_connection_comes_before_whoever_asks_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the latter asks as soon as its connection is there again."""
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)
    came: list[str] = []

    def noting(name: str) -> Script:
        def speak(connection: socket.socket) -> None:
            while True:
                request(connection)
                came.append(name)
                connection.sendall(OK)

        return speak

    async def greedy(first: str, other: str) -> None:
        client, over = Client(Guard(LOOPBACK), most_connections=1), asyncio.Event()
        client.send(Destination(first, 30.0), lines([]), b"", math.inf, lambda _: again())
        # Once the connection is being opened, the other waits for it.
        for _ in range(3):
            await asyncio.sleep(0)
        client.send(Destination(other, 30.0), lines([]), b"", math.inf, lambda _: over.set())

        def again() -> None:
            client.send(Destination(first, 30.0), lines([]), b"", math.inf, lambda _: again())

        await over.wait()
        await client.close()

    with endpoint(noting("first")) as first, endpoint(noting("other")) as other:
        uvloop.run(greedy(first.url, other.url))
    assert came[:2] == ["first", "other"]
