"""What takes long to compute, and not in a process of its own: schemas, and documents of many."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from service.fair_turns import CrowdedError, Turns, asks_for
from service.problems import unavailable

# For a turn. A piece takes some seconds at most.
PATIENCE_SECONDS = 20.0
# What one task holds in memory may be some megabytes.
TASKS = 2
# So long the event loop waits for the thread whenever it has something to do: each request does so
# some ten times. Python's own 5 ms would be seen.
SWITCH_SECONDS = 0.0005

P = ParamSpec("P")
Result = TypeVar("Result")


class Computing:
    """Tasks, two at once and one of each sender; and their pieces, one at a time, of each in turn.

    Sender is who `asks_for` it. Threads of Python run one at a time. So after each piece everything
    else has as much time as that one took.
    """

    def __init__(self) -> None:
        self._tasks = Turns(TASKS, kept=1)
        self._pieces = Turns(1, kept=0)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="computing")

    @asynccontextmanager
    async def task(self) -> AsyncIterator[None]:
        """A turn for all that a task reads, computes and holds. Raises Problem 503."""
        name = asks_for.get()
        await _take(self._tasks, name)
        try:
            yield
        finally:
            self._tasks.end(name)

    async def run(self, work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """What a piece of a task returns, or raises. Raises Problem 503."""
        name = asks_for.get()
        await _take(self._pieces, name)
        loop = asyncio.get_running_loop()
        started = time.perf_counter()

        def end(_: Future[Result]) -> None:
            elapsed = time.perf_counter() - started
            loop.call_soon_threadsafe(loop.call_later, elapsed, self._pieces.end, name)

        # It has its turn until its end, also where nobody waits for that any more.
        computed = self._thread.submit(work, *args, **kwargs)
        computed.add_done_callback(end)
        return await asyncio.wrap_future(computed)

    def refuse_one(self) -> bool:
        """Ends the wait of one of those that most wait beside; False where none waits."""
        return self._tasks.refuse_one()

    def close(self) -> None:
        """Nobody asks any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


async def _take(turns: Turns, name: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await turns.take(name)
    except (TimeoutError, CrowdedError):
        detail = "Too many wait for what takes long to compute; send the request again."
        raise unavailable(detail) from None
