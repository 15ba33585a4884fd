"""When a relay takes an exactly-once cursor over from another relay."""

import time

from relay.log.claim import Claimed
from relay.log.cursor import Cursor

# Fencing costs 0.1 to 0.6 s each time: an owner that gets on keeps its cursor.
TAKE_OVER_SECONDS = 0.7


class TakeOver:
    """The patience of one relay with the others that work on a subscription's cursors."""

    def __init__(self, relay: str) -> None:
        self._relay = relay
        # Cursors of other relays that have work: the checkpoint, and until when it is left alone.
        self._waiting: dict[int, tuple[int, float]] = {}

    def defer_to_other(self, cursor: Cursor) -> bool:
        """Whether another relay worked on it last, and its work has not waited for long."""
        if cursor.relay in ("", self._relay):
            return False
        n, until = self._waiting.get(cursor.id, (None, 0.0))
        if n != cursor.n:
            until = time.monotonic() + TAKE_OVER_SECONDS
            self._waiting[cursor.id] = (cursor.n, until)
        return time.monotonic() < until

    def has_moved_on(self, claimed: Claimed) -> bool:
        """Whether another relay got on with it between the probe and the claim."""
        return claimed.n != claimed.cursor.n and claimed.relay not in ("", self._relay)
