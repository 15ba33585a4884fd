"""What Kafka never ends holds a cursor up no longer than one claim."""

import pytest

from local.kafka import Kafka
from tests.relay.kafka.exactly_once.hanging import leave_offset_pending
from tests.relay.stage import GROUP, ExactlyOnceStage

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]


@pytest.mark.long
@pytest.mark.parametrize("generation", [0, 2], ids=["its-own", "a-former-generation"])
def test_a_transaction_that_hangs_in_the_cursors_group_is_ended_and_the_cursor_goes_on(
    fragile: ExactlyOnceStage, broker: Kafka, generation: int
) -> None:
    stage = fragile
    stage.create_topic("orders")
    relay = stage.relay()
    stage.publish(20, "orders")
    stage.all_arrived_once("orders")
    relay.stop()
    noted = stage.note()
    ((group,),) = stage.query(GROUP, 3)
    leave_offset_pending(broker, group, stage.topic_prefix + "outbox.cursors")
    stage.execute("update outbox.cursor set generation = %s", generation)
    relay = stage.relay(RELAY_BARRIER_SECONDS="2")
    stage.publish(20, "orders")
    stage.all_arrived_once("orders")
    assert "kafka_transaction_hung" in relay.output()
    # What was noted before is known still.
    assert noted is not None
    assert "kafka_cursor_lost" not in relay.output()
