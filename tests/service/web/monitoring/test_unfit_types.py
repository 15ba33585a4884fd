"""What is counted by the names of event types, which whoever may register them makes up."""

import pytest

from service.database.pool import Database
from service.settings import Settings
from service.web.monitoring import metrics
from service.web.monitoring.metrics import Metrics

SERIES = "service_unfit_messages_total"


def series(counted: Metrics) -> dict[str, float]:
    return {
        sample.labels["type"]: sample.value
        for family in counted.registry.collect()
        for sample in family.samples
        if sample.name == SERIES
    }


def test_new_names_fill_no_memory_and_those_in_use_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_UNFIT_TYPES", 10)
    counted = Metrics(Database(Settings(database_url="postgresql://nowhere")))
    for number in range(50):
        counted.unfit("order.paid")
        counted.unfit(f"made-up-{number}")
    assert series(counted) == {
        "order.paid": 50,
        **{f"made-up-{number}": 1 for number in range(41, 50)},
    }
