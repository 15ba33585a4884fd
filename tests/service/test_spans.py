"""Spans of the service: one for a request that may change something, one for what it publishes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from opentelemetry.sdk.trace import Span, Tracer
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from service import tracing
from service.app import create_app
from service.settings import Settings
from service.spans import Spans
from tests.service.api import Platform
from tests.service.conftest import JSON
from tests.service.shop import WEBHOOKS, Shop, event
from tests.span_receiver import Context, SpanReceiver

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpanReceiver]:
    with SpanReceiver() as taken:
        for name, value in taken.variables().items():
            monkeypatch.setenv(name, value)
        yield taken


@pytest.fixture
def spans(receiver: SpanReceiver) -> Iterator[Spans]:
    """Close them to have them all exported."""
    made = Spans()
    yield made
    made.close()


@pytest.fixture
def client(database_url: str, spans: Spans) -> Iterator[TestClient]:
    app = create_app(Settings(database_url=database_url, pool_size=4), spans)
    with TestClient(app, raise_server_exceptions=False, headers=JSON) as started:
        yield started


def test_a_webhook_is_a_span_of_its_requests_trace_and_so_is_what_it_publishes(
    shop: Shop, spans: Spans, receiver: SpanReceiver
) -> None:
    order = shop.processing_order()
    before = len(shop.messages())
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10), {"traceparent": SAMPLED})
    spans.close()
    [request] = receiver.named(f"POST {WEBHOOKS}")
    assert (request.kind, request.parent) == ("SERVER", Context(TRACE, PARENT))
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": WEBHOOKS,
        "url.scheme": "http",
        "url.path": WEBHOOKS,
        "http.response.status_code": 200,
    }
    assert (request.status, request.service) == ("UNSET", "outbox-service")
    published = [one for one in receiver.spans if one.parent == request.context]
    channels = [one.attributes["messaging.destination.name"] for one in published]
    messages = shop.messages()[before:]
    # What stays inside the database is no publishing.
    outward = [one.channel for one in messages if one.channel != "outbox.live"]
    assert sorted(channels) == sorted(outward)
    assert "payment.success" in channels
    for one in published:
        assert one.kind == "CLIENT"
        assert one.name == f"publish {one.attributes['messaging.destination.name']}"
        assert one.attributes["messaging.operation.type"] == "send"
    # What its writer put there, and not a span of ours.
    assert {str(message.headers) for message in messages} == {str({"traceparent": SAMPLED})}


def test_what_a_webhook_without_a_trace_publishes_belongs_to_its_span(
    shop: Shop, spans: Spans, receiver: SpanReceiver
) -> None:
    order = shop.processing_order()
    before = len(shop.messages())
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10), {"traceparent": "broken"})
    spans.close()
    [request] = receiver.named(f"POST {WEBHOOKS}")
    assert request.parent is None
    # Sampled, of a trace whose id is random.
    carried = f"00-{request.context.trace_id}-{request.context.span_id}-03"
    messages = shop.messages()[before:]
    assert messages
    assert {str(message.headers) for message in messages} == {str({"traceparent": carried})}


def test_what_the_sampler_leaves_out_is_carried_as_unsampled(
    monkeypatch: pytest.MonkeyPatch, database_url: str, receiver: SpanReceiver
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    spans = Spans()
    app = create_app(Settings(database_url=database_url, pool_size=4), spans)
    with TestClient(app, headers=JSON) as http, psycopg.connect(database_url) as database:
        shop = Shop(http, database)
        order = shop.processing_order()
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10))
        [message] = shop.messages("payment.success")
    spans.close()
    assert message.headers is not None
    assert message.headers["traceparent"].endswith("-02")
    assert receiver.spans == []


def test_a_fault_of_the_sdk_changes_no_request(
    monkeypatch: pytest.MonkeyPatch, shop: Shop, spans: Spans, receiver: SpanReceiver
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the SDK's")

    order = shop.processing_order()
    for broken, name in ((Span, "set_attribute"), (Span, "end"), (Tracer, "start_span")):
        monkeypatch.setattr(broken, name, fail)
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10))
    assert len(shop.messages("payment.success")) == 1


def test_an_unsampled_request_has_no_span(shop: Shop, spans: Spans, receiver: SpanReceiver) -> None:
    order = shop.processing_order()
    shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid=10), {"traceparent": UNSAMPLED})
    spans.close()
    assert receiver.named(f"POST {WEBHOOKS}") == []
    assert shop.messages("payment.success")[0].headers == {"traceparent": UNSAMPLED}


def test_a_request_without_a_trace_begins_one_as_the_sampler_says(
    shop: Shop, spans: Spans, receiver: SpanReceiver
) -> None:
    shop.order()
    spans.close()
    [request] = receiver.named("POST /v1/api/sale/orders")
    assert request.parent is None


def test_what_only_reads_has_no_span(shop: Shop, spans: Spans, receiver: SpanReceiver) -> None:
    order = shop.order()
    shop.read(order["id"])
    spans.close()
    assert [one.kind for one in receiver.spans if one.kind == "SERVER"] == ["SERVER"]


def test_a_refusal_is_told_with_its_status_and_without_its_words(
    client: TestClient, spans: Spans, receiver: SpanReceiver
) -> None:
    answer = client.post(
        f"{WEBHOOKS}?q=s3cret",
        content=b'{"payload": "s3cret"',
        headers={"traceparent": SAMPLED, "x-token": "s3cret"},
    )
    assert answer.status_code == 422
    spans.close()
    [request] = receiver.spans
    assert request.attributes["http.response.status_code"] == answer.status_code
    # Of a server's 4xx the conventions make no error.
    assert request.status == "UNSET"
    # An exception would be an event.
    assert request.events == []
    assert b"s3cret" not in b"".join(receiver.requests)


def test_a_path_that_its_caller_made_long_is_cut(
    client: TestClient, spans: Spans, receiver: SpanReceiver
) -> None:
    assert client.post(f"/v1/api/sale/orders/{'x' * 5000}/payments").status_code == 404
    spans.close()
    [request] = receiver.spans
    assert request.name == "POST /v1/api/sale/orders/{id}/payments"
    assert len(request.attributes["url.path"]) == 300


def test_without_a_valid_key_there_is_no_span(
    client: TestClient, spans: Spans, receiver: SpanReceiver
) -> None:
    answer = client.post("/v1/messages", json={}, headers={"traceparent": SAMPLED})
    assert answer.status_code == 401
    spans.close()
    assert receiver.spans == []


@pytest.fixture
def publisher(client: TestClient, database_url: str) -> dict[str, str]:
    """The headers of one that may publish, within the trace."""
    with psycopg.connect(database_url, autocommit=True) as database:
        key = Platform(client, database, database_url).key("publish")
    return {**key, "traceparent": SAMPLED}


def test_what_the_database_refuses_to_publish_is_told_without_its_words(
    client: TestClient, publisher: dict[str, str], spans: Spans, receiver: SpanReceiver
) -> None:
    form = {
        "channelId": "orders",
        "type": "order.paid",
        "payload": {},
        "headers": {"ce_id": "s3cret"},
    }
    answer = client.post("/v1/messages", json=form, headers=publisher)
    assert answer.status_code == 422, answer.text
    spans.close()
    [publish] = receiver.named("publish orders")
    assert (publish.status, publish.events) == ("ERROR", [])
    assert publish.attributes["error.type"] == "CheckViolation"
    assert b"s3cret" not in b"".join(receiver.requests)


def test_publishing_over_http_is_a_span_with_its_channels(
    client: TestClient, publisher: dict[str, str], spans: Spans, receiver: SpanReceiver
) -> None:
    form = {"channelId": "orders", "type": "order.paid", "payload": {"card": "s3cret"}}
    answer = client.post("/v1/messages/transactional", json=[form, form], headers=publisher)
    assert answer.status_code == 201, answer.text
    spans.close()
    [publish] = receiver.named("publish orders")
    assert publish.attributes["messaging.batch.message_count"] == 2
    [request] = [one for one in receiver.spans if one.kind == "SERVER"]
    assert publish.parent == request.context
    assert b"s3cret" not in b"".join(receiver.requests)


# The process.

STARTED = """
import json, sys
{before}
from service import cli
from service.process import logs
logs.configure()
spans = cli.tracing.start()
found = [name for name, module in sys.modules.items() if module is not None]
names = [name for name in found if name.startswith("opentelemetry")]
{after}
print(json.dumps([spans is None, names]))
"""


def start(before: str = "", after: str = "", **variables: str) -> list[Any]:
    """What a process of the service writes: its log, and whether it has no spans and why."""
    ended = subprocess.run(
        [sys.executable, "-c", STARTED.format(before=before, after=after)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_nothing_is_imported_where_no_exporter_is_configured() -> None:
    assert start() == [[True, []]]


def test_without_the_extra_the_service_says_how_to_get_it() -> None:
    without = "sys.modules['opentelemetry'] = None"
    line, found = start(without, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert found == [True, []]
    assert line["level"] == "warning"
    assert line["hint"] == "pip install outbox-relay[otel]"


def test_a_header_that_does_not_fit_is_told_without_its_value() -> None:
    line, _ = start(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_EXPORTER_OTLP_HEADERS="authorization:Bearer s3cret",
    )
    assert "Header" in line["fault"]
    assert "s3cret" not in str(line)


REFUSED = """
spans._tracer.start_span("first").end()
spans._provider.force_flush()
spans._tracer.start_span("second").end()
spans._provider.force_flush()
"""


@pytest.mark.parametrize(
    ("variables", "cause"),
    [
        ({}, "ConnectionRefusedError"),
        # A line's end in a header's value.
        ({"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%0As3cret"}, "InvalidHeader"),
    ],
)
def test_a_collector_that_takes_nothing_is_told_once_a_minute_and_without_a_secret(
    variables: dict[str, str], cause: str
) -> None:
    line, _ = start(
        after=REFUSED,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://u:s3cret@127.0.0.1:9/s3cret?key=s3cret",
        # Each batch is tried twice.
        OTEL_EXPORTER_OTLP_TIMEOUT="1.5",
        **variables,
    )
    assert (line["event"], line["level"]) == ("spans lost", "warning")
    assert cause in line["fault"]
    assert "s3cret" not in str(line)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000000"),
    ],
)
def test_what_can_not_be_obeyed_is_told_and_stops_no_service(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    with capture_logs() as lines:
        assert tracing.start() is None
    assert [line["log_level"] for line in lines] == ["warning"]
