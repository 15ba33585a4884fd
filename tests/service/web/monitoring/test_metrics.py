"""However often /metrics is asked for, the event loop makes its text once a second."""

from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.database.pool import Database
from service.settings import Settings
from service.web.monitoring.metrics import Metrics


class Counting(Collector):
    """How often it was asked."""

    asked = 0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        self.asked += 1
        yield GaugeMetricFamily("asked", "How often.", value=self.asked)


def test_the_text_is_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("service.web.monitoring.metrics.time.monotonic", lambda: now)
    shown = Metrics(Database(Settings(database_url="")))
    counting = Counting()
    shown.registry.register(counting)
    before = counting.asked
    texts = {shown.text() for _ in range(10)}
    assert (len(texts), counting.asked - before) == (1, 1)
    now += 0.9
    assert shown.text() in texts
    now += 0.1
    assert shown.text() not in texts
    assert counting.asked - before == 2
