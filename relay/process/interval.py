"""What is done once in a while and not at every turn."""

import time

# How often it is looked whether channels that wait have got their topics.
WAITING_SECONDS = 0.5


class Interval:
    """So many seconds by the monotonic clock, again and again; the first is over at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = float("-inf")

    def begin_if_over(self) -> bool:
        """Whether it is over; then the next one begins."""
        now = time.monotonic()
        if now < self._ends_at:
            return False
        self._ends_at = now + self._seconds
        return True
