"""Who sees the catalogue's pages, and what a browser may do with them."""

import base64
import hashlib
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.console.static import ADDRESSES, FILES, FOLDER
from service.settings import Settings
from service.web.access.keys import SCOPES
from tests.event_types import register
from tests.service.api import Platform
from tests.service.console.reading import page

ALL = (
    "/catalogue",
    "/catalogue/types/order.created",
    "/catalogue/types/order.created/versions/1",
    "/catalogue/asyncapi.json",
)


def basic(authorization: dict[str, str], name: str = "anybody") -> dict[str, str]:
    """A key as a browser sends it."""
    key = authorization["Authorization"].removeprefix("Bearer ")
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()}


@pytest.mark.parametrize("path", ALL)
def test_without_a_key_a_browser_is_asked_for_one(shop: Platform, path: str) -> None:
    answer = shop.http.get(path)
    assert "asks for an API key" in page(answer, 401).text
    assert answer.headers["www-authenticate"] == 'Basic realm="Event catalogue", charset="UTF-8"'


@pytest.mark.parametrize("path", ALL)
def test_a_key_opens_them_as_a_password_and_as_a_bearer(shop: Platform, path: str) -> None:
    key = shop.key("read")
    for headers in (key, basic(key), basic(key, ""), basic(key, "é:")):
        wanted = 401 if headers == basic(key, "é:") else 200
        assert shop.http.get(path, headers=headers).status_code == wanted


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + base64.b64encode(b"a:ok_short").decode(),
        "Basic " + base64.b64encode(f"a:ok_{'A' * 43}".encode()).decode(),
        "Digest a",
    ],
)
def test_what_is_no_key_opens_nothing(shop: Platform, header: str) -> None:
    answer = shop.http.get("/catalogue", headers={"Authorization": header})
    assert answer.status_code == 401


@pytest.mark.parametrize("scope", SCOPES)
def test_reading_them_takes_the_scope_read(shop: Platform, scope: Any) -> None:
    for path in ALL:
        status = shop.http.get(path, headers=basic(shop.key(scope))).status_code
        assert status == (200 if scope == "read" else 403)


def test_a_revoked_key_opens_nothing(shop: Platform) -> None:
    key = shop.key("read")
    assert shop.http.get("/catalogue", headers=basic(key)).status_code == 200
    shop.database.execute("update outbox.api_key set revoked_at = now() where name <> 'key 1'")
    assert shop.http.get("/catalogue", headers=basic(key)).status_code == 401
    shop.database.execute("update outbox.api_key set revoked_at = null")


def test_the_api_takes_no_key_as_a_password(shop: Platform) -> None:
    headers = basic(shop.key(*SCOPES))
    for path in ("/v1/event-types", "/v1/asyncapi.json", "/v1/subscriptions"):
        answer = shop.http.get(path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_a_limited_key_sees_its_own_types_and_subscriptions_alone(shop: Platform) -> None:
    register(shop.database, "mine.made", channels=["mine.orders"])
    register(shop.database, "mine.both", channels=["mine.orders", "orders.lifecycle"])
    headers = basic(shop.key("read", channels=["mine.*"]))
    found = page(shop.http.get("/catalogue", headers=headers))
    assert "1 type" in found.text
    assert "mine.made" in found.text
    for other in ("mine.both", "orders.lifecycle", "payments", "customers"):
        assert other not in found.text
    one = page(shop.http.get("/catalogue/types/mine.made", headers=headers))
    assert "No subscription reads it" in one.text
    for type_ in ("mine.both", "order.created"):
        path = f"/catalogue/types/{type_}"
        assert shop.http.get(path, headers=headers).status_code == 404
    document = shop.http.get("/catalogue/asyncapi.json", headers=headers).json()
    assert set(document["channels"]) == {"mine.orders"}


@pytest.mark.parametrize("path", ALL)
def test_where_it_is_public_nobody_is_asked(public: TestClient, path: str) -> None:
    assert public.get(path).status_code == 200
    # And nothing else is.
    assert public.get("/v1/event-types").status_code == 401


@pytest.mark.parametrize("path", [*ALL, "/catalogue/types/nope"])
def test_a_browser_runs_and_loads_nothing_of_others(public: TestClient, path: str) -> None:
    headers = public.get(path).headers
    policy = dict(one.split(" ", 1) for one in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_stylesheet_icon_and_script_are_everybodys_and_kept(shop: Platform) -> None:
    assert set(ADDRESSES) == {"console.css", "icon.svg", "htmx.min.js"}
    for name, address in ADDRESSES.items():
        answer = shop.http.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        # Under another address it may be an older one.
        assert "cache-control" not in shop.http.get(f"/console/static/{name}").headers
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    for name in ("nope.css", "..%2fpage.py", "%2e%2e", "console.css%00"):
        assert shop.http.get(f"/console/static/{name}").status_code == 404


def test_the_script_is_the_one_that_was_published_with_its_licence() -> None:
    # dist/htmx.min.js of htmx.org 4.0.1, as npm has it.
    published = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
    assert hashlib.sha256(FILES["htmx.min.js"]).hexdigest() == published
    assert "Zero-Clause BSD" in (FOLDER / "htmx.LICENSE").read_text()


def test_a_database_that_is_away_is_a_page_too() -> None:
    settings = Settings(
        database_url="postgresql://nobody@127.0.0.1:1/nowhere",
        catalogue="public",
        database_timeout_seconds=0.5,
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as http:
        answer = http.get("/catalogue")
        assert "The database can't be reached" in page(answer, 503).text
        assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_are_only_read(public: TestClient, method: str) -> None:
    for path in ALL:
        answer = public.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert public.head("/catalogue").content == b""
