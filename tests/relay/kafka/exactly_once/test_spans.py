"""Spans of exactly-once runs."""

import pytest

from tests.relay.stage import ExactlyOnceStage
from tests.relay.traced_messages import context, publish, sampled
from tests.span_receiver import SpanReceiver

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]


def test_a_run_is_a_span_and_its_messages_arrive_once(exactly_once: ExactlyOnceStage) -> None:
    exactly_once.create_topic("orders")
    with exactly_once.database() as database:
        for number in range(1, 4):
            publish(database, number, sampled(number))
    with SpanReceiver() as receiver:
        relay = exactly_once.relay("--once", **receiver.variables())
        assert relay.wait(60) == 0
    exactly_once.all_arrived_once("orders")
    [run] = receiver.spans
    assert (run.name, run.attributes["messaging.system"]) == ("send", "kafka")
    assert run.links == [context(number) for number in range(1, 4)]
    assert run.attributes["messaging.batch.message_count"] == 3
