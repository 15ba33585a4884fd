"""What is held of bodies is bounded until they are answered, and how long one stands still, too."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.problems import Problem
from service.settings import Settings
from service.web.bodies.held_bodies import Bodies, Body
from tests.eventually import eventually
from tests.service.shop import Shop, event

KB = 1024
MAX_BYTES = 160 * KB


def refused(work: Callable[[], Awaitable[object]]) -> int:
    """The status of the Problem that it ends with."""

    async def run() -> None:
        await work()

    with pytest.raises(Problem) as caught:
        asyncio.run(run())
    return caught.value.status


def test_a_body_that_came_fast_and_then_stands_still_is_ended_as_soon_as_any() -> None:
    """What it sent before buys no time: 4 MB would else be more than an hour."""

    async def stall() -> None:
        bodies = Bodies()
        async with asyncio.timeout(20), bodies.begin(None, 0.05) as body:
            bodies.add(body, bytes(4000 * KB))
            await asyncio.Event().wait()

    assert refused(stall) == 408


def test_a_body_that_drips_is_ended() -> None:
    async def drip() -> None:
        bodies = Bodies()
        async with asyncio.timeout(20), bodies.begin(None, 0.1) as body:
            while True:
                await asyncio.sleep(0.01)
                bodies.add(body, b"x")

    assert refused(drip) == 408


def test_where_a_sender_holds_too_much_his_slowest_is_ended_and_the_others_are_not() -> None:
    async def crowd() -> list[int]:
        bodies, may_end = Bodies(100 * KB), asyncio.Event()

        async def send(kilobytes: int, patience_seconds: float) -> int:
            try:
                async with bodies.begin(None, patience_seconds) as body:
                    bodies.add(body, bytes(kilobytes * KB))
                    await may_end.wait()
            except Problem as problem:
                return problem.status
            return len(body.take()) // KB

        # What is small is never ended, however slow.
        sent = [(10, 30), (30, 60), (30, 50), (50, 70)]
        tasks = [asyncio.create_task(send(*one)) for one in sent]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        may_end.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(crowd()) == [10, 30, 503, 50]


def test_one_whose_time_is_over_as_it_would_be_ended_is_no_fault_of_who_is_read() -> None:
    async def stall(bodies: Bodies, started: list[asyncio.Task[Body]]) -> None:
        async with bodies.begin(None, 0) as slow:
            bodies.add(slow, bytes(60 * KB))
            # It begins after the other's clock has rung, and before the other knows.
            started.append(asyncio.create_task(read(bodies, None, 60)))
            await asyncio.Event().wait()

    async def both() -> Body:
        started: list[asyncio.Task[Body]] = []
        with pytest.raises(Problem, match="more slowly"):
            await stall(Bodies(100 * KB), started)
        return await started[0]

    assert asyncio.run(both()).held_bytes == 44 * KB


async def read(bodies: Bodies, sender: int | None, kilobytes: int) -> Body:
    """One whose request waits to be answered."""
    async with bodies.begin(sender, 60) as body:
        bodies.add(body, bytes(kilobytes * KB))
    body.take()
    return body


def test_what_one_key_holds_keeps_no_other_out() -> None:
    """Each fills what it may; the next comes in all the same, and then has no more than others."""

    async def fill() -> list[int]:
        bodies, admitted = Bodies(1000 * KB), []
        for sender in (1, 2, 3, None):
            admitted.append(0)
            with suppress(Problem):
                while True:
                    await read(bodies, sender, 17)
                    admitted[-1] += 1
        assert bodies.free_bytes >= 0
        return admitted

    assert asyncio.run(fill()) == [500, 250, 125, 62]


def test_what_has_been_read_is_held_until_it_is_released() -> None:
    async def one_after_the_other() -> int:
        bodies = Bodies(100 * KB)
        for _ in range(50):
            first = await read(bodies, None, 60)
            with pytest.raises(Problem, match="at once"):
                await read(bodies, None, 50)
            # What is small is read all the same.
            second = await read(bodies, None, 16)
            for body in (second, first, first):
                bodies.release(body)
        return bodies.free_bytes

    assert asyncio.run(one_after_the_other()) == 100 * KB


def test_what_could_not_be_read_is_held_no_longer() -> None:
    async def fail() -> int:
        bodies = Bodies(100 * KB)
        for fault in (ValueError, Problem(413, "too large"), asyncio.CancelledError):
            with suppress(ValueError, Problem, asyncio.CancelledError):
                async with bodies.begin(None, 60) as body:
                    bodies.add(body, bytes(60 * KB))
                    raise fault
        return bodies.free_bytes

    assert asyncio.run(fail()) == 100 * KB


@pytest.mark.parametrize("waits", ["for a lock", "for a connection"])
def test_bodies_of_requests_that_wait_for_the_database_count_until_they_are_answered(
    database_url: str,
    database: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    waits: str,
) -> None:
    bodies = Bodies(MAX_BYTES)
    monkeypatch.setattr("service.app.Bodies", lambda: bodies)
    app = create_app(
        Settings(database_url=database_url, pool_size=1, database_timeout_seconds=60.0)
    )
    with (
        TestClient(app, raise_server_exceptions=False) as client,
        ThreadPoolExecutor(3) as callers,
        psycopg.connect(database_url) as holder,
    ):
        shop = Shop(client, database)
        order = shop.processing_order()
        holder.execute("select from sale.sale_order where id = %s for update", [order["id"]])

        def pay(kilobytes: int) -> tuple[int, str]:
            sent = event("ATTEMPT_SUCCESS", order=order["id"], paid="1")
            sent["padding"] = "x" * kilobytes * KB
            answer = shop.send(sent)
            return answer.status_code, answer.json().get("detail", "")

        def held(kilobytes: int) -> None:
            assert bodies.free_bytes <= MAX_BYTES - kilobytes * KB

        answers = []
        if waits == "for a connection":
            answers.append(callers.submit(pay, 20))
            eventually(lambda: held(4))
        answers.append(callers.submit(pay, 80))
        eventually(lambda: held(64))
        assert pay(50) == (503, "Too much is being sent at once; send it again.")
        holder.rollback()
        assert {answer.result(30) for answer in answers} == {(200, "")}
        eventually(lambda: none(bodies))
        assert pay(50) == (200, "")


def none(bodies: Bodies) -> None:
    assert bodies.free_bytes == MAX_BYTES
