"""Handshakes, and what else TLS may compute for long on the loop of all endpoints: by turns."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable

# A step takes no longer of a processor where the endpoint has such certificates as most have: those
# over P-256 or RSA 1 ms, over P-384 up to 2.5. Whose step was longer takes none for so many times
# as long.
ORDINARY_SECONDS = 0.004
LONG_REST = 9


class Handshakes:
    """Used on one event loop.

    However many have something to compute, in each turn of the loop their steps take together as
    long as everything else took, and no less than an ordinary step may. Those who wait have one
    after the other; whoever took long rests after it, with all its handshakes.
    """

    def __init__(self) -> None:
        # Of those who wait for their turn or rest.
        self._steps: dict[Hashable, deque[Callable[[], None]]] = {}
        # Who waits for a turn, and since when.
        self._turns: deque[tuple[Hashable, float]] = deque()
        self._resting: set[Hashable] = set()
        # While any wait, their next turn is due; everything else has the loop since the last one.
        self._is_due = False
        self._ended_at = 0.0

    @property
    def late_seconds(self) -> float:
        """How long the first of those who wait has waited by now."""
        return time.monotonic() - self._turns[0][1] if self._turns else 0.0

    def is_resting(self, whose: Hashable) -> bool:
        """Whether its steps wait because one of its own took long, and for nobody else's."""
        return whose in self._resting

    def add(self, whose: Hashable, step: Callable[[], None]) -> None:
        """Takes this step later; those of one in the order in which they came."""
        if whose in self._steps:
            self._steps[whose].append(step)
        else:
            self._steps[whose] = deque([step])
            self._wait(whose)

    def _wait(self, whose: Hashable) -> None:
        self._turns.append((whose, time.monotonic()))
        if not self._is_due:
            self._is_due = True
            self._ended_at = time.thread_time()
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        # Of the processor: what this thread waits for meanwhile is nobody's fault.
        now = time.thread_time()
        ends_at = now + max(now - self._ended_at, ORDINARY_SECONDS)
        while self._turns and now < ends_at:
            whose, _ = self._turns.popleft()
            self._take(self._steps[whose].popleft())
            began_at, now = now, time.thread_time()
            self._end(whose, now - began_at)
        self._ended_at = now
        self._is_due = bool(self._turns)
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._turn)

    def _take(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as fault:
            # The others have their turns as well.
            context = {"message": "a step of TLS failed", "exception": fault}
            asyncio.get_running_loop().call_exception_handler(context)

    def _end(self, whose: Hashable, seconds: float) -> None:
        if seconds > ORDINARY_SECONDS:
            self._resting.add(whose)
            asyncio.get_running_loop().call_later(LONG_REST * seconds, self._go_on, whose)
        else:
            self._go_on(whose)

    def _go_on(self, whose: Hashable) -> None:
        self._resting.discard(whose)
        if self._steps[whose]:
            self._wait(whose)
        else:
            del self._steps[whose]
