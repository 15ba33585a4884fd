"""One deadline for everything, kept whatever else the loop has to do; none costs a timer."""

import asyncio
import math
import random
import selectors
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import uvloop

from relay.push.http import pool
from relay.push.http.answer import Answer
from relay.push.http.client import Destination
from relay.push.http.deadlines import CLOCK_SECONDS, TICK_SECONDS, Deadlines
from relay.push.http.guard import Guard
from relay.push.http.lines import lines
from tests.relay.push.http.endpoint import OK, endpoint, request, until_closed
from tests.relay.push.http.requests import LOOPBACK, Client
from tests.relay.push.http.requests import request as small

REQUESTS = 1000
SLOTS = 4


class Skipping(selectors.DefaultSelector):
    """Its loop's clock goes on by what the loop would wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class SkippingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = Skipping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


class Timed:
    def __init__(self, ends: Callable[[], None]) -> None:
        self.end_of_time = ends


def test_every_deadline_is_kept_within_a_tick_in_whatever_order_they_come() -> None:
    late: list[float] = []

    async def several() -> None:
        loop, deadlines, chance = asyncio.get_running_loop(), Deadlines(), random.Random(3)
        for _ in range(300):
            at = loop.time() + chance.choice([0.0, 0.01, 0.4, 15.0, 900.0]) * chance.random()

            def ends(at: float = at) -> None:
                late.append(loop.time() - at)

            deadlines.add(Timed(ends), at)
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random())
        await asyncio.sleep(1000.0)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(several())
    assert len(late) == 300
    assert min(late) >= 0.0
    assert max(late) <= TICK_SECONDS + CLOCK_SECONDS + 1e-6


def test_who_was_answered_has_no_deadline_and_what_it_does_at_one_sets_others() -> None:
    ended: list[str] = []

    async def several() -> None:
        loop, deadlines = asyncio.get_running_loop(), Deadlines()

        def ends() -> None:
            ended.append("first")
            deadlines.add(Timed(lambda: ended.append("second")), loop.time())

        answered = Timed(lambda: ended.append("answered"))
        deadlines.add(Timed(ends), 1.0)
        deadlines.add(answered, 1.0).discard(answered)
        await asyncio.sleep(2.0)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(several())
    assert ended == ["first", "second"]


def test_a_fault_at_one_deadline_keeps_no_other_from_its_own() -> None:
    ended: list[str] = []
    told: list[object] = []

    async def several() -> None:
        loop, deadlines = asyncio.get_running_loop(), Deadlines()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

        def ends() -> None:
            ended.append("")
            raise RuntimeError("broken")

        for at in (1.0, 1.0, 1.001, 2.0):
            deadlines.add(Timed(ends), at)
        await asyncio.sleep(3.0)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(several())
    assert (len(ended), len(told)) == (4, 4)


def flooding(connection: socket.socket) -> None:
    request(connection)
    while True:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 9000)


def dripping(connection: socket.socket) -> None:
    request(connection)
    connection.sendall(b"HTTP/1.1 200")
    until_closed(connection)


def test_a_deadline_is_kept_while_another_endpoint_floods() -> None:
    async def beside(flood: str, slow: str) -> Answer:
        client = Client(Guard(LOOPBACK))

        def again(_: Answer) -> None:
            client.send(Destination(flood, 5.0), lines([]), b"", math.inf, again)

        for _ in range(16):
            again(Answer(None, None, "", b"", None, None, 0.0))
        answer = await client.post(small(slow, timeout_seconds=0.3))
        await client.close()
        return answer

    with ExitStack() as servers:
        flood, slow = (servers.enter_context(endpoint(one)) for one in (flooding, dripping))
        answer = uvloop.run(beside(flood.url, slow.url))
        assert answer.error == "timeout"
        assert 0.3 <= answer.seconds < 3
        assert flood.connections > 1


class CountingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.made: Counter[str] = Counter()

    def create_task(self, *arguments: Any, **options: Any) -> Any:
        self.made["task"] += 1
        return super().create_task(*arguments, **options)

    def create_future(self) -> Any:
        self.made["future"] += 1
        return super().create_future()

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *arguments: Any, **options: Any
    ) -> Any:
        self.made["timer"] += 1
        return super().call_at(when, callback, *arguments, **options)


def answering(connection: socket.socket) -> None:
    while True:
        request(connection)
        connection.sendall(OK)


def test_requests_over_open_connections_make_no_task_no_future_and_no_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)
    loop = CountingLoop()

    async def several(url: str) -> Counter[str]:
        client, to = Client(Guard(LOOPBACK)), Destination(url, 600.0)
        # Each connection is opened once.
        await asyncio.gather(*(client.post(small(url)) for _ in range(SLOTS)))
        all_answered = loop.create_future()
        sent = answered = 0

        def send() -> None:
            nonlocal sent
            sent += 1
            client.send(to, lines([]), b"{}", math.inf, came)

        def came(answer: Answer) -> None:
            nonlocal answered
            assert answer.error is None
            answered += 1
            if sent < REQUESTS:
                send()
            elif answered == REQUESTS:
                all_answered.set_result(None)

        before = loop.made.copy()
        for _ in range(SLOTS):
            send()
        await all_answered
        made = loop.made - before
        await client.close()
        return made

    with endpoint(answering) as server, asyncio.Runner(loop_factory=lambda: loop) as runner:
        made = runner.run(several(server.url))
        assert server.connections == SLOTS
    assert (made["task"], made["future"]) == (0, 0)
    # The pool's looks, once a second; and the one timer of all deadlines, once a tick at most.
    assert made["timer"] < REQUESTS / 10
