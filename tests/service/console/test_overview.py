"""/console and /v1/overview: how all of it does, and what an operator should see to."""

import re
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from service.console import minutes
from service.console.pages import overview as overview_page
from tests.service.api import Json, Platform
from tests.service.console.reading import Page
from tests.service.console.visiting import Visitor

HOSTILE = "<script>document.title='taken'</script>"
LONG = "c" * 200


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test's page read does not stand."""
    monkeypatch.setattr(minutes.Minutes, "kept_seconds", 0.0)


def overview(platform: Platform, headers: dict[str, str] | None = None) -> Json:
    answer = platform.send("GET", "/v1/overview", headers=headers)
    assert answer.status_code == 200, answer.text
    shown: Json = answer.json()
    return shown


def of(found: Json, made: Json) -> dict[str, str]:
    """What is the matter with a subscription, by what that is."""
    return {
        one["what"]: one["text"] for one in found["findings"] if one["subscriptionId"] == made["id"]
    }


def checkpoints(platform: Platform, made: Json, rows: list[tuple[int, int, float]]) -> None:
    """Runs with so many messages and failures, so many minutes ago."""
    for number, (messages, failures, ago) in enumerate(rows, 1):
        platform.database.execute(
            """
            insert into outbox.checkpoint
                (cursor_id, n, seen, relay, messages, failures, created_at)
            select id, %s, pg_current_snapshot(), 'r', %s, %s,
                   clock_timestamp() - make_interval(secs => 60 * %s::float8)
            from outbox.cursor where subscription_id = %s and priority = 3 and shard = 0
            """,
            [number, messages, failures, ago, int(made["id"])],
        )


def test_a_new_database_looks_as_it_is(console: Platform) -> None:
    visitor = Visitor(console, console.key("read"))
    shown = visitor.see("/console").text
    for text in (
        "no relay is connected: nothing is delivered",
        "None is connected.",
        "kafka",
        "message_0",
    ):
        assert text in shown


# A page has the first of them by name.
NO_OTHERS = """
    select outbox.delete_subscription(name, true) from outbox.subscription where kind = 'http'
"""


def test_it_says_what_waits_what_came_and_what_is_the_matter(console: Platform) -> None:
    console.database.execute(NO_OTHERS)
    made = console.subscription(name=console.name("busy"), channelId=LONG)
    checkpoints(console, made, [(600, 0, 30.5), (1200, 0, 2.5), (600, 7, 0.5)])
    for _ in range(3):
        console.dead_letter(made["id"], type=HOSTILE)
    console.ask("POST", "/v1/messages", {"channelId": LONG, "type": HOSTILE, "payload": 1}, 201)
    console.database.execute(
        """
        update outbox.breaker set opened_at = now(), failing_since = '2026-01-02 03:04:00+00',
               retry_at = now() + interval '1 hour'
        where subscription_id = %s
        """,
        [int(made["id"])],
    )
    console.ask("POST", f"/v1/subscriptions/{made['id']}/pause")
    found = overview(console)
    name = made["name"]
    assert of(found, made) == {
        "breaker": f"{name} has answered nothing but failures since 2026-01-02 03:04 UTC, "
        "and is asked rarely",
        "dead letters": f"3 of {name} wait to be redriven",
        "paused": f"{name} is paused: its backlog stays in the log",
    }
    assert found["fleet"]["publishedPerSecond"] > 0
    shown = Visitor(console, console.key("read")).see("/console")
    assert "2,400 delivered and 7 failed in the last hour" in shown.text
    assert re.search(rf"{name} .* 6/s 1 \d s .* 3 paused breaker open", shown.text)
    assert HOSTILE not in shown.text
    bars = [attrs for tag, attrs in shown.tags if tag == "rect" and attrs.get("class") != "ground"]
    assert [bar["x"] for bar in bars] == ["87", "171", "177", "177"]


def test_a_limited_key_sees_its_own_alone(console: Platform) -> None:
    prefix = console.name("mine")
    mine = console.subscription(name=console.name("own"), channelId=f"{prefix}.a")
    other = console.subscription(name=console.name("foreign"))
    for made in (mine, other):
        console.ask("POST", f"/v1/subscriptions/{made['id']}/pause")
    key = console.key("read", channels=[f"{prefix}.*"])
    found = overview(console, key)
    assert found["fleet"] is None
    assert [one["subscriptionId"] for one in found["findings"]] == [mine["id"]]
    shown = Visitor(console, key).see("/console").text
    assert mine["name"] in shown
    for hidden in (other["name"], "kafka", "Relays at work", "message_0", "Published"):
        assert hidden not in shown


def test_why_one_waits_is_told_in_the_relays_words_to_who_operates(console: Platform) -> None:
    made = console.subscription()
    console.database.execute(
        """
        update outbox.subscription set waiting_since = now(), waiting_reason = '10.0.0.7 refused'
        where id = %s
        """,
        [int(made["id"])],
    )
    for scopes, words in ((("read", "operate"), "10.0.0.7 refused"), (("read",), "can't be")):
        text = of(overview(console, console.key(*scopes)), made)["waiting"]
        assert words in text
        assert ("10.0.0.7" in text) is (words == "10.0.0.7 refused")


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("update outbox.maintenance set done_at = now() - interval '11 min'", "maintenance"),
        ("update outbox.maintenance set fault = 'others hold it'", "maintenance"),
        ("delete from outbox.known_partition where from_time is null", "partitions"),
    ],
)
def test_what_keeps_the_log_from_its_care_is_found(
    console: Platform, statement: Any, what: str
) -> None:
    console.database.execute("update outbox.maintenance set done_at = now(), fault = null")
    console.database.execute("select outbox.make_partitions(7)")
    assert what not in {one["what"] for one in overview(console)["findings"]}
    console.database.execute(statement)
    [found] = [one for one in overview(console)["findings"] if one["what"] == what]
    assert found["hint"]


def test_a_relay_is_one_whose_login_may_be_a_relay(console: Platform) -> None:
    name = "outbox-relay r-1"
    owner = console.database.info.dsn
    with (
        psycopg.connect(make_conninfo(owner, application_name=name)),
        psycopg.connect(make_conninfo(owner, application_name=f"{name} cursor 7")),
        psycopg.connect(make_conninfo(console.service_url, application_name="outbox-relay r-2")),
    ):
        [relay] = overview(console)["fleet"]["relays"]
        assert (relay["name"], relay["sessions"], relay["runs"]) == ("r-1", 2, 1)
        assert relay["since"]
        assert "relays" not in {one["what"] for one in overview(console)["findings"]}


def test_what_stands_together_is_of_the_page_where_there_are_more(console: Platform) -> None:
    for _ in range(overview_page.ROWS + 1):
        console.subscription()
    visitor = Visitor(console, console.key("read"))
    shown = visitor.see("/console")
    while "Further on" in shown.links:
        assert together(shown) == "All subscriptions of this page together"
        shown = visitor.see(shown.links["Further on"])
    assert together(shown) == "All subscriptions of this page together"
    limited = Visitor(console, console.key("read", channels=["nothing"]))
    assert together(limited.see("/console")) == "All subscriptions together"


def together(shown: Page) -> str | None:
    """What the tiles are about."""
    [tiles] = [attrs for tag, attrs in shown.tags if tag == "dl" and attrs.get("class") == "tiles"]
    return tiles["aria-label"]
