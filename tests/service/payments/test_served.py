"""The platform without payments: `migrate --outbox-only`, and SERVICE_PAYMENTS."""

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import conninfo
from starlette.testclient import TestClient, WebSocketDenialResponse
from structlog.testing import capture_logs

from relay import migrations
from service.app import create_app
from service.database.pool import Database
from service.database.schema import LATEST_MIGRATION
from service.payments import retention
from service.payments.served import Payments
from service.platform import keys
from service.settings import Settings, SettingsError, from_environment
from service.web.access.keys import SCOPES
from tests.conftest import PostgresServer
from tests.service.conftest import JSON
from tests.service.shop import ORDERS, WEBHOOKS, event
from tests.service.test_process import run_to_its_end

ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def outbox_only_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database as `migrate --outbox-only` leaves it."""
    with postgres_server.clone("template0") as url:
        migrate(url, outbox_only=True)
        yield url


def migrate(url: str, *, outbox_only: bool) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        assert list(migrations.migrate(owner, outbox_only=outbox_only))


def service(url: str, payments: bool | None = None) -> TestClient:
    app = create_app(Settings(database_url=url, pool_size=4, payments=payments))
    return TestClient(app, raise_server_exceptions=False, headers=JSON)


@pytest.fixture(params=["the database has none", "SERVICE_PAYMENTS=off"])
def without(request: pytest.FixtureRequest) -> Iterator[tuple[TestClient, str]]:
    """A service without payments, and its database."""
    by_setting = request.param.startswith("SERVICE")
    url = request.getfixturevalue("database_url" if by_setting else "outbox_only_url")
    with service(url, False if by_setting else None) as client:
        yield client, url


def test_without_payments_the_service_is_ready_and_has_nothing_at_their_paths(
    without: tuple[TestClient, str],
) -> None:
    client, _ = without
    assert client.get("/readyz").status_code == 200
    sent = event("ATTEMPT_SUCCESS", order=ID, amount="1")
    for answer in (
        client.post(WEBHOOKS, json=sent),
        client.get(WEBHOOKS),
        client.post(ORDERS, json={}),
        client.get(f"{ORDERS}/{ID}"),
        client.post(f"{ORDERS}/{ID}/payments"),
    ):
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect(f"/v1/api/sale/ws?orderId={ID}"),
    ):
        pass
    assert refused.value.status_code == 404


def test_without_payments_the_document_has_none_of_them(without: tuple[TestClient, str]) -> None:
    document = without[0].get("/openapi.json").json()
    assert [path for path in document["paths"] if "sale" in path] == []
    assert "/v1/messages" in document["paths"]
    assert "OrderForm" not in document["components"]["schemas"]
    assert "payment" not in json.dumps(document["info"])


def test_without_payments_the_platform_is_all_there(without: tuple[TestClient, str]) -> None:
    client, url = without
    with psycopg.connect(url, autocommit=True) as owner:
        key = keys.create(owner, "all", SCOPES)
    headers = {"Authorization": f"Bearer {key}"}
    message = {"channelId": "c", "type": "t", "payload": {}}
    assert client.post("/v1/messages", json=message, headers=headers).status_code == 201
    assert client.get("/v1/subscriptions", headers=headers).status_code == 200


def test_without_payments_no_memory_of_webhooks_is_turned(
    outbox_only_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one_round() -> None:
        database = Database(Settings(database_url=outbox_only_url))
        await database.pool.open()
        try:
            await retention.keep(database, Payments(database, None), 180)
        finally:
            await database.pool.close()

    class RoundEnds(Exception):
        pass

    async def end(_: float) -> None:
        raise RoundEnds

    monkeypatch.setattr(retention, "asyncio", SimpleNamespace(sleep=end))
    with capture_logs() as lines, pytest.raises(RoundEnds):
        asyncio.run(one_round())
    assert [line for line in lines if line["log_level"] != "info"] == []


def test_payments_that_are_migrated_later_are_served_without_a_restart(
    outbox_only_url: str,
) -> None:
    with service(outbox_only_url) as client:
        assert client.get(f"{ORDERS}/{ID}").status_code == 404
        migrate(outbox_only_url, outbox_only=False)
        assert client.get("/readyz").status_code == 200
        assert client.get(f"{ORDERS}/{ID}").json()["detail"] == "The order does not exist."
        assert ORDERS in client.get("/openapi.json").json()["paths"]


def test_payments_that_are_asked_for_and_not_there_stop_the_start_with_the_mend(
    outbox_only_url: str,
) -> None:
    ended = run_to_its_end({"DATABASE_URL": outbox_only_url, "SERVICE_PAYMENTS": "on"})
    assert ended.returncode == 2
    (told,) = ended.stderr.splitlines()
    assert "`outbox-relay migrate` without --outbox-only" in told
    assert "SERVICE_PAYMENTS=off" in told


def test_payments_that_are_asked_for_and_not_there_are_told_by_readyz(
    outbox_only_url: str,
) -> None:
    with service(outbox_only_url, payments=True) as client:
        answer = client.get("/readyz")
    assert (answer.status_code, "--outbox-only" in answer.json()["detail"]) == (503, True)


@pytest.mark.parametrize("payments", [None, True])
def test_where_the_database_has_them_payments_are_served(
    database_url: str, payments: bool | None
) -> None:
    with service(database_url, payments) as client:
        assert client.get(f"{ORDERS}/{ID}").json()["detail"] == "The order does not exist."
        assert client.get("/readyz").status_code == 200


def test_a_database_that_lacks_the_latest_migration_is_not_ready(database_url: str) -> None:
    needed = [one for one in migrations.known() if not one.example]
    assert needed[-1].version == LATEST_MIGRATION
    with psycopg.connect(database_url, autocommit=True) as owner, service(database_url) as client:
        owner.execute("delete from outbox.migration where version = %s", [LATEST_MIGRATION])
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert f"lacks migration {LATEST_MIGRATION:03}" in answer.json()["detail"]


def test_what_lacks_a_right_is_sent_again_as_while_a_migration_has_yet_to_grant_it(
    database_url: str,
) -> None:
    as_service = conninfo.make_conninfo(database_url, options="-c role=outbox_service")
    with psycopg.connect(database_url, autocommit=True) as owner, service(as_service) as client:
        headers = {"Authorization": f"Bearer {keys.create(owner, 'all', SCOPES)}"}
        owner.execute("revoke select on outbox.subscription from outbox_service")
        with capture_logs() as lines:
            answer = client.get("/v1/subscriptions", headers=headers)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        assert "sql/roles.sql" in answer.json()["detail"]
        [told] = [line["cause"] for line in lines if line["event"] == "database refuses"]
        assert told == "permission denied for table subscription"
        owner.execute("grant select on outbox.subscription to outbox_service")
        assert client.get("/v1/subscriptions", headers=headers).status_code == 200


@pytest.mark.parametrize("value", ["", "yes", "true", "ON"])
def test_the_switch_is_on_or_off(value: str) -> None:
    environment = {"DATABASE_URL": "postgresql://u@127.0.0.1/x", "SERVICE_PAYMENTS": value}
    with pytest.raises(SettingsError, match="SERVICE_PAYMENTS must be on or off"):
        from_environment(environment)
