"""Signs of life of a thread that calls what may never return: librdkafka, whatever its timeouts."""

import time
from collections.abc import Callable


class Heartbeat:
    """Of one session's thread; read by another. `let_go` ends from outside what the thread holds.

    Nobody expects a beat before `watch`, since other sessions call nothing of the kind.
    """

    def __init__(self) -> None:
        self.let_go: Callable[[], None] = lambda: None
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

    @property
    def still_seconds(self) -> float:
        """Since the last beat; 0 where none is expected."""
        beat_at = self._beat_at
        return 0.0 if beat_at is None else time.monotonic() - beat_at
