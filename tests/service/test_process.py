"""`outbox-service` as a process: start, refusal, stop, and what it tells about itself."""

import asyncio
import importlib.metadata
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from local.program import Program, script
from service import openapi
from service.app import create_app
from service.settings import Settings
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.shop import Shop, event


@pytest.fixture
def port(free_port: Callable[[], int]) -> int:
    return free_port()


@pytest.fixture
def service(spawn: Spawn, database_url: str, port: int) -> Program:
    """A running service."""
    return spawn(
        "outbox-service",
        environment={"DATABASE_URL": database_url, "SERVICE_PORT": str(port)},
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )


def run_to_its_end(
    environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVICE_")}
    return subprocess.run(
        [script("outbox-service"), *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_version_is_told_without_any_setting() -> None:
    """It is the version of what is installed."""
    ended = run_to_its_end({"SERVICE_PROT": "1"}, "--version")
    told = f"outbox-service {importlib.metadata.version('outbox-relay')}\n"
    assert (ended.returncode, ended.stdout) == (0, told)


def test_an_unknown_setting_stops_the_start_with_exit_code_2() -> None:
    url = "postgresql://u:password@127.0.0.1/x"
    ended = run_to_its_end({"DATABASE_URL": url, "SERVICE_PROT": "1"})
    assert ended.returncode == 2
    assert "SERVICE_PROT" in ended.stderr
    assert "password" not in ended.stderr + ended.stdout


@pytest.mark.long
def test_a_port_that_is_taken_is_a_fault(service: Program, database_url: str, port: int) -> None:
    ended = run_to_its_end({"DATABASE_URL": database_url, "SERVICE_PORT": str(port)})
    assert ended.returncode == 1


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_what_is_in_flight_with_exit_code_0(
    service: Program,
    port: int,
    database: psycopg.Connection[Any],
    database_url: str,
    stop: signal.Signals,
) -> None:
    """A delivery waits for a row lock while the signal comes; a WebSocket is open as well."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        shop = Shop(http, database)
        order = shop.processing_order()
        statuses: list[int] = []

        def deliver() -> None:
            statuses.append(
                shop.send(event("ATTEMPT_SUCCESS", order=order["id"], paid="10")).status_code
            )

        def waits() -> None:
            row = database.execute(
                """
                select count(*) from pg_stat_activity
                where wait_event_type = 'Lock' and datname = current_database()
                """
            ).fetchone()
            assert row == (1,)

        url = f"ws://127.0.0.1:{port}/v1/api/sale/ws?orderId={order['id']}"
        with connect(url, proxy=None) as socket, psycopg.connect(database_url) as holder:
            holder.execute("select from sale.sale_order where id = %s for update", [order["id"]])
            thread = threading.Thread(target=deliver)
            thread.start()
            eventually(waits)
            os.kill(service.pid, stop)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            holder.commit()
            thread.join(10)
    assert statuses == [200]
    assert service.wait(10) == 0
    status = database.execute("select status from sale.sale_order").fetchone()
    assert status == ("COMPLETED",)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("loop", ["payments.retention.keep", "payments.live.clients.Live.run"])
def test_a_loop_that_loses_its_cancellation_does_not_hold_up_the_stop(
    database_url: str, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    """As one does whose statement is interrupted and ends with an error of the database's."""
    lost = []

    async def run(*_: object) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost.append(loop)
                if len(lost) > 2:
                    raise

    monkeypatch.setattr(f"service.{loop}", run)
    with TestClient(create_app(Settings(database_url=database_url, pool_size=2))) as started:
        assert started.get("/healthz").status_code == 200
    assert len(lost) == 3


def test_its_log_is_one_json_line_per_request_without_secrets(service: Program, port: int) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as http:
        http.get("/v1/api/sale/orders/nonsense?token=secret")
        http.get("/healthz")

    def logged() -> dict[str, Any]:
        lines = [json.loads(line) for line in service.output().splitlines()]
        requests = [line for line in lines if line["event"] == "request"]
        assert len(requests) == 1
        found: dict[str, Any] = requests[0]
        return found

    line = eventually(logged)
    assert (line["method"], line["path"], line["status"]) == (
        "GET",
        "/v1/api/sale/orders/nonsense",
        404,
    )
    assert "secret" not in service.output()


def test_the_start_says_whether_signatures_are_required(service: Program) -> None:
    lines = [json.loads(line) for line in service.output().splitlines()]
    [line] = [line for line in lines if line["event"] == "webhook signatures"]
    assert line["required"] is False


def test_an_event_that_was_not_applied_is_logged_with_what_it_takes_to_find_it(shop: Shop) -> None:
    order_id = str(uuid4())
    with capture_logs() as lines:
        shop.send(
            event(
                "ATTEMPT_SUCCESS",
                order=order_id,
                paid="10",
                amount="4.50",
                attempt_id="attempt",
                transaction_id="transaction",
            )
        )
    [line] = [line for line in lines if line["event"] == "not acknowledged"]
    assert line == {
        "event": "not acknowledged",
        "log_level": "warning",
        "reason": "The order does not exist.",
        "event_type": "ATTEMPT_SUCCESS",
        "target_kind": "SaleOrder",
        "target_id": order_id,
        "attempt_id": "attempt",
        "transaction_id": "transaction",
        "amount": "4.50",
    }


def test_metrics_count_by_route_and_outcome(shop: Shop) -> None:
    order = shop.processing_order()
    sent = event("ATTEMPT_SUCCESS", order=order["id"], paid="10")
    for _ in range(3):
        shop.deliver(sent)
    shop.send(event("NONSENSE", order=order["id"], paid="10"))
    shop.send(event("ATTEMPT_FAILED", order=uuid4(), paid="10"))
    shop.http.get("/nowhere/at/all")
    text = shop.http.get("/metrics").text
    for line in (
        'service_webhooks_total{event_type="ATTEMPT_SUCCESS",outcome="applied"} 1.0',
        'service_webhooks_total{event_type="ATTEMPT_SUCCESS",outcome="repeated"} 2.0',
        'service_webhooks_total{event_type="unknown",outcome="refused"} 1.0',
        'service_webhooks_total{event_type="ATTEMPT_FAILED",outcome="not_found"} 1.0',
        'route="/v1/api/sale/orders/{id}/payments",status="200"} 1.0',
        'service_requests_total{method="any",route="unmatched",status="404"} 1.0',
        'service_request_seconds_count{route="/v1/api/sale/webhooks/payment"} 5.0',
        "service_pool_connections",
    ):
        assert line in text
    assert order["id"] not in text


def test_unknown_methods_are_one_series(client: TestClient) -> None:
    for number in range(5):
        assert client.request(f"MADE-UP-{number}", "/v1/api/sale/orders").status_code == 405
    text = client.get("/metrics").text
    route = "/v1/api/sale/orders"
    assert f'service_requests_total{{method="other",route="{route}",status="405"}} 5.0' in text
    assert "MADE-UP" not in text


def test_paths_and_methods_that_do_not_exist_are_problem_details(client: TestClient) -> None:
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("GET", "/v1/api/sale/webhooks/payment", 405),
        ("DELETE", "/v1/api/sale/orders", 405),
    ):
        answer = client.request(method, path)
        assert answer.status_code == answer.json()["status"] == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_openapi_document_is_encoded_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may ask for it, as often as he likes."""
    first = client.get("/openapi.json")
    monkeypatch.setattr(openapi, "document", None)
    monkeypatch.setattr(openapi, "msgspec", None)
    again = client.get("/openapi.json")
    assert (again.status_code, again.content) == (200, first.content)
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        unchanged = client.get("/openapi.json", headers={"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == tag
    assert client.get("/openapi.json", headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_openapi_document_describes_every_http_path(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    routes = {
        route.path
        for route in client.app.routes  # type: ignore[attr-defined]
        if route.path.startswith("/v1/") and route.path != "/v1/api/sale/ws"
    }
    assert set(document["paths"]) == routes
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    for reference in text.split('"#/components/schemas/')[1:]:
        assert reference.split('"')[0] in names
