"""Spans of requests to endpoints: one for each attempt, below its message; and of their runs."""

from collections.abc import Callable, Iterator

import pytest

from relay.monitoring.spans import Spans
from relay.push.shared_runs import SharedPushRuns
from tests.receiver import respond
from tests.relay.push.stage import PushRelay, PushStage
from tests.relay.traced_messages import context, publish, sampled, traceparent
from tests.span_receiver import SpanReceiver

pytest_plugins = ["tests.relay.span_fixtures"]


@pytest.fixture
def push_relay(stage: PushStage, spans: Spans) -> Iterator[PushRelay]:
    with PushRelay(stage.database_url) as opened:
        opened.telemetry.spans = opened.request_loop.spans = spans
        yield opened


def test_each_request_is_a_span_below_its_message_and_the_message_says_what_it_said(
    stage: PushStage, push_relay: PushRelay, spans: Spans, receiver: SpanReceiver
) -> None:
    stage.subscribe("billing")
    url = f"{stage.receiver.url}/path-s3cret?token=query-s3cret"
    stage.settle("billing", endpoint=url)
    sent = publish(stage.db, 1, sampled(1))
    publish(stage.db, 2, f'{{"traceparent": "{traceparent(2, "00")}"}}')
    publish(stage.db, 3, None)
    stage.receiver.react = respond(503, b"answer-s3cret")
    push_relay.round()
    stage.receiver.react = respond(200)
    stage.let_time_pass()
    push_relay.drain()
    spans.close()
    first, second = receiver.named("POST")
    for span in (first, second):
        assert (span.kind, span.parent) == ("CLIENT", context(1))
        assert span.attributes["outbox.message.id"] == sent
        assert span.attributes["outbox.subscription"] == "billing"
        assert span.attributes["http.request.method"] == "POST"
        assert span.attributes["server.address"] == "127.0.0.1"
        assert span.attributes["url.full"].endswith(f":{span.attributes['server.port']}/REDACTED")
        assert 0 < span.seconds < 30
    assert (first.status, first.attributes["http.response.status_code"]) == ("ERROR", 503)
    assert first.attributes["error.type"] == "503"
    assert "http.request.resend_count" not in first.attributes
    assert (second.status, second.attributes["http.response.status_code"]) == ("UNSET", 200)
    assert second.attributes["http.request.resend_count"] == 1
    # Each run that it was in has it among its links, and no other.
    assert [span.links for span in receiver.named("send")] == [[context(1)], [context(1)]]
    requests = stage.receiver.requests
    of_first = [one for one in requests if one.header("webhook-id") == "key-1"]
    assert [one.header("traceparent") for one in of_first] == [traceparent(1)] * 2
    assert b"s3cret" not in b"".join(receiver.requests)


def test_a_request_that_got_no_answer_says_why(
    stage: PushStage,
    push_relay: PushRelay,
    spans: Spans,
    receiver: SpanReceiver,
    free_port: Callable[[], int],
) -> None:
    stage.subscribe("billing")
    stage.settle("billing", endpoint=f"http://127.0.0.1:{free_port()}/")
    publish(stage.db, 1, sampled(1))
    push_relay.round()
    spans.close()
    [span] = receiver.named("POST")
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "connect")
    assert "http.response.status_code" not in span.attributes


def test_a_run_of_many_endpoints_is_one_span(
    stage: PushStage, push_relay: PushRelay, spans: Spans, receiver: SpanReceiver
) -> None:
    for name in ("billing", "mail"):
        stage.subscribe(name)
    publish(stage.db, 1, sampled(1))
    runs = SharedPushRuns(
        push_relay.connection, push_relay.request_loop, push_relay.settings, push_relay.telemetry
    )
    ran = runs.run(push_relay.probe(), 100, again=False)
    assert [one.progressed for one in ran.values()] == [True, True]
    spans.close()
    [run] = receiver.named("send")
    assert run.attributes["outbox.subscriptions"] == ["billing", "mail"]
    assert run.links == [context(1)]
    assert 0 <= run.attributes["outbox.read_delay_seconds"] < 60
    subscriptions = [one.attributes["outbox.subscription"] for one in receiver.named("POST")]
    assert sorted(subscriptions) == ["billing", "mail"]
    assert {one.parent for one in receiver.named("POST")} == {context(1)}


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("of what makes spans")


@pytest.mark.parametrize(
    "place", ["relay.monitoring.spans.sampled", "opentelemetry.sdk.trace.Tracer.start_span"]
)
def test_a_fault_of_what_makes_spans_repeats_no_request(
    monkeypatch: pytest.MonkeyPatch, stage: PushStage, push_relay: PushRelay, place: str
) -> None:
    stage.subscribe("billing")
    monkeypatch.setattr(place, fail)
    for number in range(1, 4):
        publish(stage.db, number, sampled(number))
    push_relay.drain()
    assert sorted(stage.keys()) == ["key-1", "key-2", "key-3"]
    assert stage.rows() == []
