"""How long each subscription has made others wait lately."""

import time

from relay.push.fair_turns import Owner

# A subscription may make others wait for so long at once, and for such a share of the time.
MAX_HELD_SECONDS = 0.1
HELD_SHARE = 0.02
# Beyond so many, those that owe nothing any more are forgotten.
MAX_KNOWN = 1000


class HeldTime:
    """Of one session. What a subscription owes is kept as the moment at which it owes nothing."""

    def __init__(self) -> None:
        self._of_subscription: dict[int, float] = {}
        self._of_owner: dict[str, float] = {}

    def add(self, subscription_id: int, owner: Owner, seconds: float) -> bool:
        """Others have waited so long for it; whether that is too long, with what it owes.

        One that was not seen before owes what its owner does: to make another is no way out.
        """
        now = time.monotonic()
        if seconds <= 0:
            return False
        if len(self._of_subscription) > MAX_KNOWN:
            self._of_subscription = {
                one: free_at for one, free_at in self._of_subscription.items() if free_at > now
            }
        of_owner = self._of_owner.get(owner, 0.0) if owner is not None else 0.0
        free_at = max(self._of_subscription.get(subscription_id, of_owner), now)
        free_at += seconds / HELD_SHARE
        self._of_subscription[subscription_id] = free_at
        if owner is not None:
            self._of_owner[owner] = max(of_owner, now) + seconds / HELD_SHARE
        return free_at - now > MAX_HELD_SECONDS / HELD_SHARE
