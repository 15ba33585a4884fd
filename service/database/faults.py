"""What went wrong with the database, told once a second however many requests met it."""

import asyncio
from collections import Counter

import structlog

FLUSH_SECONDS = 1.0

log = structlog.get_logger()


class Faults:
    """The first of a second is told at once, and how many came after it when the second is over."""

    def __init__(self) -> None:
        self._more: Counter[tuple[str, str]] = Counter()

    def note(self, event: str, cause: str) -> None:
        """One more request met this."""
        if (event, cause) in self._more:
            self._more[event, cause] += 1
            return
        log.warning(event, cause=cause)
        self._more[event, cause] = 0
        asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush, event, cause)

    def _flush(self, event: str, cause: str) -> None:
        if times := self._more.pop((event, cause)):
            log.warning(event, cause=cause, times=times)
