"""How long things took, by subscription: a Prometheus histogram that is fed by run."""

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class RunHistogram(Collector):
    """Seconds by subscription, with upper bounds that ascend.

    Sorting 20,000 times that are nearly in order and cutting them at the buckets' bounds costs
    some 0.03 µs each, where `Histogram.observe` costs more than producing the message.
    """

    def __init__(self, name: str, documentation: str, bounds_seconds: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = bounds_seconds
        self._lock = threading.Lock()
        # subscription → how many took at most each bound, and all of them; seconds in sum.
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, subscription: str, seconds: Sequence[float]) -> None:
        """Adds one run's."""
        times = sorted(seconds)
        within = [bisect_right(times, bound) for bound in self._bounds]
        self._add(subscription, within, len(times), sum(times))

    def observe_until(self, subscription: str, begun_at: Sequence[int], ended_at: int) -> None:
        """Adds one run's, from its beginnings to its one end.

        All times are microseconds by one clock, since one epoch.
        """
        times = sorted(begun_at)
        size = len(times)
        within = [
            size - bisect_left(times, ended_at - round(bound * 1_000_000)) for bound in self._bounds
        ]
        self._add(subscription, within, size, (ended_at * size - sum(times)) / 1_000_000)

    def keep(self, subscriptions: AbstractSet[str]) -> None:
        """Forgets all others."""
        with self._lock:
            for gone in self._counts.keys() - subscriptions:
                del self._counts[gone], self._sums[gone]

    def _add(self, subscription: str, within: list[int], size: int, seconds: float) -> None:
        if not size:
            return
        with self._lock:
            former = self._counts.get(subscription) or [0] * (len(within) + 1)
            self._counts[subscription] = [
                a + b for a, b in zip(former, [*within, size], strict=True)
            ]
            # A clock that was set back must not lower a counter.
            self._sums[subscription] = self._sums.get(subscription, 0.0) + max(0.0, seconds)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=["subscription"])
        bounds = [*(str(bound) for bound in self._bounds), "+Inf"]
        with self._lock:
            for subscription, counts in self._counts.items():
                family.add_metric(
                    [subscription],
                    buckets=list(zip(bounds, counts, strict=True)),
                    sum_value=self._sums[subscription],
                )
        yield family
