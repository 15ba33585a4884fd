"""Metrics count what happened, and show the backlog."""

from collections.abc import Callable

import psycopg
import pytest

from relay.monitoring import server as status_server
from relay.monitoring.telemetry import Telemetry
from tests.conftest import CreateTopic, Spawn
from tests.eventually import eventually
from tests.relay.monitoring.samples import samples
from tests.relay.monitoring.serving import NOWHERE, Serve, ask, get
from tests.relay.operating import publish


def test_runs_dead_letters_and_faults_are_counted_by_subscription() -> None:
    telemetry = Telemetry()
    for _ in range(2):
        telemetry.run_done(
            "kafka", messages=3, bytes=70, seconds=0.5, created_at=[1, 2, 3], acknowledged_at=4
        )
    telemetry.dead("kafka", "MSG_SIZE_TOO_LARGE")
    telemetry.fault("kafka", "broker")
    shown = samples(telemetry)
    kafka = (("subscription", "kafka"),)
    assert shown["outbox_relay_messages_published_total", kafka] == 6
    assert shown["outbox_relay_bytes_published_total", kafka] == 140
    assert shown["outbox_relay_checkpoints_total", kafka] == 2
    assert shown["outbox_relay_run_seconds_total", kafka] == 1.0
    reason = (("reason", "MSG_SIZE_TOO_LARGE"), *kafka)
    assert shown["outbox_relay_dead_letters_total", reason] == 1
    assert shown["outbox_relay_faults_total", (("kind", "broker"), *kafka)] == 1


def test_requests_are_counted_by_outcome_and_timed() -> None:
    telemetry = Telemetry()
    telemetry.attempts("billing", {"acked": 2, "timeout": 1}, [0.004, 0.2, 15.0])
    telemetry.attempts("billing", {"acked": 1}, [61.0])
    shown = samples(telemetry)
    billing = (("subscription", "billing"),)
    assert shown["outbox_relay_attempts_total", (("outcome", "acked"), *billing)] == 3
    assert shown["outbox_relay_attempts_total", (("outcome", "timeout"), *billing)] == 1
    within = {
        bound: shown["outbox_relay_request_seconds_bucket", (("le", bound), *billing)]
        for bound in ("0.005", "0.1", "0.25", "15.0", "60.0", "+Inf")
    }
    assert within == {"0.005": 1, "0.1": 1, "0.25": 2, "15.0": 3, "60.0": 3, "+Inf": 4}
    assert shown["outbox_relay_request_seconds_sum", billing] == pytest.approx(76.204)


def test_of_an_answers_status_the_metrics_show_the_class() -> None:
    """An endpoint chooses its status, and each would be a series."""
    telemetry = Telemetry()
    answers = [f"http_{status}" for status in range(1000)] + [
        "http_99999",
        "http_\u0665\u0660\u0660",
        "http_",
    ]
    telemetry.attempts("billing", dict.fromkeys(answers, 1), [])
    for answer in answers:
        telemetry.dead("billing", answer)
    shown = samples(telemetry)
    classes = {"http_1xx", "http_2xx", "http_3xx", "http_4xx", "http_5xx", "http_other"}
    for name, label in (
        ("outbox_relay_attempts_total", "outcome"),
        ("outbox_relay_dead_letters_total", "reason"),
    ):
        counted = {dict(labels)[label]: value for (n, labels), value in shown.items() if n == name}
        assert counted.keys() == classes
        assert (counted["http_5xx"], sum(counted.values())) == (100, len(answers))


def test_the_backlog_is_shown_by_priority(serve: Serve, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        publish(connection)
        publish(connection)
    status, body = get(serve(database_url, Telemetry()), "/metrics")
    lines = body.splitlines()
    backlog = "outbox_relay_backlog_messages"
    assert status == 200
    assert f'{backlog}{{priority="3",subscription="kafka"}} 2.0' in lines
    assert f'{backlog}{{priority="1",subscription="kafka"}} 0.0' in lines


def test_the_text_is_made_once_a_second_however_often_it_is_asked_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs the relay's own thread as much time as it takes."""
    monkeypatch.setattr(status_server, "TEXT_SECONDS", 1000.0)
    telemetry = Telemetry()
    port = serve(NOWHERE, telemetry)
    first = get(port, "/metrics")
    telemetry.fault("kafka", "database")
    assert get(port, "/metrics") == first
    monkeypatch.setattr(status_server, "TEXT_SECONDS", 0.0)
    assert "outbox_relay_faults_total{" in get(port, "/metrics")[1]


def test_metrics_come_without_a_database_and_then_tell_no_backlog(serve: Serve) -> None:
    telemetry = Telemetry()
    telemetry.fault("kafka", "database")
    status, body = get(serve(NOWHERE, telemetry), "/metrics")
    assert status == 200
    assert "outbox_relay_faults_total{" in body
    assert "outbox_relay_backlog_messages{" not in body


def test_a_running_relay_is_alive_and_ready_and_counts_what_it_published(
    spawn: Spawn,
    database_url: str,
    kafka: str,
    topic_prefix: str,
    create_topic: CreateTopic,
    free_port: Callable[[], int],
) -> None:
    create_topic("orders")
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "RELAY_TOPIC_PREFIX": topic_prefix,
        "RELAY_PORT": str(port),
    }
    where = f"http://127.0.0.1:{port}"
    spawn("outbox-relay", "run", environment=environment, ready_url=f"{where}/readyz")
    assert ask(port, "/healthz")[0] == 200
    with psycopg.connect(database_url) as connection:
        publish(connection)

    def counted() -> None:
        published = 'outbox_relay_messages_published_total{subscription="kafka"} 1.0'
        assert published in ask(port, "/metrics")[1].splitlines()

    eventually(counted, 30)
