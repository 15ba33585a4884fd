"""How long requests take at most subscriptions: what is slow is slow beside that."""

from statistics import median_low

from relay.process.interval import Interval

# Until anything was answered. And what takes no longer is never slow.
FIRST_SECONDS = 0.025
# Of a subscription's mean, so much is its latest run's.
LATEST_SHARE = 1 / 8
# So many times what is usual is slow.
SLOWER = 3
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

    @property
    def slow_seconds(self) -> float:
        """What takes longer is slow."""
        return max(SLOWER * self.seconds, FIRST_SECONDS)

    def is_slow(self, subscription_id: int) -> bool:
        """Whether its answers take much longer than most."""
        return self._means.get(subscription_id, 0.0) > self.slow_seconds

    def forget(self, subscription_id: int) -> None:
        """The subscription is gone."""
        self._means.pop(subscription_id, None)
