"""The pages in a real browser, against a real service; it leaves pictures in build/screenshots."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Error

from local.program import Program, script
from local.server import free_port
from service.platform import keys
from tests.conftest import PostgresServer
from tests.service.console import browsing, showcase
from tests.service.console.browsing import SCREENSHOTS, SIZES

PAGES = {
    "types": "/catalogue",
    "type": "/catalogue/types/order.created",
    "channel": "/catalogue?channel=orders.lifecycle",
    "deprecated": "/catalogue/types/customer.registered",
    "broken": "/catalogue/types/payment.unapplied",
    "hostile": "/catalogue/types/hostile",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.launched() as launched:
        yield launched


class Service:
    """A process of its own, whose catalogue asks for a key."""

    def __init__(self, url: str, key: str, database: psycopg.Connection[Any]) -> None:
        self.url = url
        self.key = key
        self.database = database

    def visitor(self, browser: Browser, **options: Any) -> BrowserContext:
        """Somebody who has a key, and whose browser runs nothing."""
        return browser.new_context(
            base_url=self.url,
            http_credentials={"username": "anybody", "password": self.key},
            java_script_enabled=False,
            **options,
        )


@pytest.fixture(scope="module")
def service(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with (
        postgres_server.clone() as database_url,
        psycopg.connect(database_url, autocommit=True) as database,
    ):
        showcase.fill(database)
        key = keys.create(database, "reader", ["read"])
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        program = Program(
            "outbox-service",
            [script("outbox-service")],
            log=tmp_path_factory.mktemp("service") / "log",
            environment={
                "DATABASE_URL": database_url,
                "SERVICE_PORT": str(port),
                "SERVICE_KAFKA_SERVERS": "kafka.example.com:9092",
            },
            ready_url=f"{url}/readyz",
        )
        program.launch()
        yield Service(url, key, database)
        program.kill()


@pytest.mark.long
@pytest.mark.parametrize(("size", "scheme"), [("telephone", "light"), ("desk", "dark")])
def test_every_page_fits_its_screen_and_asks_nobody_else(
    service: Service, browser: Browser, size: str, scheme: Any
) -> None:
    width, height = SIZES[size]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with service.visitor(
        browser, viewport={"width": width, "height": height}, color_scheme=scheme
    ) as visitor:
        tab = visitor.new_page()
        told: list[str] = []
        asked: list[str] = []
        tab.on("console", lambda message: told.append(message.text))
        tab.on("request", lambda request: asked.append(request.url))
        for name, path in PAGES.items():
            tab.goto(path)
            wide = tab.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} wide"
            assert tab.title() != "taken"
            tab.screenshot(path=SCREENSHOTS / f"{name}-{size}-{scheme}.png", full_page=True)
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(250, 250, 248)", "dark": "rgb(21, 24, 26)"}[scheme]
    # A policy that lets something not pass says so in the console.
    assert told == []
    assert {url.removeprefix(service.url)[:1] for url in asked} == {"/"}


def test_a_visitor_searches_and_follows_links(service: Service, browser: Browser) -> None:
    with service.visitor(browser) as visitor:
        tab = visitor.new_page()
        tab.goto("/catalogue")
        tab.get_by_role("searchbox").fill("somebody has an account")
        tab.get_by_role("button", name="Search").click()
        tab.get_by_role("link", name="customer.registered.v2").click()
        assert tab.title() == "customer.registered.v2"
        tab.get_by_role("link", name="customers").click()
        tab.get_by_role("link", name="orders.lifecycle").first.click()
        tab.get_by_role("link", name="order.created").click()
        tab.get_by_role("link", name="Version 1").click()
        assert "This is version 1" in tab.locator("main").inner_text()
        tab.get_by_role("link", name="version 3").click()
        # What is folded, and where a definition is.
        lines = tab.locator(".tree summary", has_text="lines")
        sku = tab.locator(".tree .name", has_text="sku")
        assert sku.is_visible()
        lines.click()
        assert not sku.is_visible()
        lines.click()
        tab.get_by_role("link", name="Money").click()
        assert tab.url.endswith("#definition-1")


def test_a_browser_asks_its_user_for_the_key(service: Service, browser: Browser) -> None:
    # Nobody answers what it asks.
    with (
        browser.new_context(base_url=service.url) as stranger,
        pytest.raises(Error, match="INVALID_AUTH_CREDENTIALS"),
    ):
        stranger.new_page().goto("/catalogue")
    with service.visitor(browser) as visitor:
        answer = visitor.new_page().goto("/catalogue")
        assert answer is not None
        assert answer.status == 200
