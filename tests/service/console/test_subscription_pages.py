"""The pages of subscriptions: what they show of one, and the steps that are taken there."""

import pytest

from service.web.access.keys import Scope
from tests.service.api import Json, Platform, path
from tests.service.console.reading import page
from tests.service.console.visiting import Visitor
from tests.service.platform.limited import message

ALL: tuple[Scope, ...] = ("read", "manage", "operate", "payloads", "publish")
BLOCKED = """
    insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at, reason)
    select id, %s, %s, 3, clock_timestamp() + interval '1 h', 'http_503' from outbox.cursor
    where subscription_id = %s and priority = 3
"""
ATTEMPT = """
    insert into outbox.attempt_log
        (subscription_id, message_id, idempotency_key, number, duration_seconds, status, error,
         answer, relay)
    values (%s, %s, 'key', 3, 0.25, 503, 'http_503', '<b>we are down</b>', 'relay-1')
"""
BREAK = """
    update outbox.breaker
    set failing_since = clock_timestamp() - interval '6 h', opened_at = clock_timestamp(),
        retry_at = clock_timestamp() + interval '1 h'
    where subscription_id = %s
"""


def publish(platform: Platform, channel: str, group: str = "g") -> str:
    form = message(channel, groupKey=group, payload={"n": 1})
    published: Json = platform.ask("POST", "/v1/messages", form, 201)
    return str(published["id"])


def address(subscription: Json, step: str = "") -> str:
    return f"/console/subscriptions/{subscription['id']}{step}"


@pytest.fixture
def operator(console: Platform) -> Visitor:
    return Visitor(console, console.key(*ALL))


def test_the_list_leads_to_each_with_what_waits_for_it(
    console: Platform, operator: Visitor
) -> None:
    long = console.subscription(channelId="c" * 200, name=console.name("n" * 90))
    for _ in range(20):
        console.subscription()
    first = operator.see("/console/subscriptions")
    assert first.links[long["name"]] == address(long)
    assert "c" * 200 in first.text
    more = operator.see(first.links["Further on"])
    assert "From the beginning" in more.links
    assert long["name"] not in more.links


def test_a_page_tells_what_holds_a_subscription_up(console: Platform, operator: Visitor) -> None:
    made = console.subscription(concurrency=7, retry={"schedule": [1, 2.5]})
    held = publish(console, made["channelId"])
    console.database.execute(BLOCKED, [int(held), "group-7", int(made["id"])])
    console.database.execute(ATTEMPT, [int(made["id"]), int(held)])
    console.database.execute(BREAK, [int(made["id"])])
    shown = operator.see(address(made))
    assert shown.links[held] == f"/console/messages/{held}"
    for word in (
        "breaker open",
        "group-7",
        "http_503",
        "<b>we are down</b>",
        "0.250 s",
        "https://receiver.example/hook",
        "concurrency 7",
        "retry.schedule 1, 2.5",
    ):
        assert word in shown.text, word
    assert ("b", {}) not in shown.tags


def test_what_a_key_may_not_is_not_offered_and_refused(console: Platform) -> None:
    made = console.subscription()
    console.database.execute(ATTEMPT, [int(made["id"]), 1])
    reader = Visitor(console, console.key("read"))
    shown = reader.see(address(made))
    assert "Pause" not in shown.text
    assert "we are down" not in shown.text
    assert "withheld" in shown.text
    assert "/hook" not in shown.text
    for step in ("/pause", "/resume", "/retry", "/test", "/rotate-secret", "/replay"):
        answer = reader.post(address(made, step), fromMessageId="1", revokeOld="now")
        assert answer.status_code == 403, step
    assert console.ask("GET", path(made))["paused"] is False
    stranger = Visitor(console, console.key(*ALL, channels=["elsewhere"]))
    stranger.see(address(made), 404)
    assert stranger.post(address(made, "/pause")).status_code == 404
    # Of kind kafka it takes another scope.
    kafka = console.ask("GET", "/v1/subscriptions?limit=1")["items"][0]
    assert kafka["kind"] == "kafka"
    manager = Visitor(console, console.key("read", "manage"))
    assert "Pause" not in manager.see(address(kafka)).text
    assert manager.post(address(kafka, "/pause")).status_code == 403


def test_a_subscription_is_paused_and_goes_on(console: Platform, operator: Visitor) -> None:
    made = console.subscription()
    paused = operator.step(address(made, "/pause"))
    assert f"{made['name']} is paused" in paused.text
    assert "Resume" in paused.text
    assert console.ask("GET", path(made))["paused"] is True
    assert "goes on where it stood" in operator.step(address(made, "/resume")).text
    assert console.ask("GET", path(made))["paused"] is False
    assert "0 messages go now" in operator.step(address(made, "/retry")).text


def test_a_test_message_is_shown_where_it_is(console: Platform, operator: Visitor) -> None:
    made = console.subscription()
    shown = operator.step(address(made, "/test"))
    assert "A test message is on its way" in shown.text
    assert "outbox.test" in shown.text
    assert shown.links[made["name"]] == address(made)


def test_a_new_secret_is_shown_once_and_is_in_no_address(
    console: Platform, operator: Visitor
) -> None:
    made = console.subscription()
    answer = operator.post(address(made, "/rotate-secret"), revokeOld="now")
    assert "whsec_" in page(answer).text
    assert answer.headers["cache-control"] == "no-store"
    assert "whsec_" not in operator.see(address(made)).text
    refused = operator.post(address(made, "/rotate-secret"), revokeOld="never")
    assert refused.status_code == 422


def test_a_replay_is_counted_first(console: Platform, operator: Visitor) -> None:
    made = console.subscription()
    first = publish(console, made["channelId"])
    publish(console, made["channelId"])
    assert "would go to" not in operator.see(address(made, "/replay")).text
    counted = operator.see(address(made, f"/replay?from=&fromMessageId={first}"))
    assert f"2 messages would go to {made['name']} from message {first} on" in counted.text
    assert console.backlog(made) == 2
    for asked in ("from=2026-01-01T00:00", "from=2026-01-01T00:00:00Z"):
        since = operator.see(address(made, f"/replay?{asked}"))
        assert "since 2026-01-01 00:00:00 UTC" in since.text
    ahead = operator.see(address(made, "/replay?fromMessageId=99999999"), 422)
    assert "The log has no message 99999999" in ahead.text
    shown = operator.step(address(made, "/replay"), fromMessageId=first)
    assert "2 messages come again" in shown.text
    done = console.ask("GET", "/v1/audit")["items"][0]
    assert (done["action"], done["byConsole"]) == ("subscription.replay", True)
