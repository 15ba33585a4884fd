"""How long requests take at most subscriptions: what is slow is slow beside that."""

from statistics import median_low

from relay.process.interval import Interval

# Until anything was answered.
FIRST_SECONDS = 0.025
# Of a subscription's mean, so much is its latest run's.
LATEST_SHARE = 1 / 8
# Beside what is usual.
QUICK_TIMES = 3
# A median of thousands takes a millisecond.
MEDIAN_SECONDS = 0.25


class UsualTime:
    """The median of all subscriptions' means. However often one is asked, and however slowly it
    answers, it counts as one of them.
    """

    def __init__(self) -> None:
        self.seconds = FIRST_SECONDS
        self._means: dict[int, float] = {}
        self._interval = Interval(MEDIAN_SECONDS)

    def note(self, subscription_id: int, seconds: float) -> None:
        """A run's requests took so long on average."""
        mean = self._means.get(subscription_id, seconds)
        self._means[subscription_id] = mean + (seconds - mean) * LATEST_SHARE
        if self._interval.begin_if_over():
            # In one step: another thread may forget one meanwhile.
            self.seconds = median_low(list(self._means.values()))

    def is_quick(self, subscription_id: int) -> bool:
        """Whether it is answered about as soon as most."""
        mean = self._means.get(subscription_id, FIRST_SECONDS)
        return mean <= max(QUICK_TIMES * self.seconds, FIRST_SECONDS)

    def forget(self, subscription_id: int) -> None:
        """The subscription is gone."""
        self._means.pop(subscription_id, None)
