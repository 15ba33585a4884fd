"""Whether a relay exports spans: the standard variables decide, and no fault of it stops one."""

import json
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from relay.monitoring import tracing
from tests.span_receiver import SpanReceiver
from tests.sql.log import Session

NOWHERE = "http://127.0.0.1:9"
# A relay's whole run, and what of OpenTelemetry it has imported by its end. Kafka is away, and
# nothing is to go there.
RUN = """
import json, sys
{before}
sys.argv = ["outbox-relay", "run", "--once"]
from relay.cli import main
code = main()
found = [name for name, module in sys.modules.items() if module is not None]
print(json.dumps([code, [name for name in found if name.startswith("opentelemetry")]]))
"""
# As an interpreter without the extra: an import of it fails.
WITHOUT = "sys.modules['opentelemetry'] = None"


def run(
    database_url: str, before: str = "", **variables: str
) -> tuple[int, list[str], list[dict[str, str]]]:
    """The exit status, the modules of OpenTelemetry, and the lines of the log about spans."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN.format(before=before)],
        env={"DATABASE_URL": database_url, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, modules = json.loads(ended.stdout)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    return code, modules, [line for line in lines if "span" in line["event"]]


@pytest.fixture
def paused(database_url: str, db: Session) -> str:
    """A database whose relay has nothing to send."""
    db.execute("update outbox.subscription set paused = true")
    return database_url


def test_nothing_is_imported_where_no_exporter_is_configured(paused: str) -> None:
    assert run(paused) == (0, [], [])


def test_nothing_is_imported_where_the_variables_say_none(paused: str) -> None:
    said = {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE}
    assert run(paused, **said) == (0, [], [])


def test_without_the_extra_a_relay_says_how_to_get_it_and_runs(paused: str) -> None:
    code, modules, [line] = run(paused, WITHOUT, OTEL_EXPORTER_OTLP_ENDPOINT=NOWHERE)
    assert (code, modules, line["level"]) == (0, [], "warning")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line["fault"]
    assert line["hint"] == "pip install outbox-relay[otel]"


def test_without_the_extra_and_without_a_variable_nothing_is_said(paused: str) -> None:
    assert run(paused, WITHOUT) == (0, [], [])


def test_with_an_exporter_it_is_imported(paused: str) -> None:
    code, modules, lines = run(paused, OTEL_TRACES_EXPORTER="otlp")
    assert (code, lines) == (0, [])
    assert "opentelemetry.sdk.trace" in modules


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        # Larger than the queue: the SDK refuses it.
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000000"),
    ],
)
def test_what_can_not_be_obeyed_is_told_and_stops_no_relay(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", NOWHERE)
    monkeypatch.setenv(name, value)
    with capture_logs() as lines:
        assert tracing.start("relay-1") is None
    [line] = lines
    assert (line["event"], line["log_level"]) == ("no_spans", "warning")


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_TRACES_EXPORTER": " OTLP "},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{NOWHERE}/v1/traces"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_TRACES_EXPORTER": ""},
    ],
)
def test_what_asks_for_spans_starts_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spans = tracing.start("relay-1")
    assert spans is not None
    spans.close()


def test_a_header_that_does_not_fit_is_told_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", NOWHERE)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization:Bearer s3cret")
    with capture_logs() as lines:
        spans = tracing.start("relay-1")
    assert spans is not None
    spans.close()
    assert "Header" in lines[0]["fault"]
    assert "s3cret" not in str(lines)


def test_a_disabled_sdk_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", NOWHERE)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing.start("relay-1") is None


def test_the_service_has_the_relays_name_unless_the_variables_give_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SpanReceiver() as receiver:
        for name, value in receiver.variables().items():
            monkeypatch.setenv(name, value)
        for given in (None, "shop-relay"):
            if given is not None:
                monkeypatch.setenv("OTEL_SERVICE_NAME", given)
            spans = tracing.start("relay-1")
            assert spans is not None
            headers = b'{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}'
            spans.attempt(
                headers,
                subscription="billing",
                message_id=1,
                server=("https", "example.com", 443),
                attempts=0,
                sent_at=0.0,
                seconds=0.0,
                status=200,
                error=None,
            )
            spans.close()
        assert [span.service for span in receiver.spans] == ["outbox-relay", "shop-relay"]


REFUSED = """
from relay.monitoring import tracing
from relay.process import logs
logs.configure("info")
spans = tracing.start("relay-1")
for name in ("first", "second"):
    spans._tracer.start_span(name).end()
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
    ended = subprocess.run(
        [sys.executable, "-c", REFUSED],
        env={
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://u:s3cret@127.0.0.1:9/s3cret?key=s3cret",
            # Each batch is tried twice.
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1.5",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    [line] = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (line["event"], line["level"]) == ("spans_lost", "warning")
    assert cause in line["fault"]
    assert "s3cret" not in ended.stderr
