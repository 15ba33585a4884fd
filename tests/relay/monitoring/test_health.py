"""Health tells whether the loop turns, readiness whether the relay may run."""

import socket
from collections.abc import Callable

import psycopg
import pytest

from relay.monitoring import server as status_server
from relay.monitoring.telemetry import Telemetry
from relay.settings import SettingsError
from tests.conftest import PostgresServer
from tests.relay.monitoring.serving import NOWHERE, Serve, get
from tests.relay.operating import settings


def test_a_relay_that_waits_for_its_database_is_alive_and_not_ready(serve: Serve) -> None:
    server = serve(NOWHERE, Telemetry())
    assert get(server, "/healthz")[0] == 200
    status, body = get(server, "/readyz")
    assert (status, "127.0.0.1:1/none" in body) == (503, True)


def test_a_relay_whose_loop_hangs_is_not_alive(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = Telemetry()
    server = serve(NOWHERE, telemetry)
    monkeypatch.setattr(telemetry, "loop_age_seconds", lambda: 10.1)
    assert get(server, "/healthz")[0] == 503


def test_a_turn_of_the_loop_makes_it_young_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    telemetry = Telemetry()
    now += 60.0
    assert telemetry.loop_age_seconds() == 60.0
    telemetry.turned()
    assert telemetry.loop_age_seconds() == 0.0


def test_a_sound_database_makes_it_ready(serve: Serve, database_url: str) -> None:
    assert get(serve(database_url, Telemetry()), "/readyz") == (200, "ready\n")


def test_a_database_of_another_cluster_is_not_ready(serve: Serve, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update outbox.installation set system_identifier = 1")
    status, body = get(serve(database_url, Telemetry()), "/readyz")
    assert (status, "outbox-relay rebase" in body) == (503, True)


def test_a_database_without_the_schema_is_not_ready(
    serve: Serve, postgres_server: PostgresServer
) -> None:
    with postgres_server.clone("template0") as empty_url:
        status, body = get(serve(empty_url, Telemetry()), "/readyz")
    assert (status, "outbox-relay migrate" in body) == (503, True)


def test_a_refusal_of_the_relay_itself_is_not_ready(serve: Serve, database_url: str) -> None:
    telemetry = Telemetry()
    server = serve(database_url, telemetry)
    telemetry.refused("because")
    assert get(server, "/readyz") == (503, "because\n")
    telemetry.refused(None)
    assert get(server, "/readyz")[0] == 200


def test_head_answers_without_a_body_and_unknown_paths_are_told(serve: Serve) -> None:
    server = serve(NOWHERE, Telemetry())
    assert get(server, "/healthz", "HEAD") == (200, "")
    assert get(server, "/")[0] == 404


def test_no_port_means_no_server() -> None:
    assert status_server.start(settings(NOWHERE), Telemetry()) is None


def test_a_taken_port_is_no_reason_to_stop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert status_server.start(settings(NOWHERE, RELAY_PORT=port), Telemetry()) is None


def test_an_address_of_another_machine_is_bad_configuration(free_port: Callable[[], int]) -> None:
    elsewhere = settings(NOWHERE, RELAY_HOST="192.0.2.1", RELAY_PORT=str(free_port()))
    with pytest.raises(SettingsError, match="RELAY_HOST"):
        status_server.start(elsewhere, Telemetry())
