"""Signs of life of a thread that calls what may never return: librdkafka, whatever its timeouts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A thread that did not look for so long was held up itself: its process or machine stood still, or
# the database did that it waited for.
MAX_LOOK_SECONDS = 5.0


def nothing() -> None:
    """Where there is nothing to let go of."""


class Heartbeat:
    """Of one session's thread; read by another. `let_go` ends from outside what the thread holds.

    No beat is expected before `watch`, since other sessions call nothing of the kind.
    """

    def __init__(self) -> None:
        self.let_go: Callable[[], None] = nothing
        self._watched = False
        self._beat_at: float | None = None

    def watch(self) -> None:
        """From now on beats are expected while there is work."""
        self._watched = True
        self.beat()

    def beat(self) -> None:
        """The thread gets on. Each wait for the cluster begins with this, and has a deadline."""
        if self._watched:
            self._beat_at = time.monotonic()

    def rest(self) -> None:
        """There is no work."""
        self._beat_at = None

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """In here the thread calls something else, which may well take longer: the database."""
        beat_at, self._beat_at = self._beat_at, None
        try:
            yield
        finally:
            if beat_at is not None:
                self.beat()

    @property
    def still_seconds(self) -> float:
        """Since the last beat; 0 where none is expected."""
        beat_at = self._beat_at
        return 0.0 if beat_at is None else time.monotonic() - beat_at


class Watch:
    """Looks at heartbeats every few seconds. Time in which it did not look is not counted."""

    def __init__(self) -> None:
        self._looked_at = self._since = time.monotonic()

    def look(self) -> None:
        """A look at all of them begins."""
        now = time.monotonic()
        if now > self._looked_at + MAX_LOOK_SECONDS:
            self._since = now
        self._looked_at = now

    def still_seconds(self, seconds: float) -> float:
        """Of so many seconds without a beat, those that count."""
        return min(seconds, self._looked_at - self._since)
