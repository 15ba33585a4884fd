"""The service calls what it means, whatever path its role or database brings.

It is among the shadows of tests.shadows, and keeps what it promises elsewhere.
"""

import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from starlette.testclient import TestClient

from local.program import script
from service.app import create_app
from service.settings import Settings
from tests.conftest import PostgresServer
from tests.pooled import WAYS, by_way
from tests.promises import Promise, promises
from tests.service.api import Platform
from tests.service.conftest import JSON
from tests.service.payments import test_states
from tests.service.payments.live_socket import WS
from tests.service.payments.orders import test_orders_api
from tests.service.payments.webhook import test_check_events, test_order_events
from tests.service.platform import test_access, test_deliveries, test_key_channels, test_messages
from tests.service.platform.subscriptions import (
    test_delete,
    test_endpoint_hidden,
    test_endpoint_settings,
    test_steps,
    test_subscriptions,
)
from tests.service.shop import Shop, event
from tests.service.web.access import test_authorization
from tests.shadows import SET_PATH, among_shadows, shadowed, sprung

PLATFORM = promises(
    *(test_authorization, test_endpoint_hidden, test_access, test_deliveries),
    *(test_messages, test_key_channels, test_subscriptions, test_endpoint_settings),
    *(test_delete, test_steps),
    of=("platform",),
)
SHOP = promises(test_check_events, test_order_events, test_orders_api, test_states, of=("shop",))


@pytest.fixture(scope="module")
def clean_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Out of the shadows; nothing of them may have been called in the end."""
    with shadowed(postgres_server) as url:
        yield url
        with psycopg.connect(url) as owner:
            assert sprung(owner) is None


@pytest.fixture(scope="module")
def database(clean_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(clean_url, autocommit=True) as connection:
        connection.execute("create sequence dead_message start 1000000")
        yield connection


@pytest.fixture(scope="module", params=WAYS)
def service_url(clean_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with (
        among_shadows(clean_url, "outbox_service") as url,
        by_way(request.param, url) as way,
    ):
        yield way


@pytest.fixture(scope="module")
def client(service_url: str) -> Iterator[TestClient]:
    app = create_app(Settings(database_url=service_url, pool_size=8))
    with TestClient(app, raise_server_exceptions=False, headers=JSON) as http:
        yield http


@pytest.fixture(scope="module")
def platform(client: TestClient, database: psycopg.Connection[Any], service_url: str) -> Platform:
    return Platform(client, database, service_url)


@pytest.fixture
def shop(client: TestClient, database: psycopg.Connection[Any]) -> Shop:
    """With nothing in it."""
    database.execute("truncate outbox.message; truncate sale.sale_order cascade")
    return Shop(client, database)


@pytest.mark.long
@pytest.mark.parametrize("promise", PLATFORM, ids=lambda promise: promise.__name__)
def test_a_promise_of_the_platform_holds(platform: Platform, promise: Promise) -> None:
    promise(platform)
    assert sprung(platform.database) is None


@pytest.mark.long
@pytest.mark.parametrize("promise", SHOP, ids=lambda promise: promise.__name__)
def test_a_promise_of_the_shop_holds(shop: Shop, promise: Promise) -> None:
    promise(shop)
    assert sprung(shop.database) is None


def test_an_update_reaches_a_websocket(shop: Shop, client: TestClient) -> None:
    order = shop.processing_order()
    with client.websocket_connect(f"{WS}?orderId={order['id']}") as socket:
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="4"))
        assert socket.receive_json()["status"] == "PARTIAL"


def test_it_is_ready(client: TestClient) -> None:
    assert client.get("/readyz").status_code == 200


@pytest.mark.long
def test_keys_are_made_listed_and_revoked(clean_url: str) -> None:
    url = make_conninfo(clean_url, options=SET_PATH)
    assert keys(url, "create", "--name", "short-lived", "--scope", "read").startswith("ok_")
    (listed,) = [line for line in keys(url, "list").splitlines() if "short-lived" in line]
    keys(url, "revoke", listed.split("\t")[0])


def keys(url: str, *arguments: str) -> str:
    """What `outbox-service keys …` says; it must succeed."""
    ran = subprocess.run(
        [script("outbox-service"), "keys", *arguments],
        env={"DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
