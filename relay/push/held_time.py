"""How long each subscription has made others wait lately."""

import time

# A subscription may make others wait for so long at once, and for such a share of the time.
MAX_HELD_SECONDS = 0.1
HELD_SHARE = 0.02
# Of one run no more than so much counts: a machine that stood still is no endpoint's fault.
MAX_RUN_SECONDS = MAX_HELD_SECONDS / 3
# Beyond so many, those that owe nothing any more are forgotten.
MAX_KNOWN = 1000


class HeldTime:
    """Of one session. What a subscription owes is kept as the moment at which it owes nothing."""

    def __init__(self) -> None:
        self._free_at: dict[int, float] = {}

    def add(self, subscription_id: int, seconds: float) -> bool:
        """In a run others have waited so long for it; whether that is too long by now."""
        if seconds <= 0:
            return False
        now = time.monotonic()
        if subscription_id not in self._free_at and len(self._free_at) >= MAX_KNOWN:
            self._free_at = {one: at for one, at in self._free_at.items() if at > now}
        free_at = max(self._free_at.get(subscription_id, now), now)
        free_at += min(seconds, MAX_RUN_SECONDS) / HELD_SHARE
        self._free_at[subscription_id] = free_at
        return free_at - now > MAX_HELD_SECONDS / HELD_SHARE
