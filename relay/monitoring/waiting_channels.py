"""How long channels have waited for their topics, as metrics."""

import threading
from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry, Gauge

# A label for each waiting channel; beyond it `outbox-relay status` still names them all.
MAX_WAITING_CHANNELS = 500


class WaitingChannels:
    """A series for each of them up to a bound, and their number. Safe from every thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Gauge(
            "outbox_relay_channel_waiting_seconds",
            "How long a channel has waited for its topic.",
            ("subscription", "channel"),
            registry=registry,
        )
        self._number = Gauge(
            "outbox_relay_waiting_channels",
            "How many channels wait for their topics.",
            registry=registry,
        )
        self._lock = threading.Lock()
        self._shown: set[tuple[str, str]] = set()

    def show(self, seconds: Mapping[tuple[str, str], float]) -> None:
        """All that wait now, by subscription and channel, and how long."""
        with self._lock:
            for gone in self._shown - seconds.keys():
                self._remove(gone)
            for key, value in seconds.items():
                if key in self._shown or len(self._shown) < MAX_WAITING_CHANNELS:
                    self._shown.add(key)
                    self._seconds.labels(*key).set(value)
            self._number.set(len(seconds))

    def keep(self, subscriptions: Collection[str]) -> None:
        """Forgets the series of all other subscriptions."""
        with self._lock:
            for gone in [one for one in self._shown if one[0] not in subscriptions]:
                self._remove(gone)

    def _remove(self, channel: tuple[str, str]) -> None:
        self._shown.remove(channel)
        self._seconds.remove(*channel)
