"""An outage as an operator sees it and ends it: by the commands, and by the console alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay.operating import outbox_relay
from tests.service.console.outage import CHANNEL, Outage, outage
from tests.service.console.test_browser import SCREENSHOTS


@pytest.fixture
def played(database_url: str, tmp_path: Path) -> Iterator[Outage]:
    with outage(database_url, tmp_path) as played:
        yield played


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
