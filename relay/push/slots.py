"""How many requests one relay may have in flight for one subscription, over all its runs."""

import threading
from collections.abc import Callable

# With retries about, so much of the capacity is kept for them, and so much is the most they get
# while fresh messages wait: neither starves the other, whichever of them hangs.
KEPT_FOR_RETRIES = 4
MOST_RETRIES = 2


class Slots:
    """Counted on the courier's loop; other threads only look."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._fresh = 0
        self._retries = 0
        self._freed = threading.Event()
        # The run that is under way: requests of earlier ones free slots for it.
        self.resume: Callable[[], None] | None = None

    @property
    def free(self) -> int:
        return self.capacity - self._fresh - self._retries

    def takes_fresh(self, *, retrying: bool) -> bool:
        """Whether a first attempt may go; `retrying`: some of its subscription's wait or will."""
        kept = self.capacity // KEPT_FOR_RETRIES - self._retries if retrying else 0
        return self.free > max(kept, 0)

    def takes_retry(self, *, fresh_wait: bool) -> bool:
        """Whether a further attempt may go."""
        most = max(self.capacity // MOST_RETRIES, 1) if fresh_wait else self.capacity
        return self.free > 0 and self._retries < most

    def take(self, *, retry: bool) -> None:
        if retry:
            self._retries += 1
        else:
            self._fresh += 1

    def give_back(self, *, retry: bool) -> None:
        if retry:
            self._retries -= 1
        else:
            self._fresh -= 1
        self._freed.set()

    def wait(self, seconds: float) -> bool:
        """For another thread: whether one is free, or gets free in time."""
        self._freed.clear()
        return self.free > 0 or (self._freed.wait(seconds) and self.free > 0)
