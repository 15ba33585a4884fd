"""Subscriptions of kind kafka are paused, replayed and redriven with a scope of their own."""

from datetime import UTC, datetime

import pytest

from tests.service.api import DEAD_LETTERS, SUBSCRIPTIONS, Json, Platform


def path(subscription: Json, step: str = "") -> str:
    return f"{SUBSCRIPTIONS}/{subscription['id']}{step}"


KAFKAS: list[tuple[str, object]] = [
    (f"{SUBSCRIPTIONS}/1/pause", None),
    (f"{SUBSCRIPTIONS}/1/resume", None),
    (f"{SUBSCRIPTIONS}/1/replay", {"from": "2020-01-01T00:00:00Z"}),
    (f"{SUBSCRIPTIONS}/1/replay", {"from": "2020-01-01T00:00:00Z", "dryRun": True}),
    (f"{DEAD_LETTERS}/redrive", {"subscriptionId": "1"}),
]


@pytest.mark.parametrize(("where", "body"), KAFKAS)
def test_the_kafka_subscription_is_operated_and_not_managed(
    platform: Platform, where: str, body: object
) -> None:
    refused = platform.send("POST", where, body, platform.key("manage", "read", "publish"))
    assert refused.status_code == 403
    assert "the scope operate" in refused.json()["detail"]
    assert platform.ask("GET", f"{SUBSCRIPTIONS}/1")["paused"] is False
    for key in (platform.key("operate"), platform.key("operate", "manage")):
        done = platform.send("POST", where, body, key)
        assert done.status_code == 200, done.text
        platform.ask("POST", f"{SUBSCRIPTIONS}/1/resume")


@pytest.mark.parametrize("step", ["/pause", "/resume", "/replay"])
def test_who_operates_changes_no_http_subscription(platform: Platform, step: str) -> None:
    made = platform.subscription()
    body = {"from": datetime.now(UTC).isoformat()} if step == "/replay" else None
    operator = platform.key("operate", "read")
    refused = platform.send("POST", path(made, step), body, operator)
    assert refused.status_code == 403
    assert "the scope manage" in refused.json()["detail"]
    for method, other, change in (("PATCH", "", {"concurrency": 1}), ("DELETE", "", None)):
        assert platform.send(method, path(made, other), change, operator).status_code == 403


def test_dead_letters_of_both_kinds_take_both_scopes(platform: Platform) -> None:
    made = platform.subscription()
    of_http, of_kafka = platform.dead_letter(made["id"]), platform.dead_letter("1")
    redrive, body = f"{DEAD_LETTERS}/redrive", {"ids": [of_http, of_kafka]}
    for key in (platform.key("manage"), platform.key("operate")):
        assert platform.send("POST", redrive, body, key).status_code == 403
    both = platform.send("POST", redrive, body, platform.key("manage", "operate"))
    assert both.json() == {"redriven": 2, "more": False}


def test_a_limited_operator_operates_what_is_of_its_channels(platform: Platform) -> None:
    """The first subscription reads every channel; another one, to Kafka as well, reads one."""
    channel = platform.name("c")
    row = platform.database.execute(
        "insert into outbox.subscription (name, channels) values (%s, %s) returning id::text",
        [platform.name(), [channel]],
    ).fetchone()
    assert row is not None
    operator = platform.key("operate", channels=[channel])
    assert platform.send("POST", f"{SUBSCRIPTIONS}/1/pause", None, operator).status_code == 404
    paused = platform.send("POST", f"{SUBSCRIPTIONS}/{row[0]}/pause", None, operator)
    assert paused.json()["paused"] is True
