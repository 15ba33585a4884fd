"""What is done once in a while and not at every turn."""

import time

# How often it is looked whether channels that wait have got their topics.
WAITING_SECONDS = 0.5


class Interval:
    """Is over once in so many seconds, and at first at once. By the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = float("-inf")

    def begin_if_over(self) -> bool:
        """Where it is, the next one begins."""
        now = time.monotonic()
        if now < self._ends_at:
            return False
        self._ends_at = now + self._seconds
        return True
