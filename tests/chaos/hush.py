"""A time in which nobody writes, asked for by whoever has something to do in it."""

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


class Hush:
    """Whoever writes heeds it before each transaction. `times`: when it was kept."""

    def __init__(self) -> None:
        self.times: list[Interval] = []
        self._lifted = threading.Event()
        self._lifted.set()

    @property
    def on(self) -> bool:
        """Whether nobody is to begin anything."""
        return not self._lifted.is_set()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Nobody begins anything; what is under way goes on to its end."""
        began = time.monotonic()
        self._lifted.clear()
        try:
            yield
        finally:
            self.times.append(Interval(began, time.monotonic()))
            self._lifted.set()

    def heed(self, stop: threading.Event) -> None:
        """Returns when writing is allowed, or nobody is to go on at all."""
        while not self._lifted.wait(LOOK_SECONDS) and not stop.is_set():
            pass
