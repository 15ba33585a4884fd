"""Endpoints get what lies before and behind a turn of the log."""

from tests.relay.push.stage import PushRelay, PushStage
from tests.sql.log import turn


def test_a_backlog_goes_over_a_turn_to_an_endpoint(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.publish("a:1", "b:1")
    turn(stage.db)
    stage.publish("a:2", "b:2")
    relay.drain()
    keys = [request.header("idempotency-key") for request in stage.receiver.requests]
    assert sorted(keys) == ["a:1", "a:2", "b:1", "b:2"]
    assert keys.index("a:1") < keys.index("a:2")
    assert keys.index("b:1") < keys.index("b:2")
