"""An outage as an operator sees it and ends it: by the console alone, and by the commands.

It leaves pictures and what was typed in build/screenshots.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from service.platform import keys
from tests.conftest import Spawn
from tests.relay.operating import outbox_relay
from tests.service.console import browsing
from tests.service.console.browsing import SCREENSHOTS
from tests.service.console.outage import CHANNEL, Outage, outage

# Of a picture, and where the page's own text ends.
WIDTH = 1120
MAX_HEIGHT = 860
END_OF_PAGE = "document.querySelector('main').lastElementChild.getBoundingClientRect().bottom + 32"


@pytest.fixture
def played(database_url: str, tmp_path: Path) -> Iterator[Outage]:
    with outage(database_url, tmp_path) as played:
        yield played


class Operator:
    """Somebody who has the console in a browser, and nothing else."""

    def __init__(self, tab: Page, key: str) -> None:
        self.tab = tab
        self.told: list[str] = []
        tab.on("console", self._note)
        tab.goto("/console/subscriptions")
        tab.get_by_label("API key").fill(key)
        tab.get_by_role("button", name="Sign in").click()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.told.append(message.text)

    def opens(self, link: str) -> None:
        self.tab.get_by_role("link", name=link, exact=True).first.click()

    def presses(self, button: str) -> None:
        self.tab.get_by_role("button", name=button, exact=True).click()

    def sees(self, *texts: str) -> None:
        for text in texts:
            expect(self.tab.locator("main")).to_contain_text(text)

    def keeps(self, name: str) -> None:
        """A picture of the page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        height = self.tab.evaluate(END_OF_PAGE)
        self.tab.screenshot(
            path=SCREENSHOTS / f"outage-{name}.png",
            full_page=True,
            clip={"x": 0, "y": 0, "width": WIDTH, "height": min(height, MAX_HEIGHT)},
        )


@pytest.fixture
def operator(
    played: Outage, database_url: str, spawn: Spawn, free_port: Callable[[], int]
) -> Iterator[Operator]:
    key = keys.create(played.database, "operator", ["read", "manage", "payloads"])
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "DATABASE_URL": database_url,
        "SERVICE_PORT": str(port),
        "SERVICE_CONSOLE": "on",
    }
    spawn("outbox-service", environment=environment, ready_url=f"{url}/readyz")
    with browsing.launched() as browser:
        window = browser.new_context(base_url=url, viewport={"width": WIDTH, "height": 700})
        yield Operator(window.new_page(), key)


@pytest.mark.long
def test_an_outage_is_ended_by_the_console_alone(played: Outage, operator: Operator) -> None:
    operator.sees("billing", "on")
    played.breaks()
    operator.opens("Subscriptions")
    operator.sees("breaker open")
    operator.keeps("1-subscriptions")
    operator.opens("billing")
    operator.sees("The breaker is open since", "we are down", "Groups that are held up")
    operator.keeps("2-breaker-open")

    operator.opens("Messages")
    operator.tab.get_by_label("Id or idempotency key").fill(played.key(6))
    operator.presses("Find")
    operator.sees("billing breaker open", played.key(6))
    operator.keeps("3-message")

    played.is_half_mended()
    operator.opens("billing")
    operator.presses("Retry now")
    operator.sees("those behind in their groups follow")
    played.until_one_is_dead()
    operator.opens("Dead letters")
    operator.sees("http_422", "order.poisoned")
    operator.keeps("4-dead-letters")
    operator.tab.get_by_role("row", name="order.poisoned").get_by_role("link").first.click()
    operator.sees("no order of this kind", '"order": "7"')
    operator.keeps("5-dead-letter")

    played.is_mended()
    operator.presses("Redrive it")
    operator.sees("1 dead letter is on the way again")
    played.until_all_is_delivered()
    operator.tab.reload()
    operator.sees("delivered")
    operator.opens("Dead letters")
    operator.sees("There is no dead letter")
    operator.opens("Subscriptions")
    cells = operator.tab.get_by_role("row", name="billing").get_by_role("cell")
    # Its state, what waits, and dead letters.
    expect(cells.nth(1)).to_have_text("on")
    expect(cells.nth(2)).to_have_text("0")
    expect(cells.last).to_have_text("0")
    operator.keeps("6-green")
    operator.opens("Audit")
    operator.sees("subscription.retry", "dead_letter.redrive")
    # A policy that lets something not pass says so in the browser's console.
    assert operator.told == []


class Terminal:
    """What an operator types, and what is answered to it."""

    def __init__(self, database_url: str) -> None:
        self._environment = {"DATABASE_URL": database_url, "COLUMNS": "132"}
        self._said: list[str] = []

    def __call__(self, *arguments: str) -> str:
        ended = outbox_relay(*arguments, environment=self._environment)
        assert ended.returncode == 0, ended.stderr
        self._said += [f"$ outbox-relay {' '.join(arguments)}\n", ended.stdout, "\n"]
        return ended.stdout

    def keep(self, path: Path) -> None:
        """Writes down all of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(self._said))


@pytest.mark.long
def test_an_outage_is_ended_by_the_commands(played: Outage, database_url: str) -> None:
    terminal = Terminal(database_url)
    played.breaks()
    assert "open until" in terminal("subscriptions")
    traced = terminal("trace", played.key(6), "--channel", CHANNEL)
    assert "billing (http): breaker open since" in traced
    played.is_half_mended()
    terminal("subscriptions", "retry", "billing")
    played.until_one_is_dead()
    listed = terminal("dead-letters", "list")
    assert "http_422" in listed
    dead_letter_id = listed.splitlines()[1].split()[0]
    assert "answered 422" in terminal("dead-letters", "show", dead_letter_id)
    played.is_mended()
    assert "redriven: 1" in terminal("dead-letters", "redrive", dead_letter_id)
    played.until_all_is_delivered()
    assert "closed" in terminal("subscriptions")
    traced = terminal("trace", played.key(7), "--channel", CHANNEL)
    assert "billing (http): delivered" in traced
    terminal.keep(SCREENSHOTS / "outage.txt")
