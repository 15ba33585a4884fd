"""A row whose message is no longer in the log is taken away, and counts as no delivery."""

from tests.receiver import OK, respond
from tests.relay.push.stage import LATER, PushRelay, PushStage
from tests.sql.log import one

DELIVERED = "select coalesce(sum(messages), 0) from outbox.checkpoint"


def test_a_missing_message_counts_as_none_that_was_delivered_and_its_group_goes_on(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = respond(500)
    stage.publish("a:1", "a:2")
    relay.drain()
    assert stage.rows() == [("a:1", 1, "retry"), ("a:2", 0, "behind")]
    stage.db.execute("delete from outbox.message where idempotency_key = 'a:1'")
    stage.receiver.react = OK
    stage.let_time_pass()
    relay.drain()
    assert stage.keys() == ["a:1", "a:2"]
    assert stage.rows() == []
    assert one(stage.db, DELIVERED) == 1
