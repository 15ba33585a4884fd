"""Requests without a valid key: however many come, few lines of the log tell of them."""

import asyncio
import time
from collections import Counter

import structlog

FLUSH_SECONDS = 1.0
# Of the addresses of a second, as many get a line of their own; and so many are told apart.
MAX_LINES = 20
MAX_ADDRESSES = 1000
# An address, or what a proxy says is one.
MAX_ADDRESS_LENGTH = 64

log = structlog.get_logger()


class Lines:
    """How many requests of a second may still be told with all that is known of them."""

    def __init__(self) -> None:
        self._second = 0
        self._left = 0

    def take(self) -> bool:
        """Takes one of them; False where none is left."""
        if (second := int(time.monotonic())) != self._second:
            self._second, self._left = second, MAX_LINES
        self._left -= 1
        return self._left >= 0


class Refusals:
    """Counts them and logs one line a second for an address. What they carried is not logged."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._others = 0

    def note(self, address: str, route: str, status: int) -> None:
        """One more answer to this address; `route` is a path's template."""
        if not self._counts:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        caller = address[:MAX_ADDRESS_LENGTH], route, status
        if caller in self._counts or len(self._counts) < MAX_ADDRESSES:
            self._counts[caller] += 1
        else:
            self._others += 1

    def flush(self) -> None:
        """Logs what was counted, those with the most first."""
        told = self._counts.most_common(MAX_LINES)
        for (address, route, status), times in told:
            log.warning(self._event, address=address, route=route, status=status, times=times)
        if untold := self._counts.total() + self._others - sum(times for _, times in told):
            log.warning(f"{self._event}, from more addresses", times=untold)
        self._counts.clear()
        self._others = 0
