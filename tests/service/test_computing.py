"""What takes long to compute: in turns, so that one sender's crowd holds up no other's for long."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from service import computing
from service.computing import Computing
from service.fair_turns import asks_for
from service.problems import Problem


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(bounded())


def of(sender: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    async def ask() -> None:
        asks_for.set(sender)
        await work

    return asyncio.create_task(ask())


def test_a_task_of_another_sender_waits_for_one_of_a_crowd_at_most() -> None:
    async def scenario() -> None:
        shared, order = Computing(), list[str]()

        async def task(sender: str) -> None:
            async with shared.task():
                await shared.run(order.append, sender)
                await shared.run(order.append, sender)

        crowd = [of("crowd", task("crowd")) for _ in range(5)]
        await asyncio.gather(*crowd, of("other", task("other")))
        assert order.index("other") <= 2
        assert order[:6].count("other") == 2
        shared.close()

    run(scenario())


def test_pieces_are_computed_one_at_a_time_and_not_on_the_loop() -> None:
    async def scenario() -> None:
        shared, at_once, most = Computing(), list[int](), list[int]()

        def piece() -> None:
            assert threading.current_thread() is not threading.main_thread()
            at_once.append(1)
            most.append(len(at_once))
            at_once.pop()

        await asyncio.gather(*(of(f"sender {n}", shared.run(piece)) for n in range(9)))
        assert most == [1] * 9
        shared.close()

    run(scenario())


def test_a_piece_that_nobody_waits_for_any_more_keeps_its_turn_until_its_end() -> None:
    async def scenario() -> None:
        shared, may_end = Computing(), threading.Event()

        def wait() -> None:
            assert may_end.wait(5)

        given_up = of("gone", shared.run(wait))
        await asyncio.sleep(0)
        following = of("next", shared.run(lambda: None))
        given_up.cancel()
        done, _ = await asyncio.wait([following], timeout=0.1)
        assert not done
        may_end.set()
        await following
        shared.close()

    run(scenario())


def test_who_gets_no_turn_in_time_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "PATIENCE_SECONDS", 0.05)

    async def scenario() -> None:
        shared = Computing()
        async with shared.task():
            with pytest.raises(Problem) as refused:
                async with shared.task():
                    pass
            assert refused.value.status == 503
        async with shared.task():
            await shared.run(lambda: None)
        shared.close()

    run(scenario())


def test_one_that_waits_can_be_refused_for_a_newcomer() -> None:
    async def scenario() -> None:
        shared = Computing()

        async def task() -> None:
            async with shared.task():
                pass

        assert not shared.refuse_one()
        async with shared.task():
            waiting = asyncio.create_task(task())
            await asyncio.sleep(0)
            assert shared.refuse_one()
            with pytest.raises(Problem):
                await waiting
        shared.close()

    run(scenario())
