"""Requests that were answered 401, told by their callers' addresses: bounded, whoever guesses."""

import asyncio
from collections import Counter

import structlog

FLUSH_SECONDS = 1.0
# Of the addresses of a second, as many get a line of their own; and so many are told apart.
MAX_LINES = 20
MAX_ADDRESSES = 1000
# An address, or what a proxy says is one.
MAX_ADDRESS_LENGTH = 64

log = structlog.get_logger()


class Refusals:
    """Counts them and logs one line a second for an address. What they carried is not logged."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._others = 0

    def note(self, address: str, route: str) -> None:
        """One more answer 401 to this address; `route` is a path's template."""
        if not self._counts:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        caller = address[:MAX_ADDRESS_LENGTH], route
        if caller in self._counts or len(self._counts) < MAX_ADDRESSES:
            self._counts[caller] += 1
        else:
            self._others += 1

    def flush(self) -> None:
        """Logs what was counted, those with the most first."""
        told = self._counts.most_common(MAX_LINES)
        for (address, route), times in told:
            log.warning("unauthorized", address=address, route=route, times=times)
        if untold := self._counts.total() + self._others - sum(times for _, times in told):
            log.warning("unauthorized, from more addresses", times=untold)
        self._counts.clear()
        self._others = 0
