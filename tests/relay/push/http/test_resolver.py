"""From names to addresses: each is followed where it moves, and none holds up another."""

import asyncio
import socket
import threading
import time
from collections import Counter
from typing import Any

import pytest
import uvloop

from relay.push.http import pool, resolver
from relay.push.http.answer import Answer
from relay.push.http.guard import Guard
from relay.push.http.resolver import MAX_ADDRESSES, MAX_OF_A_KEY
from tests.receiver import Receiver
from tests.relay.push.http.requests import LOOPBACK, Client, Request
from tests.relay.push.http.requests import request as small

LOOPBACKS = Guard([*LOOPBACK, *[type(LOOPBACK[0])("127.0.0.0/8")]])


def info(address: str, port: int) -> Any:
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))


def ask(look_up: Any, *urls: str, timeout_seconds: float = 5.0) -> list[Answer]:
    return post(look_up, *(small(url, timeout_seconds=timeout_seconds) for url in urls))


def post(look_up: Any, *requests: Request) -> list[Answer]:
    """All at once."""

    async def several() -> list[Answer]:
        client = Client(LOOPBACKS, look_up)
        tasks = [client.post(request) for request in requests]
        got = await asyncio.gather(*tasks)
        await client.close()
        return got

    return uvloop.run(several())


def test_several_addresses_are_tried_in_turn() -> None:
    def look_up(host: str, port: int, **_: object) -> list[Any]:
        return [info("127.0.0.9", port), info("127.0.0.8", port), info("127.0.0.1", port)]

    with Receiver() as receiver:
        (answer,) = ask(look_up, f"http://hooks.example.com:{receiver.port}/")
        assert answer.error is None


def test_of_a_name_with_thousands_of_addresses_few_are_checked_and_dialled() -> None:
    checked: list[str] = []

    class Counting(Guard):
        def check(self, address: str) -> None:
            checked.append(address)
            super().check(address)

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        return [info("127.0.0.1", port) for _ in range(4_000)]

    async def once(url: str) -> Answer:
        client = Client(Counting([*LOOPBACK]), look_up)
        answer = await client.post(small(url))
        await client.close()
        return answer

    with Receiver() as receiver:
        answer = uvloop.run(once(f"http://hooks.example.com:{receiver.port}/"))
    assert answer.error is None
    assert len(checked) == MAX_ADDRESSES


def test_a_name_that_moves_is_followed_under_steady_traffic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within the two times together, which in truth are 40 s."""
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(pool, "MAX_AGE_SECONDS", 0.1)
    monkeypatch.setattr(resolver, "CACHE_SECONDS", 0.1)
    moved = threading.Event()

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        return [info("127.0.0.1", new.port if moved.is_set() else old.port)]

    async def steadily() -> None:
        client = Client(LOOPBACKS, look_up)
        url = "http://hooks.example.com:8000/"
        for _ in range(50):
            assert (await client.post(small(url))).error is None
        moved.set()
        deadline = time.monotonic() + 30
        while not new.requests and time.monotonic() < deadline:
            assert (await client.post(small(url))).error is None
        await client.close()

    with Receiver() as old, Receiver() as new:
        uvloop.run(steadily())
        assert len(old.requests) >= 50
        assert new.requests
    assert pool.MAX_AGE_SECONDS + resolver.CACHE_SECONDS < 60


def test_the_two_times_are_less_than_a_minute() -> None:
    assert pool.MAX_AGE_SECONDS + resolver.CACHE_SECONDS < 60


@pytest.mark.long
def test_names_that_are_never_answered_delay_no_other() -> None:
    over = threading.Event()

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        if host.startswith("hanging"):
            over.wait(30)
        return [info("127.0.0.1", port)]

    with Receiver() as receiver:
        hanging = [f"http://hanging-{number}.example:{receiver.port}/" for number in range(200)]
        good = f"http://hooks.example.com:{receiver.port}/"
        answers = ask(look_up, *hanging, good, timeout_seconds=3)
        over.set()
        assert answers[-1].error is None
        assert {answer.error for answer in answers[:-1]} == {"timeout"}


class Hanging:
    """Look-ups that end when they are told to; `most` were under way at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.under_way = self.most = 0
        self._over = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, host: str, port: int, **_: object) -> list[Any]:
        with self._lock:
            self.asked.append(host)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        if host.startswith("hanging"):
            self._over.wait(30)
        with self._lock:
            self.under_way -= 1
        return [info("127.0.0.1", port)]

    def end(self) -> None:
        self._over.set()


def hanging_names(count: int, owner: str | None) -> list[Request]:
    urls = [f"http://hanging-{number}.example:8000/" for number in range(count)]
    return [small(url, timeout_seconds=1, owner=owner) for url in urls]


def test_of_one_key_so_many_names_are_looked_up_at_once_and_others_find_theirs() -> None:
    """Also the very names that the key waits for."""
    look_up = Hanging()
    with Receiver() as receiver:
        good = f"http://hooks.example.com:{receiver.port}/"
        greedy = [*hanging_names(100, "greedy"), small(good, timeout_seconds=1, owner="greedy")]
        others = [small(good, owner=owner) for owner in (None, "another")]
        answers = post(look_up, *greedy, *others)
        look_up.end()
        assert [answer.error for answer in answers[-2:]] == [None, None]
    assert look_up.most <= MAX_OF_A_KEY + 2
    words = Counter(answer.error for answer in answers[:-2])
    assert words == {"timeout": MAX_OF_A_KEY, "no_connection": 101 - MAX_OF_A_KEY}


@pytest.mark.parametrize("owner", [None, "greedy"])
def test_so_many_names_are_looked_up_at_once_whosever_they_are(
    monkeypatch: pytest.MonkeyPatch, owner: str | None
) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOK_UPS", 4)
    look_up = Hanging()
    post(look_up, *hanging_names(20, owner), *hanging_names(20, "another"))
    look_up.end()
    assert look_up.most == 4


def test_who_waits_for_a_place_has_it_when_another_look_up_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "MAX_OF_A_KEY", 2)
    look_up = Hanging()
    with Receiver() as receiver:
        urls = [f"http://hooks-{number}.example:{receiver.port}/" for number in range(20)]
        answers = post(look_up, *(small(url, timeout_seconds=30, owner="key") for url in urls))
    assert {answer.error for answer in answers} == {None}
    assert look_up.most <= 2


def test_a_place_that_comes_free_goes_to_the_owner_with_the_fewest_look_ups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOK_UPS", 2)
    look_up = Hanging()

    async def in_turn() -> None:
        client = Client(LOOPBACKS, look_up)
        waiting = [asyncio.ensure_future(client.post(one)) for one in hanging_names(20, "greedy")]
        await asyncio.sleep(0)
        url = f"http://hooks.example.com:{receiver.port}/"
        good = asyncio.ensure_future(client.post(small(url, timeout_seconds=30)))
        await asyncio.sleep(0)
        look_up.end()
        assert (await good).error is None
        await asyncio.gather(*waiting)
        await client.close()

    with Receiver() as receiver:
        uvloop.run(in_turn())
    # Two were under way before it came.
    assert look_up.asked.index("hooks.example.com") == 2


def test_a_name_that_no_request_waits_for_any_more_is_not_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "MAX_OF_A_KEY", 1)
    look_up = Hanging()

    async def in_turn() -> Answer:
        client = Client(LOOPBACKS, look_up)
        await asyncio.gather(*(client.post(one) for one in hanging_names(20, "key")))
        look_up.end()
        good = f"http://hooks.example.com:{receiver.port}/"
        answer = await client.post(small(good, owner="key"))
        await client.close()
        return answer

    with Receiver() as receiver:
        assert uvloop.run(in_turn()).error is None
    assert look_up.asked == ["hanging-0.example", "hooks.example.com"]


def test_a_name_is_looked_up_once_at_a_time_however_many_ask() -> None:
    asked: list[str] = []

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        time.sleep(0.05)
        return [info("127.0.0.1", port)]

    with Receiver() as receiver:
        url = f"http://hooks.example.com:{receiver.port}/"
        answers = ask(look_up, *[url] * 50)
        assert {answer.error for answer in answers} == {None}
        assert len(asked) == 1


def test_who_runs_out_of_time_leaves_the_others_their_answer() -> None:
    def look_up(host: str, port: int, **_: object) -> list[Any]:
        time.sleep(0.3)
        return [info("127.0.0.1", port)]

    async def two(url: str) -> list[Answer]:
        client = Client(LOOPBACKS, look_up)
        urgent, patient = small(url, timeout_seconds=0.05), small(url)
        got = await asyncio.gather(*(client.post(one) for one in (urgent, patient)))
        await client.close()
        return got

    with Receiver() as receiver:
        first, second = uvloop.run(two(f"http://hooks.example.com:{receiver.port}/"))
        assert (first.error, second.error) == ("timeout", None)


@pytest.mark.parametrize("number", [socket.EAI_MEMORY, socket.EAI_SYSTEM])
def test_a_machine_that_can_not_ask_is_no_endpoints_failure(number: int) -> None:
    def look_up(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(number, "System error")

    assert ask(look_up, "http://hooks.example.com/")[0].error == "no_connection"


def test_a_name_that_is_none_is_a_failure() -> None:
    def look_up(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    (answer,) = ask(look_up, "http://hooks.example.com/?token=x")
    assert (answer.error, answer.detail) == ("dns", "hooks.example.com: Name or service not known")
