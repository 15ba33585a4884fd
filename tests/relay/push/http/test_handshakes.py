"""Handshakes are computed by turns, and whoever had one rests after it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from relay.push.http.handshakes import LONG_REST, ORDINARY_SECONDS, Handshakes

LONG_SECONDS = 100.0


class Steps:
    """Those that were taken, by name; each costs so much on the clock of the processor."""

    def __init__(self) -> None:
        self.handshakes = Handshakes()
        self.taken: list[str] = []
        self.rests: list[float] = []
        self.seconds = 0.0

    def add(self, whose: str, name: str, cost_seconds: float = 0.0) -> None:
        self.handshakes.add(whose, lambda: self._take(name, cost_seconds))

    def _take(self, name: str, cost_seconds: float) -> None:
        self.taken.append(name)
        self.seconds += cost_seconds


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Plays on a loop; every rest is written down, and lasts one turn unless it is long."""

    def run(on_loop: Callable[[Steps], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            loop, steps = asyncio.get_running_loop(), Steps()
            call_later = loop.call_later

            def rest(seconds: float, *call: Any) -> asyncio.Handle:
                steps.rests.append(seconds)
                if seconds < LONG_SECONDS:
                    return loop.call_soon(*call)
                return call_later(seconds, *call)

            monkeypatch.setattr(loop, "call_later", rest)
            monkeypatch.setattr("time.thread_time", lambda: steps.seconds)
            await on_loop(steps)

        asyncio.run(main())

    return run


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_steps_take_as_long_in_a_turn_as_everything_else_and_no_less_than_one_may(
    play: Callable[..., None],
) -> None:
    async def on_loop(steps: Steps) -> None:
        for number in range(50):
            steps.add(f"owner {number}", f"step {number}", ORDINARY_SECONDS / 2)
        taken = []
        for others in (0.0, 0.0, 5.0, 5.0, 0.0):
            await turns(1)
            taken.append(len(steps.taken))
            steps.seconds += others * ORDINARY_SECONDS
        assert taken == [2, 4, 6, 16, 26]
        assert steps.taken == [f"step {number}" for number in range(26)]

    play(on_loop)


def test_those_who_wait_take_turns_however_many_steps_each_has(play: Callable[..., None]) -> None:
    async def on_loop(steps: Steps) -> None:
        for number in range(20):
            steps.add("a", f"a{number}")
        steps.add("b", "b0")
        await turns(1)
        assert steps.taken == ["a0", "b0", *(f"a{number}" for number in range(1, 20))]

    play(on_loop)


def test_who_took_long_rests_with_all_its_handshakes_and_no_other_does(
    play: Callable[..., None],
) -> None:
    async def on_loop(steps: Steps) -> None:
        steps.add("a", "a0", LONG_SECONDS)
        steps.add("a", "a1")
        steps.add("b", "b0")
        await turns(10)
        steps.add("a", "a2")
        steps.add("c", "c0")
        await turns(10)
        assert steps.taken == ["a0", "b0", "c0"]

    play(on_loop)


def test_an_ordinary_step_is_followed_by_no_rest_and_a_long_one_by_a_longer(
    play: Callable[..., None],
) -> None:
    async def on_loop(steps: Steps) -> None:
        for seconds in (ORDINARY_SECONDS / 2, 3 * ORDINARY_SECONDS):
            steps.add("a", "step", seconds)
        await turns(10)
        assert steps.rests == pytest.approx([LONG_REST * 3 * ORDINARY_SECONDS])

    play(on_loop)


def test_who_waits_for_others_makes_them_late_and_who_rests_does_not(
    play: Callable[..., None],
) -> None:
    async def on_loop(steps: Steps) -> None:
        handshakes = steps.handshakes
        assert handshakes.late_seconds == 0
        steps.add("a", "a0", LONG_SECONDS)
        steps.add("a", "a1")
        assert handshakes.late_seconds > 0
        assert not handshakes.is_resting("a")
        await turns(10)
        assert steps.taken == ["a0"]
        assert handshakes.late_seconds == 0
        assert handshakes.is_resting("a")

    play(on_loop)


def test_a_step_that_fails_ends_no_other_and_nothing_is_left_of_those_that_are_over(
    play: Callable[..., None],
) -> None:
    async def on_loop(steps: Steps) -> None:
        failed: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))

        def fail() -> None:
            raise LookupError

        steps.handshakes.add("a", fail)
        steps.add("a", "a1")
        steps.add("b", "b0")
        await turns(20)
        assert sorted(steps.taken) == ["a1", "b0"]
        assert [type(one) for one in failed] == [LookupError]
        assert vars(steps.handshakes) == vars(Handshakes())

    play(on_loop)
