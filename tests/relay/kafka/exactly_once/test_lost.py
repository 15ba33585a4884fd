"""Where Kafka no longer holds a cursor's offset, what may come again comes, and is told."""

from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient

from local.program import Program
from tests.eventually import eventually
from tests.relay.monitoring.serving import ask
from tests.relay.stage import GROUP, ExactlyOnceStage
from tests.relay.traps import kill_at_first_run
from tests.relay.wires import Wires

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]

LOST = "outbox_relay_cursors_lost_total{"


def forget(stage: ExactlyOnceStage) -> None:
    """Deletes the cursor's group, as Kafka does when nothing is committed for long."""
    ((group,),) = stage.query(GROUP, 3)
    admin = AdminClient({"bootstrap.servers": stage.bootstrap_servers})
    admin.delete_consumer_groups([group], request_timeout=30)[group].result(30)
    assert stage.note() is None


def told(relay: Program) -> int:
    return relay.output().count("kafka_cursor_lost")


@pytest.mark.long
def test_a_run_in_doubt_whose_offset_is_gone_comes_again_and_the_relay_says_so(
    wires: Wires, watched: ExactlyOnceStage, free_port: Callable[[], int]
) -> None:
    stage = watched
    stage.create_topic("orders")
    stage.publish(20, "orders")
    # The very first run: nothing but the cursor itself tells that there was one.
    kill_at_first_run(wires.database, wires.relay())
    forget(stage)
    port = free_port()
    relay = stage.relay(RELAY_PORT=str(port))
    (reckoning,) = eventually(lambda: stage.all_arrived("orders"), 30)
    assert reckoning.repeats == 20
    assert told(relay) == 1
    _, metrics = ask(port, "/metrics")
    assert [line.split()[-1] for line in metrics.splitlines() if line.startswith(LOST)] == ["1.0"]
    stage.publish(20, "orders")
    (reckoning,) = eventually(lambda: stage.all_arrived("orders"), 30)
    assert reckoning.repeats == 20


@pytest.mark.long
def test_an_offset_that_is_gone_in_a_quiet_time_is_told_and_nothing_comes_again(
    exactly_once: ExactlyOnceStage,
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    stage.publish(20, "orders")
    first = stage.relay("--once")
    assert first.wait(60) == 0
    assert told(first) == 0
    forget(stage)
    stage.publish(20, "orders")
    second = stage.relay("--once")
    assert second.wait(60) == 0
    stage.all_arrived_once("orders")
    assert told(second) == 1


@pytest.mark.long
def test_a_cursor_that_never_was_in_kafka_is_no_loss(exactly_once: ExactlyOnceStage) -> None:
    stage = exactly_once
    stage.deliver("at_least_once")
    stage.create_topic("orders")
    stage.publish(20, "orders")
    assert stage.relay("--once").wait(60) == 0
    stage.deliver("exactly_once")
    stage.publish(20, "orders")
    relay = stage.relay("--once")
    assert relay.wait(60) == 0
    stage.all_arrived_once("orders")
    assert told(relay) == 0
