"""Large bodies are decoded one at a time, each sender's in turn, and never before their turn."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.database.pool import Database
from service.fair_turns import asks_for
from service.problems import Problem
from service.settings import Settings
from service.web.bodies.decoding import SMALL_BYTES, Decoding

LARGE = bytes(SMALL_BYTES + 1)


def stage(pool_size: int, work: Callable[[Decoding], Awaitable[None]], seconds: float = 20) -> None:
    """Runs it with a database that nothing is asked."""

    async def run() -> None:
        settings = Settings(database_url="", pool_size=pool_size, database_timeout_seconds=seconds)
        async with asyncio.timeout(20):
            await work(Decoding(Database(settings)))

    asyncio.run(run())


def test_senders_have_their_turns_one_after_the_other() -> None:
    decoded: list[str] = []

    async def send(decoding: Decoding, sender: str) -> None:
        asks_for.set(sender)
        async with decoding.begin(LARGE, lambda _: decoded.append(sender)):
            pass

    async def crowd(decoding: Decoding) -> None:
        senders = ["crowd", "crowd", "crowd", "crowd", "honest"]
        await asyncio.gather(*[send(decoding, sender) for sender in senders])

    stage(8, crowd)
    assert decoded.index("honest") <= 2


def test_between_two_the_loop_does_everything_else() -> None:
    turns_at: list[int] = []
    turns = 0

    async def look_on() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def send(decoding: Decoding) -> None:
        async with decoding.begin(LARGE, lambda _: turns_at.append(turns)):
            pass

    async def crowd(decoding: Decoding) -> None:
        other = asyncio.create_task(look_on())
        await asyncio.gather(*[send(decoding) for _ in range(5)])
        other.cancel()

    stage(40, crowd)
    assert sorted(set(turns_at)) == turns_at


def test_what_is_decoded_waits_for_no_turn() -> None:
    """It takes many times the memory of its bytes."""
    decoded = 0

    def decode(_: bytes) -> None:
        nonlocal decoded
        decoded += 1

    async def crowd(decoding: Decoding) -> None:
        may_end, begun = asyncio.Event(), asyncio.Event()

        async def send() -> None:
            async with decoding.begin(LARGE, decode):
                begun.set()
                await may_end.wait()

        sent = [asyncio.create_task(send()) for _ in range(50)]
        await begun.wait()
        await asyncio.sleep(0)
        assert decoded == 1
        may_end.set()
        await asyncio.gather(*sent)

    stage(4, crowd)
    assert decoded == 50


def test_a_small_one_waits_for_no_large_one() -> None:
    async def both(decoding: Decoding) -> None:
        async with decoding.begin(LARGE, len), decoding.begin(LARGE[1:], len) as size:
            assert size == SMALL_BYTES

    stage(1, both)


def test_one_whose_turn_does_not_come_is_told_to_come_again() -> None:
    async def both(decoding: Decoding) -> None:
        async def send() -> None:
            async with decoding.begin(LARGE, len):
                raise AssertionError

        async with decoding.begin(LARGE, len):
            # In a task of its own, as each request is.
            await asyncio.create_task(send())

    with pytest.raises(Problem) as caught:
        stage(4, both, seconds=0.01)
    assert caught.value.status == 503


def test_one_that_is_refused_or_given_up_ends_its_turn() -> None:
    def refuse(_: bytes) -> None:
        raise Problem(422, "It does not fit.")

    async def three(decoding: Decoding) -> None:
        with pytest.raises(Problem):
            async with decoding.begin(LARGE, refuse):
                pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), decoding.begin(LARGE, len):
                await asyncio.Event().wait()
        async with decoding.begin(LARGE, len) as size:
            assert size == len(LARGE)

    stage(1, three)
