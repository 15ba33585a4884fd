"""A pause of all writers, held by a fault that has to strike while nothing is written."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

LOOK_SECONDS = 0.1


class Interval(NamedTuple):
    """On the monotonic clock, in seconds."""

    began: float
    ended: float


class WritePause:
    """Writers wait it out before each transaction. `intervals`: when it was held."""

    def __init__(self) -> None:
        self.intervals: list[Interval] = []
        self._lifted = threading.Event()
        self._lifted.set()

    @property
    def is_on(self) -> bool:
        """Whether no writer is to begin a transaction."""
        return not self._lifted.is_set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """No writer begins a transaction; those under way go on to their ends."""
        began = time.monotonic()
        self._lifted.clear()
        try:
            yield
        finally:
            self.intervals.append(Interval(began, time.monotonic()))
            self._lifted.set()

    def wait_out(self, stop: threading.Event) -> None:
        """Returns when writing is allowed, or when `stop` is set."""
        while not self._lifted.wait(LOOK_SECONDS) and not stop.is_set():
            pass
