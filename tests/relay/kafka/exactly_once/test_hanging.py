"""What Kafka never ends holds a cursor up no longer than one claim."""

import pytest

from local.kafka import Kafka
from tests.relay.kafka.exactly_once.hanging import leave_offset_pending
from tests.relay.stage import GROUP, ExactlyOnceStage

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]


@pytest.mark.long
def test_a_transaction_that_hangs_in_the_cursors_group_is_ended_and_the_cursor_goes_on(
    fragile: ExactlyOnceStage, broker: Kafka
) -> None:
    stage = fragile
    stage.create_topic("orders")
    relay = stage.relay()
    stage.publish(20, "orders")
    stage.all_arrived_once("orders")
    relay.stop()
    ((group,),) = stage.query(GROUP, 3)
    leave_offset_pending(broker, group, stage.topic_prefix + "outbox.cursors")
    stage.publish(20, "orders")
    relay = stage.relay(RELAY_BARRIER_SECONDS="2")
    stage.all_arrived_once("orders")
    assert relay.output().count("kafka_transaction_hangs") == 1
