"""When a relay takes an exactly-once cursor over from another relay."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from relay.log.claim import Claimed
from relay.log.cursor import Cursor

# Fencing costs 0.1 to 0.6 s each time: an owner that gets on keeps its cursor. Where it costs more,
# as on a busy machine or just after a broker's return, others wait longer: two relays that take a
# cursor from each other before either has committed get nowhere.
TAKE_OVER_SECONDS = 1.0
TAKE_OVER_FENCES = 4.0
MAX_TAKE_OVER_SECONDS = 5.0


class TakeOver:
    """The patience of one relay with the others that work on a subscription's cursors."""

    def __init__(self, relay: str) -> None:
        self._relay = relay
        # Cursors of other relays that have work: the checkpoint, and until when it is left alone.
        self._waiting: dict[int, tuple[int, float]] = {}
        self._fence_seconds = 0.0

    def defer_to_other(self, cursor: Cursor) -> bool:
        """Whether another relay worked on it last, and its work has not waited for long."""
        if cursor.relay in ("", self._relay):
            return False
        n, until = self._waiting.get(cursor.id, (None, 0.0))
        if n != cursor.n:
            # Once and for all: who then fences has a run or two without a checkpoint, in which it
            # looks topics up, and must not wait for itself.
            patience = max(TAKE_OVER_SECONDS, TAKE_OVER_FENCES * self._fence_seconds)
            until = time.monotonic() + min(patience, MAX_TAKE_OVER_SECONDS)
            self._waiting[cursor.id] = (cursor.n, until)
        return time.monotonic() < until

    def has_moved_on(self, claimed: Claimed) -> bool:
        """Whether another relay got on with it between the probe and the claim."""
        return claimed.n != claimed.cursor.n and claimed.relay not in ("", self._relay)

    @contextmanager
    def fencing(self) -> Iterator[None]:
        """Measures how long this relay takes to fence another."""
        began_at = time.monotonic()
        yield
        self._fence_seconds = time.monotonic() - began_at
