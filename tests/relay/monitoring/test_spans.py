"""Spans of runs: one for each that sent something, with links to its sampled messages."""

import gc
import sys
import time
from types import FrameType

import pytest
from opentelemetry.trace import Link

from relay.log.sink import SinkAway
from relay.monitoring.spans import MAX_LINKS, QUEUE_SPANS, Spans
from tests.eventually import eventually
from tests.relay.recording import Relay
from tests.relay.traced_messages import TRACE, context, publish, sampled, traceparent
from tests.span_receiver import SpanReceiver
from tests.sql.log import Session

pytest_plugins = ["tests.relay.span_fixtures"]


def test_a_run_is_one_span_with_links_to_its_first_sampled_messages(
    relay: Relay, db: Session, spans: Spans, receiver: SpanReceiver
) -> None:
    relay.telemetry.spans = spans
    with db.transaction():
        for number in range(1, 301):
            publish(db, number, sampled(number) if number % 2 else None)
    relay.drain()
    spans.close()
    [span] = receiver.spans
    assert (span.name, span.kind, span.parent, span.status) == ("send", "CLIENT", None, "UNSET")
    assert span.links == [context(number) for number in range(1, 2 * MAX_LINKS, 2)]
    assert span.context.trace_id != TRACE
    delay = span.attributes.pop("outbox.read_delay_seconds")
    assert 0 < delay < 60
    assert span.attributes == {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.system": "kafka",
        "messaging.batch.message_count": 300,
        "outbox.subscriptions": ["kafka"],
    }


LATE = "update outbox.message set created_at = clock_timestamp() - interval '90 seconds'"


def test_the_delay_is_by_the_databases_clock_from_writing_to_reading(
    relay: Relay, db: Session, spans: Spans, receiver: SpanReceiver
) -> None:
    relay.telemetry.spans = spans
    publish(db, 1, sampled(1))
    # Both are in the partition of today or the default one, whatever hour it is.
    db.execute(LATE)
    relay.drain()
    spans.close()
    [span] = receiver.spans
    assert 90 <= span.attributes["outbox.read_delay_seconds"] < 150


@pytest.mark.long
@pytest.mark.parametrize(
    "headers",
    [
        None,
        "{}",
        f'{{"traceparent": "{traceparent(1, "00")}"}}',
        f'{{"traceparent": "{traceparent(0)}"}}',
        f'{{"traceparent": "ff{traceparent(1)[2:]}"}}',
        f'{{"traceparent": "{traceparent(1)}-more"}}',
        '{"traceparent": "00-1"}',
        f'{{"note": "\\"traceparent\\": \\"{traceparent(1)}\\""}}',
    ],
)
def test_of_what_is_not_sampled_there_is_no_span(
    relay: Relay, db: Session, spans: Spans, receiver: SpanReceiver, headers: str | None
) -> None:
    relay.telemetry.spans = spans
    sent = publish(db, 1, headers)
    assert relay.drain() == [sent]
    spans.close()
    assert receiver.spans == []


def test_a_run_that_could_send_nothing_is_none(
    relay: Relay, db: Session, spans: Spans, receiver: SpanReceiver
) -> None:
    """A channel whose topic is missing is tried twice a second."""
    relay.telemetry.spans = spans
    relay.sink.missing.add("orders")
    publish(db, 1, sampled(1))
    relay.drain()
    spans.close()
    assert receiver.spans == []


def test_what_is_redriven_is_a_runs_link(
    relay: Relay, db: Session, spans: Spans, receiver: SpanReceiver
) -> None:
    sent = publish(db, 1, sampled(1))
    relay.sink.refuses = lambda _: True
    relay.drain()
    relay.sink.refuses = lambda _: False
    db.execute("select outbox.redrive(array(select id from outbox.dead_letter))")
    relay.telemetry.spans = spans
    assert relay.drain() == [sent]
    spans.close()
    [span] = receiver.spans
    assert span.links == [context(1)]
    assert span.attributes["messaging.batch.message_count"] == 1
    # It was read from the log long ago.
    assert "outbox.read_delay_seconds" not in span.attributes


def test_a_run_that_is_given_up_says_so(
    relay: Relay, db: Session, spans: Spans, receiver: SpanReceiver
) -> None:
    relay.telemetry.spans = spans
    publish(db, 1, sampled(1))

    def away() -> None:
        raise SinkAway

    relay.sink.delivered = away
    [cursor] = relay.probe()
    with pytest.raises(SinkAway):
        relay.run(cursor)
    spans.close()
    [span] = receiver.spans
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "SinkAway")


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("of what makes spans")


@pytest.mark.parametrize(
    "place",
    [
        "relay.monitoring.spans.sampled",
        "relay.monitoring.spans.Link",
        "opentelemetry.sdk.trace.Tracer.start_span",
        "opentelemetry.sdk.trace.Span.end",
    ],
)
def test_a_fault_of_what_makes_spans_changes_no_run(
    monkeypatch: pytest.MonkeyPatch, relay: Relay, db: Session, spans: Spans, place: str
) -> None:
    relay.telemetry.spans = spans
    sent = [publish(db, number, sampled(number)) for number in range(1, 4)]
    monkeypatch.setattr(place, fail)
    assert relay.drain() == sent
    assert relay.sink.runs == [3]


def test_a_run_that_is_over_keeps_no_links(
    relay: Relay, db: Session, spans: Spans, receiver: SpanReceiver
) -> None:
    """Each of a relay's subscriptions would keep those of its latest run, 128 of them."""
    relay.telemetry.spans = spans
    publish(db, 777, sampled(777))
    relay.drain()
    spans.close()
    assert len(receiver.spans) == 1
    gc.collect()
    links = [one for one in gc.get_objects() if isinstance(one, Link)]
    assert [one for one in links if one.context.span_id == 777] == []


def calls(relay: Relay) -> int:
    """How many calls of what makes spans a relay's runs take, until nothing is left."""
    names = ("spans.py", "traced.py", "_looked_at", "opentelemetry")
    found = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal found
        code = frame.f_code
        if event == "call" and any(
            name in code.co_filename or name == code.co_name for name in names
        ):
            # Not those of this file, whose name ends so as well.
            found += not code.co_filename.endswith("test_spans.py")

    sys.setprofile(count)
    try:
        relay.drain()
    finally:
        sys.setprofile(None)
    return found


def test_without_spans_no_message_costs_a_call(relay: Relay, db: Session, spans: Spans) -> None:
    for number in range(1, 11):
        publish(db, number, sampled(number))
    assert calls(relay) == 0
    # The same look finds them where there are some.
    relay.telemetry.spans = spans
    publish(db, 11, sampled(11))
    assert calls(relay) > 0


def test_of_what_a_collector_does_not_take_the_latest_spans_are_kept(
    spans: Spans, receiver: SpanReceiver
) -> None:
    receiver.hang()
    for number in range(2000):
        spans.attempt(
            sampled(1).encode(),
            subscription="billing",
            message_id=number,
            server=("https", "example.com", 443),
            attempts=0,
            sent_at=time.monotonic(),
            seconds=0.0,
            status=200,
            error=None,
        )
    receiver.released.set()

    def all_there() -> None:
        ids = [span.attributes["outbox.message.id"] for span in receiver.spans]
        assert max(ids, default=0) == 1999

    eventually(all_there, 30)
    # The queue, and batches that were on their way.
    assert QUEUE_SPANS <= len(receiver.spans) < 1500


def test_a_collector_that_hangs_holds_up_no_run_and_no_close(
    relay: Relay, db: Session, spans: Spans, receiver: SpanReceiver
) -> None:
    receiver.hang()
    relay.telemetry.spans = spans
    for number in range(1, 51):
        publish(db, number, sampled(number))
        relay.drain()
    assert len(relay.sink.ids) == 50
    began_at = time.monotonic()
    spans.close()
    assert time.monotonic() - began_at < 3
