"""The lag of messages is counted by run, and no clock makes it go down."""

import random

import pytest

from relay.monitoring.metrics import LAG_BUCKETS_SECONDS
from relay.monitoring.telemetry import Telemetry
from tests.relay.monitoring.samples import samples


def test_the_lag_histogram_counts_as_one_by_one_would() -> None:
    chance = random.Random(7)
    telemetry = Telemetry()
    lags: list[int] = []
    for _ in range(3):
        acknowledged_at = chance.randrange(10**15, 10**16)
        run = [chance.choice([900, 1_000, 2_500, 40_000, 7_000_000, 10**12]) for _ in range(50)]
        lags += run
        created_at = [acknowledged_at - lag for lag in run]
        telemetry.run_done(
            "kafka",
            messages=50,
            bytes=1,
            seconds=0.1,
            created_at=created_at,
            acknowledged_at=acknowledged_at,
        )
    shown = samples(telemetry)
    for bound in LAG_BUCKETS_SECONDS:
        labels = (("le", str(bound)), ("subscription", "kafka"))
        within = sum(lag <= bound * 1_000_000 for lag in lags)
        assert shown["outbox_relay_lag_seconds_bucket", labels] == within
    kafka = (("subscription", "kafka"),)
    assert shown["outbox_relay_lag_seconds_count", kafka] == len(lags)
    assert shown["outbox_relay_lag_seconds_sum", kafka] == pytest.approx(sum(lags) / 1e6)


def test_a_clock_that_was_set_back_lowers_no_counter() -> None:
    telemetry = Telemetry()
    telemetry.run_done(
        "kafka", messages=1, bytes=1, seconds=-1.0, created_at=[2_000_000], acknowledged_at=0
    )
    kafka = (("subscription", "kafka"),)
    assert samples(telemetry)["outbox_relay_lag_seconds_sum", kafka] == 0
    assert samples(telemetry)["outbox_relay_run_seconds_total", kafka] == 0
