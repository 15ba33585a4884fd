"""A broker that is away costs time and nothing else."""

import time
from collections.abc import Callable
from functools import partial

import pytest

from local.kafka import Kafka
from local.program import Program
from tests.eventually import eventually
from tests.relay.operating import outbox_relay
from tests.relay.stage import Stage, memory_bytes
from tests.relay.writers import writing

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures"]

MEGABYTE = 1_000_000


def failed_sessions(relay: Program, at_least: int) -> None:
    """Raises AssertionError until the relay has told so many times that the broker is away."""
    assert relay.output().count("session_failed") >= at_least


def test_while_the_broker_is_away_nothing_is_marked_and_no_message_blamed(
    fragile_stage: Stage, broker: Kafka, record_property: Callable[[str, object], None]
) -> None:
    stage = fragile_stage
    stage.create_topic("orders")
    relay = stage.relay(RELAY_BARRIER_SECONDS="2")
    stage.publish(100, "orders")
    stage.all_arrived("orders")
    before = stage.checkpoints()
    broker.kill()
    stage.publish(20_000, "orders", groups=50, size=500)
    eventually(lambda: failed_sessions(relay, 1), 30)
    early_bytes = memory_bytes(relay.pid)
    eventually(lambda: failed_sessions(relay, 3), 40)
    late_bytes = memory_bytes(relay.pid)
    assert stage.checkpoints() == before
    assert stage.dead_letters() == []
    assert late_bytes - early_bytes < 10 * MEGABYTE
    broker.restart()
    back_at = time.monotonic()
    (reckoning,) = stage.all_arrived("orders")
    seconds = time.monotonic() - back_at
    record_property("seconds_from_the_brokers_return_to_the_last_of_20000", round(seconds, 1))
    print(f"{seconds:.1f} s from the broker's return, {reckoning.repeats} repeats")
    assert seconds < 15
    assert stage.dead_letters() == []


REASON = "select waiting_reason from outbox.subscription"


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_status_says_why_nothing_goes_for_as_long_as_the_broker_is_away(
    fragile_stage: Stage, broker: Kafka, delivery: str
) -> None:
    stage = fragile_stage if delivery == "at_least_once" else fragile_stage.exactly_once()
    stage.create_topic("orders")
    stage.relay(RELAY_NAME="relay-7", RELAY_BARRIER_SECONDS="2")
    stage.publish(1, "orders")
    stage.all_arrived("orders")
    broker.kill()
    stage.publish(1, "orders")

    def told() -> None:
        ((reason,),) = stage.query(REASON)
        assert reason is not None
        assert reason.startswith("relay relay-7: ")
        shown = outbox_relay("status", environment={"DATABASE_URL": stage.database_url})
        assert reason[:40] in shown.stdout

    eventually(told, 40)
    broker.restart()
    stage.all_arrived("orders", timeout_seconds=60)
    eventually(lambda: no_message_waits(stage), 10)


def no_message_waits(stage: Stage) -> None:
    assert stage.query(REASON) == [(None,)]


def test_a_broker_frozen_past_the_barrier_and_woken_loses_nothing_and_keeps_the_order(
    fragile_stage: Stage, broker: Kafka
) -> None:
    stage = fragile_stage
    stage.create_topic("orders")
    relay = stage.relay(RELAY_BARRIER_SECONDS="1")
    with writing(stage.database_url, "orders", seed=12):
        for freeze in (1, 2):

            def moved_on(before: int = stage.checkpoints()) -> None:
                assert stage.checkpoints() > before + 3

            eventually(moved_on, 30)
            failed = relay.output().count("session_failed")
            broker.pause()
            eventually(partial(failed_sessions, relay, failed + freeze), 30)
            broker.resume()
    stage.all_arrived("orders")
    assert stage.dead_letters() == []


def test_a_broker_killed_under_load_loses_nothing_and_keeps_the_order(
    fragile_stage: Stage, broker: Kafka
) -> None:
    stage = fragile_stage
    stage.create_topic("orders")
    stage.relay()
    stage.relay()
    with writing(stage.database_url, "orders", seed=13):

        def moved_on() -> None:
            assert stage.checkpoints() > 5

        eventually(moved_on, 30)
        broker.kill()
        broker.restart()
    stage.all_arrived("orders")
    assert stage.dead_letters() == []


def test_a_relay_that_was_there_before_its_broker_delivers_when_the_broker_comes_up(
    fragile_stage: Stage, broker: Kafka
) -> None:
    stage = fragile_stage
    stage.create_topic("orders")
    broker.kill()
    stage.publish(1_000, "orders")
    stage.relay()
    stage.relay()
    # Right after its start the broker answers that it leads no partition and coordinates no group.
    broker.launch()
    (reckoning,) = stage.all_arrived("orders", timeout_seconds=60)
    assert reckoning.repeats == 0
    assert stage.dead_letters() == []
