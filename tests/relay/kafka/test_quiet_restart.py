"""A broker that restarts while nothing goes is found again by the next message."""

import time
from collections.abc import Callable

import pytest

from local.kafka import Kafka
from tests.relay.stage import ExactlyOnceStage

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_the_first_message_after_a_quiet_restart_goes(
    fragile: ExactlyOnceStage,
    broker: Kafka,
    delivery: str,
    record_property: Callable[[str, object], None],
) -> None:
    fragile.deliver(delivery)
    fragile.create_topic("orders")
    fragile.relay()
    fragile.publish(10, "orders")
    fragile.all_arrived("orders")
    broker.kill()
    broker.restart()
    fragile.publish(10, "orders")
    back_at = time.monotonic()
    fragile.all_arrived_once("orders", timeout_seconds=60)
    record_property("seconds_from_the_first_message_on", round(time.monotonic() - back_at, 1))
    print(time.monotonic() - back_at)
