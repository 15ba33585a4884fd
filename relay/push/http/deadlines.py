"""When the time of requests is over: one timer for all of them."""

import asyncio
from typing import Protocol

# A request ends no sooner than its deadline, and no later than these two after it.
TICK_SECONDS = 0.025
# What the loop's clock counts in: a timer may be as much too early.
CLOCK_SECONDS = 0.001


class Timed(Protocol):
    """What has a deadline."""

    def end_of_time(self) -> None:
        """It is over."""


class Deadlines:
    """Those of one event loop; used on it.

    Sorted by ticks, whatever the order in which they come. To have one costs no timer: the one
    timer is set to the first tick, and goes on to the next of those by then under way.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ticks: dict[int, set[Timed]] = {}
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: Timed, at: float) -> set[Timed]:
        """Ends it after `at`, of the loop's clock, unless it leaves the set that is returned."""
        tick = int(at / TICK_SECONDS) + 1
        due = self._ticks.get(tick)
        if due is None:
            due = self._ticks[tick] = set()
            self._set_timer(tick)
        due.add(one)
        return due

    def close(self) -> None:
        """Nothing more is ended."""
        self._ticks.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, tick: int) -> None:
        if self._timer is not None:
            if self._next <= tick:
                return
            self._timer.cancel()
        self._next = tick
        self._timer = self._loop.call_at(tick * TICK_SECONDS + CLOCK_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = max(self._next, int(self._loop.time() / TICK_SECONDS))
        ticks = self._ticks
        # Those that answers have emptied go with them.
        self._ticks = {tick: due for tick, due in ticks.items() if tick > now and due}
        if self._ticks:
            self._set_timer(min(self._ticks))
        for tick in sorted(tick for tick in ticks if tick <= now):
            due = ticks[tick]
            while due:
                self._end(due.pop())

    def _end(self, one: Timed) -> None:
        try:
            one.end_of_time()
        except Exception as fault:
            # The others' time is over as well.
            context = {"message": "a request's end failed", "exception": fault}
            self._loop.call_exception_handler(context)
