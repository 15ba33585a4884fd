"""Which subscriptions have series of their own, so that new names can't fill the memory."""

import threading
from collections.abc import Collection

# Names that come between two rounds of maintenance, each with series of its own. All further ones
# share the series of OTHERS, which is no subscription's name.
MAX_NEW_NAMES = 200
OTHERS = "(others)"


class SubscriptionLabels:
    """The names of the last round of maintenance, and the new ones since. Safe from every thread.

    A client that may subscribe could otherwise make the relay remember any number of names.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._new: set[str] = set()

    def label(self, subscription: str) -> str:
        """The name itself, or OTHERS beyond the bound. "": what is not about one subscription."""
        with self._lock:
            if subscription and not (subscription in self._known or subscription in self._new):
                if len(self._new) >= MAX_NEW_NAMES:
                    return OTHERS
                self._new.add(subscription)
            return subscription

    def keep(self, subscriptions: Collection[str]) -> set[str]:
        """Forgets all other names; returns the labels that stay."""
        with self._lock:
            self._known, self._new = frozenset(subscriptions), set()
        return {"", OTHERS, *subscriptions}
