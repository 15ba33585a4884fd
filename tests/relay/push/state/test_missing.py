"""A row whose message is no longer in the log is taken away, and counts as no delivery."""

from relay.push.item import Item
from relay.push.policy.settings import Endpoint
from relay.push.runs import _decide_without_request
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


def test_what_was_acknowledged_late_is_delivered_though_its_message_is_gone(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1")
    (cursor,) = relay.probe()
    item = Item(
        message_id=1, row=None, group_key=None, payload_bytes=0, held_bytes=0, outcome="acked"
    )
    assert _decide_without_request(item, Endpoint(endpoint=""), cursor)
    assert item.verdict is not None
    assert item.verdict.kind == "acked"
