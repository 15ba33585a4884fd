"""What `make bench-scale` goes by."""

import pytest

from bench.figures import Figure, Section
from bench.model import Costs, Following, Mixture, Processor, needs
from bench.scale.__main__ import misses
from bench.scale.check import TARGET
from bench.scale.costs import following, order_cost
from bench.scale.databases import reckon
from bench.scale.limits import totals
from bench.scale.sale import Published
from bench.scale.steady import Drained, Turn
from tests.bench.test_model import COSTS, ENDPOINTS, KAFKA

PUBLISHED = [Published(name, 500) for name in ("success", "live", "lifecycle")]


def turn(costs: Costs, kafka: int, endpoints: int) -> Turn:
    """As it would be if the model were true."""
    mixture = Mixture(orders=200, kafka_subscriptions=kafka, endpoints=endpoints)
    of = needs(costs, mixture)
    return Turn(
        orders=200,
        kafka=kafka,
        endpoints=endpoints,
        relay_cores=of.relay_cores,
        postgres_cores=of.postgres_cores,
        idle_relay=costs.idle_relay,
        idle_postgres=costs.idle_postgres,
        wal_bytes=of.wal_bytes,
        disk_bytes=of.disk_bytes,
        relay_bytes=of.relay_bytes,
        kafka_runs=costs.kafka.runs_per_second(200, kafka) if kafka else 0,
        endpoint_runs=costs.endpoints.runs_per_second(200, endpoints) if endpoints else 0,
    )


def nearly(fitted: Following, true: Following) -> bool:
    lines = ("run_seconds", "run_relay", "run_postgres", "run_wal_bytes")
    return all(
        getattr(getattr(fitted, name), part)
        == pytest.approx(getattr(getattr(true, name), part), rel=1e-6, abs=1e-6)
        for name in lines
        for part in ("fixed", "each")
    )


@pytest.mark.parametrize(
    ("true", "kafka", "endpoints", "messages"), [(KAFKA, 1, 0, 2), (ENDPOINTS, 0, 1, 1)]
)
def test_the_costs_that_made_the_turns_are_found_again(
    true: Following, kafka: int, endpoints: int, messages: int
) -> None:
    few, many = (turn(COSTS, kafka * n, endpoints * n) for n in (1, 10))
    drained = Drained(1e5, true.delivery, 0)
    found = following(turn(COSTS, 0, 0), (few, many), drained, messages)
    assert nearly(found, true)
    assert found.relay_bytes == pytest.approx(true.relay_bytes)


def test_an_order_costs_what_its_messages_do_not() -> None:
    found = order_cost(turn(COSTS, 0, 0), COSTS.message, PUBLISHED)
    assert found.postgres_microseconds == pytest.approx(500)
    assert found.wal_bytes == pytest.approx(1000)


def test_what_noise_would_make_less_than_nothing_is_nothing() -> None:
    alone, one = turn(COSTS, 0, 0), turn(COSTS, 1, 0)
    drained = Drained(1e5, Processor(relay=1e6, postgres=1e6), 0)
    found = following(alone, (one, turn(COSTS, 10, 0)), drained, 2)
    assert min(found.run_relay.fixed, found.run_relay.each, found.run_postgres.each) >= 0


@pytest.mark.parametrize(("off_by", "missed"), [(1.5, False), (1.51, True)])
def test_a_model_that_is_further_off_than_its_target_misses_it(off_by: float, missed: bool) -> None:
    figures = [Figure("measured", [0.3], "{:.2f}"), Figure("worst", [off_by], "{:.2f}", TARGET)]
    assert misses([Section("a mixture", figures, "")]) is missed


def test_losses_repeats_and_inversions_are_counted_each_by_itself() -> None:
    came = {"a": [1, 2, 3], "b": [1, 3, 2, 3], "c": [1, 1, 3]}
    assert reckon({"a": 3, "b": 3, "c": 4, "d": 1}, came) == (3, 1, 2)


def test_metrics_are_added_up_over_subscriptions_and_of_ages_the_highest_counts() -> None:
    of = totals(
        "# TYPE outbox_relay_undelivered_messages gauge\n"
        'outbox_relay_undelivered_messages{subscription="a",state="unread"} 5\n'
        'outbox_relay_undelivered_messages{subscription="b",state="behind"} 2\n'
        "# TYPE outbox_relay_undelivered_oldest_age_seconds gauge\n"
        'outbox_relay_undelivered_oldest_age_seconds{subscription="a"} 1.5\n'
        'outbox_relay_undelivered_oldest_age_seconds{subscription="b"} 4\n'
    )
    assert of["outbox_relay_undelivered_messages"] == 7
    assert of["outbox_relay_undelivered_oldest_age_seconds"] == 4
    assert of["process_cpu_seconds_total"] == 0
