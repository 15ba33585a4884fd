"""Foreign names, foreign pages and foreign types: what a browser could be made to send."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from local.program import Program
from service.app import create_app
from service.settings import Settings
from tests.conftest import Spawn
from tests.service.raw import Raw, get
from tests.service.shop import ORDERS, WEBHOOKS, Shop

WS = "/v1/api/sale/ws"
PROBLEM = "application/problem+json"
NAMES = ("shop.example.com", "*.internal", "10.0.0.7", "[::1]")


@pytest.fixture
def named(database_url: str) -> Iterator[TestClient]:
    """A service that answers to NAMES alone."""
    app = create_app(Settings(database_url=database_url, pool_size=2, hosts=NAMES))
    with TestClient(app, base_url="http://shop.example.com") as client:
        yield client


@pytest.mark.parametrize(
    "host",
    [
        "shop.example.com", "shop.example.com:8080", "SHOP.example.com", "shop.example.com.",
        "api.internal", "a.b.internal:1", "10.0.0.7", "[::1]:8080",
    ],
)  # fmt: skip
def test_a_listed_name_is_answered(named: TestClient, host: str) -> None:
    assert named.get("/openapi.json", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421), ("example.com", 421), ("xshop.example.com", 421),
        ("shop.example.com.evil.example", 421), ("internal", 421), ("xinternal", 421),
        (".internal.evil", 421), ("10.0.0.70", 421), ("localhost", 421), ("127.0.0.1", 421),
        ("::1", 400), ("", 400), ("shop.example.com@evil.example", 400), ("[::1", 400),
        ("shop.example.com:x", 400),
    ],
)  # fmt: skip
def test_another_name_is_refused(named: TestClient, host: str, status: int) -> None:
    """DNS rebinding: a page of that name, whose address is suddenly this service's."""
    for method, path in (("GET", "/openapi.json"), ("POST", ORDERS), ("GET", "/nowhere")):
        answer = named.request(method, path, headers={"Host": host})
        assert answer.status_code == status
        assert answer.headers["content-type"] == PROBLEM
    assert denied(named, headers={"Host": host}) == status


def test_two_hosts_are_refused(named: TestClient) -> None:
    hosts = [("Host", "shop.example.com"), ("Host", "evil.example")]
    assert named.get("/openapi.json", headers=hosts).status_code == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_a_probe_is_answered_under_any_name(named: TestClient, path: str) -> None:
    """A kubelet asks by the pod's address."""
    assert named.get(path, headers={"Host": "10.244.0.17:8080"}).status_code == 200


def test_every_name_is_answered_where_none_is_listed(client: TestClient) -> None:
    assert client.get("/openapi.json", headers={"Host": "anything"}).status_code == 200


FOREIGN = [
    "https://evil.example",
    "http://evil.example:8080",
    "null",
    "",
    "http://testserver.evil.example",
    "http://testserver:8080",
    "http://testserver@evil.example",
    "file://",
]


def denied(client: TestClient, path: str = WS, **headers: Any) -> int:
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect(path, **headers),
    ):
        pass
    assert caught.value.headers["content-type"] == PROBLEM
    return caught.value.status_code


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_gets_no_websocket(shop: Shop, client: TestClient, origin: str) -> None:
    path = f"{WS}?orderId={shop.order()['id']}"
    assert denied(client, path, headers={"Origin": origin}) == 403


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_changes_nothing(shop: Shop, origin: str) -> None:
    """Also where no body is asked for, so that no Content-Type would give it away."""
    order = shop.order()
    path = f"{ORDERS}/{order['id']}/payments"
    answer = shop.http.post(path, headers={"Origin": origin})
    assert (answer.status_code, answer.headers["content-type"]) == (403, PROBLEM)
    assert shop.read(order["id"])["status"] == "DRAFT"


@pytest.mark.parametrize(
    "origin", ["http://testserver", "http://TESTSERVER:80", "https://testserver", None]
)
def test_its_own_page_and_who_is_no_browser_are_served(
    shop: Shop, client: TestClient, origin: str | None
) -> None:
    order = shop.order()
    headers = {} if origin is None else {"Origin": origin}
    with client.websocket_connect(f"{WS}?orderId={order['id']}", headers=headers):
        pass
    answer = shop.http.post(f"{ORDERS}/{order['id']}/payments", headers=headers)
    assert answer.status_code == 200


def test_pages_of_the_listed_names_are_served(named: TestClient) -> None:
    """A proxy before the service may have changed the Host to another one of its names."""
    for origin in ("https://shop.example.com", "https://www.internal:8443"):
        headers = {"Host": "10.0.0.7:8080", "Origin": origin}
        assert denied(named, headers=headers) == 422  # by the route: orderId is missing
        assert named.post(WEBHOOKS, headers=headers).status_code == 415
    assert denied(named, headers={"Host": "10.0.0.7", "Origin": "https://evil.example"}) == 403


def test_a_foreign_page_is_refused_over_a_real_socket(
    spawn: Spawn, database_url: str, database: psycopg.Connection[Any], client: TestClient,
    free_port: Any,
) -> None:  # fmt: skip
    port = free_port()
    start_named(spawn, database_url, port)
    order = Shop(client, database).order()
    url = f"ws://127.0.0.1:{port}{WS}?orderId={order['id']}"
    with connect(url, proxy=None, origin=Origin(f"http://127.0.0.1:{port}")):
        pass
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(url, proxy=None, origin=Origin("https://evil.example")),
    ):
        pass
    assert refused.value.response.status_code == 403
    with Raw(port) as raw:
        status, _ = raw.send(get("/openapi.json").replace(b"127.0.0.1", b"evil.example")).answer()
        assert status == 421


def start_named(spawn: Spawn, database_url: str, port: int) -> Program:
    return spawn(
        "outbox-service",
        environment={
            "DATABASE_URL": database_url,
            "SERVICE_PORT": str(port),
            "SERVICE_HOSTS": "127.0.0.1, *.example.com",
        },
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )


TYPES = [
    None,
    "",
    "text/plain",
    "text/plain; application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "application/json, text/plain",
    "application/cloudevents+json",
]


ID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("path", [WEBHOOKS, ORDERS, f"{ORDERS}/{ID}/ship"])
@pytest.mark.parametrize("type", TYPES)
def test_another_type_than_json_is_refused(client: TestClient, path: str, type: str | None) -> None:
    assert_refused(client, path, [] if type is None else [("Content-Type", type)])


def assert_refused(client: TestClient, path: str, headers: list[tuple[str, str]]) -> None:
    del client.headers["content-type"]
    answer = client.post(path, content=b"{}", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (415, PROBLEM)
    assert "application/json" in answer.json()["detail"]


def test_two_types_are_refused(client: TestClient) -> None:
    types = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    assert_refused(client, ORDERS, types)


@pytest.mark.parametrize("type", ["application/json; charset=utf-8", "Application/JSON ;x"])
def test_json_with_parameters_is_taken(client: TestClient, type: str) -> None:
    answer = client.post(ORDERS, content=b"{}", headers={"Content-Type": type})
    assert answer.status_code == 422


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "x"])
def test_an_encoded_body_is_refused(client: TestClient, coding: str) -> None:
    answer = client.post(ORDERS, content=b"{}", headers={"Content-Encoding": coding})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")


def test_a_body_that_is_said_to_be_as_it_is_is_taken(client: TestClient) -> None:
    answer = client.post(ORDERS, content=b"{}", headers={"Content-Encoding": "identity"})
    assert answer.status_code == 422
