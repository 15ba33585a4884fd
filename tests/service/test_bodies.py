"""What is held of bodies that are being read is bounded, and so is how long one stands still."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.bodies import Bodies
from service.problems import Problem

KB = 1024


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
        async with asyncio.timeout(20), bodies.begin(0.05) as body:
            bodies.add(body, bytes(4000 * KB))
            await asyncio.Event().wait()

    assert refused(stall) == 408


def test_a_body_that_drips_is_ended() -> None:
    async def drip() -> None:
        bodies = Bodies()
        async with asyncio.timeout(20), bodies.begin(0.1) as body:
            while True:
                await asyncio.sleep(0.01)
                bodies.add(body, b"x")

    assert refused(drip) == 408


def test_where_all_hold_too_much_together_the_largest_is_ended_and_the_others_are_not() -> None:
    async def crowd() -> list[int]:
        bodies, may_end = Bodies(100 * KB), asyncio.Event()

        async def send(kilobytes: int) -> int:
            try:
                async with bodies.begin(60) as body:
                    bodies.add(body, bytes(kilobytes * KB))
                    await may_end.wait()
            except Problem as problem:
                return problem.status
            return len(body.bytes) // KB

        tasks = [asyncio.create_task(send(size)) for size in (10, 80, 20)]
        small = asyncio.create_task(send(1))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        may_end.set()
        return await asyncio.gather(*tasks, small)

    assert asyncio.run(crowd()) == [10, 503, 20, 1]


def test_what_has_been_read_is_held_no_longer() -> None:
    async def one_after_the_other() -> int:
        bodies = Bodies(100 * KB)
        for _ in range(50):
            async with bodies.begin(60) as body:
                bodies.add(body, bytes(90 * KB))
                await asyncio.sleep(0)
        return bodies._held_bytes

    assert asyncio.run(one_after_the_other()) == 0
