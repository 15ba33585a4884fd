"""Spans of runs to a queue."""

from relay.monitoring.spans import Spans
from tests.relay.push.sqs.stage import QueueStage
from tests.relay.push.stage import PushRelay
from tests.relay.traced_messages import context, publish, sampled, traceparent
from tests.span_receiver import SpanReceiver

pytest_plugins = ["tests.relay.span_fixtures"]


def test_a_run_to_a_queue_is_a_span_with_links_and_its_requests_are_none(
    queues: QueueStage, relay: PushRelay, spans: Spans, receiver: SpanReceiver
) -> None:
    relay.telemetry.spans = relay.request_loop.spans = spans
    queues.connect()
    for number in range(1, 4):
        publish(queues.db, number, sampled(number))
    relay.drain()
    spans.close()
    [run] = receiver.spans
    assert (run.name, run.attributes["messaging.system"]) == ("send", "aws_sqs")
    assert run.links == [context(number) for number in range(1, 4)]
    assert run.attributes["messaging.batch.message_count"] == 3
    carried = [one.attributes["traceparent"] for one in queues.arrived()]
    assert sorted(carried) == [traceparent(number) for number in range(1, 4)]
