"""The console in a real browser, against a real service; pictures are left in build/screenshots."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.program import Program, script
from local.server import free_port
from tests.conftest import PostgresServer
from tests.service.console import browsing, scene
from tests.service.console.browsing import SCREENSHOTS, SIZES
from tests.service.console.scene import Scene

# Every page that there is, and where; the later ones of the scene.
PAGES: dict[str, Callable[[Scene], str]] = {
    "overview": lambda _: "/console",
    "subscriptions": lambda _: "/console/subscriptions",
    "subscription": lambda scene: f"/console/subscriptions/{scene.failing}",
    "connector": lambda scene: f"/console/connectors/{scene.source}",
    "replay": lambda scene: f"/console/subscriptions/{scene.busy}/replay?from=2026-01-01T00:00",
    "dead-letters": lambda scene: f"/console/dead-letters?subscriptionId={scene.failing}",
    "dead-letter": lambda scene: f"/console/dead-letters/{scene.dead_letter}",
    "messages": lambda _: "/console/messages?key=nothing",
    "message": lambda scene: f"/console/messages/{scene.message}",
    "audit": lambda _: "/console/audit",
    "catalogue": lambda _: "/catalogue",
}
CHANGE = """
    insert into outbox.audit
        (api_key_id, key_name, by_console, action, subject, subject_id, summary)
    values (1, 'operator', true, 'subscription.pause', 'billing', 2, ''),
           (1, 'operator', false, 'event_type.register', %s, null, %s)
"""


class Service:
    """A process of its own with a console, and its database."""

    def __init__(self, url: str, database: psycopg.Connection[Any], scene_: Scene) -> None:
        self.url = url
        self.database = database
        self.scene = scene_

    @contextmanager
    def operator(self, browser: Browser, **options: Any) -> Iterator[BrowserContext]:
        """Somebody who is signed in, with all scopes."""
        with browser.new_context(base_url=self.url, **options) as context:
            tab = context.new_page()
            sign_in(tab, self.scene.key)
            expect(tab.get_by_role("heading", name="Overview")).to_be_visible()
            tab.close()
            yield context


def sign_in(tab: Page, key: str) -> None:
    tab.goto("/console")
    tab.get_by_label("API key").fill(key)
    tab.get_by_role("button", name="Sign in").click()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.launched() as launched:
        yield launched


@pytest.fixture(scope="module")
def service(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """As a login that is nothing but a member of outbox_service."""
    role = sql.Identifier(f"test_{uuid.uuid4().hex}")
    with (
        postgres_server.clone() as database_url,
        psycopg.connect(database_url, autocommit=True) as database,
    ):
        filled = scene.fill(database)
        database.execute(CHANGE, [scene.HOSTILE, "channels, schema, " * 4])
        database.execute(sql.SQL("create role {} login in role outbox_service").format(role))
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        program = Program(
            "outbox-service",
            [script("outbox-service")],
            log=tmp_path_factory.mktemp("service") / "log",
            environment={
                "DATABASE_URL": make_conninfo(database_url, user=role.as_string().strip('"')),
                "SERVICE_PORT": str(port),
                "SERVICE_CONSOLE": "on",
            },
            ready_url=f"{url}/readyz",
        )
        program.launch()
        yield Service(url, database, filled)
        program.kill()
        database.execute(sql.SQL("drop role {}").format(role))


@pytest.mark.long
@pytest.mark.parametrize(
    ("size", "scheme"),
    [pytest.param("telephone", "dark", marks=pytest.mark.long), ("desk", "light")],
)
def test_every_page_fits_its_screen_asks_nobody_else_and_can_be_used_by_all(
    service: Service, browser: Browser, size: str, scheme: Any
) -> None:
    axe = browsing.axe_source()
    width, height = SIZES[size]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    told: list[str] = []
    asked: list[str] = []
    with service.operator(
        browser, viewport={"width": width, "height": height}, color_scheme=scheme
    ) as operator:
        tab = operator.new_page()
        tab.on("console", lambda message: told.append(message.text))
        tab.on("pageerror", lambda error: told.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        for name, path in PAGES.items():
            answer = tab.goto(path(service.scene))
            assert answer is not None
            assert answer.status == 200, name
            wide = tab.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} wide"
            assert tab.title() != "taken", name
            assert browsing.findings(tab, axe) == [], name
            tab.screenshot(path=SCREENSHOTS / f"console-{name}-{size}-{scheme}.png")
    # A policy that lets something not pass says so in the console.
    assert told == []
    assert {url.removeprefix(service.url)[:1] for url in asked} == {"/"}


def test_an_operator_signs_in_and_out_by_the_keyboard_alone(
    service: Service, browser: Browser
) -> None:
    axe = browsing.axe_source()
    with browser.new_context(base_url=service.url) as context:
        tab = context.new_page()
        tab.goto("/console/audit")
        # The field has the focus.
        tab.keyboard.type("ok_wrong")
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("alert")).to_have_text("This key is unknown, revoked or expired.")
        assert browsing.findings(tab, axe) == []
        tab.keyboard.type(service.scene.key)
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("heading", name="Audit")).to_be_visible()
        tab.keyboard.press("Tab")
        expect(tab.get_by_role("link", name="Skip to the content")).to_be_focused()
        out = tab.get_by_role("button", name="Sign out")
        out.focus()
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
        tab.goto("/console")
        expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_overview_looks_again_by_itself_and_leaves_the_focus_where_it_is(
    service: Service, browser: Browser
) -> None:
    with service.operator(browser) as operator:
        tab = operator.new_page()
        tab.clock.install()
        tab.goto("/console")
        link = tab.get_by_role("link", name="billing", exact=True)
        link.focus()
        row = tab.get_by_role("row").filter(has=link)
        expect(row).not_to_contain_text("paused")
        service.database.execute(
            "update outbox.subscription set paused = true where id = %s", [service.scene.busy]
        )
        tab.clock.fast_forward(6_000)
        expect(row).to_contain_text("paused")
        expect(link).to_be_focused()
        # What is over leads to signing in as a whole.
        service.database.execute("delete from outbox.console_session")
        tab.clock.fast_forward(6_000)
        expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.long
def test_every_button_does_what_it_says(service: Service, browser: Browser) -> None:
    made = scene.add_late(service.database)
    with service.operator(browser) as operator:
        tab = operator.new_page()

        def press(button: str, said: str) -> None:
            tab.get_by_role("button", name=button).click()
            expect(tab.locator(".notice")).to_contain_text(said)

        tab.goto(f"/console/subscriptions/{made.subscription}")
        press("Pause", "is paused")
        press("Resume", "goes on where it stood")
        press("Retry now", "messages go now")
        press("Send a test message", "A test message is on its way")
        tab.get_by_role("link", name="late", exact=True).click()
        tab.get_by_label("those before it").select_option("are revoked now")
        tab.get_by_role("button", name="Make a new secret").click()
        expect(tab.locator("#secret")).to_contain_text("whsec_")
        tab.get_by_role("link", name="Back to late").click()
        tab.get_by_role("link", name="Replay").click()
        tab.get_by_label("or from message").fill(made.message)
        tab.get_by_role("button", name="Count").click()
        press("Send 1 message again", "1 message comes again")
        tab.goto(f"/console/dead-letters?subscriptionId={made.subscription}&reason=timeout")
        tab.get_by_role("checkbox").first.check()
        press("Redrive the chosen ones", "1 dead letter is on the way again")
        tab.get_by_text("Redrive all of this subscription").click()
        press("Redrive all", "2 dead letters are on the way again")


def test_without_scripts_every_page_is_there_and_leads_on(
    service: Service, browser: Browser
) -> None:
    with service.operator(browser, java_script_enabled=False) as operator:
        tab = operator.new_page()
        tab.goto("/console")
        for name in ("Catalogue", "Audit", "Overview"):
            tab.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
            expect(tab.locator("nav [aria-current=page]")).to_have_text(name)
        tab.get_by_role("button", name="Sign out").click()
        expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
