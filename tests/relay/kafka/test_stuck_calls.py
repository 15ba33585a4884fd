"""A call to Kafka that never returns holds nothing up for longer than every deadline."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.program import Program
from tests.eventually import eventually
from tests.relay.stage import ExactlyOnceStage
from tests.relay.stuck import asked, start

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]

StuckRelay = Callable[[str, int], Program]
FOR_EVER = 1_000_000


@pytest.fixture
def stuck_relay(
    exactly_once: ExactlyOnceStage, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[StuckRelay]:
    """Starts a relay whose first calls of one kind do not return."""
    with ExitStack() as stack:

        def relay(call: str, times: int) -> Program:
            environment = exactly_once.environment(
                RELAY_BARRIER_SECONDS="1", RELAY_PORT=str(free_port())
            )
            return stack.enter_context(start(tmp_path, environment, call, times))

        yield relay


@pytest.mark.parametrize(
    ("delivery", "call"),
    [
        ("at_least_once", "flush"),
        ("at_least_once", "list_topics"),
        ("exactly_once", "flush"),
        ("exactly_once", "init_transactions"),
        ("exactly_once", "send_offsets_to_transaction"),
        ("exactly_once", "commit_transaction"),
        ("exactly_once", "poll"),
    ],
)
def test_a_call_that_does_not_return_is_given_up_and_another_thread_goes_on(
    exactly_once: ExactlyOnceStage, stuck_relay: StuckRelay, delivery: str, call: str
) -> None:
    stage = exactly_once
    stage.deliver(delivery)
    stage.create_topic("orders")
    relay = stuck_relay(call, 1)
    stage.publish(10, "orders")
    stage.moved_on(1)
    stage.publish(10, "orders")
    stage.all_arrived("orders", timeout_seconds=60)
    status, told = asked(relay, "/healthz")
    assert (status, "1 threads stand in calls that do not return" in told) == (503, True)
    _, metrics = asked(relay, "/metrics")
    assert "outbox_relay_abandoned_threads 1.0" in metrics
    assert relay.output().count('"call_does_not_return"') == 1


def test_where_no_call_returns_the_relay_says_so_and_exits(
    exactly_once: ExactlyOnceStage, stuck_relay: StuckRelay
) -> None:
    exactly_once.create_topic("orders")
    relay = stuck_relay("flush", FOR_EVER)
    exactly_once.publish(10, "orders")

    def ended() -> None:
        assert not relay.running

    eventually(ended, 60)
    assert relay._process is not None
    assert relay._process.returncode == 1
    assert "stand in calls to Kafka that do not return; the relay ends" in relay.output()
