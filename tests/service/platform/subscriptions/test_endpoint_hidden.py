"""What of an endpoint's URL a key without `manage` sees, wherever it asks: no path, no query."""

import json

import pytest

from tests.service.api import DEAD_LETTERS, SUBSCRIPTIONS, Json, Platform

TOKEN = "t0psecret"


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        (f"https://receiver.example/hook/{TOKEN}", "https://receiver.example/…"),
        (f"https://receiver.example/hook?token={TOKEN}", "https://receiver.example/…"),
        (f"https://receiver.example/{TOKEN}?a=/b", "https://receiver.example/…"),
        (f"http://receiver.example:8443?{TOKEN}", "http://receiver.example:8443/…"),
        (f"https://receiver.example?/{TOKEN}", "https://receiver.example/…"),
        (f"https://[2001:db8::1]:8443/{TOKEN}//x", "https://[2001:db8::1]:8443/…"),
        ("https://receiver.example", "https://receiver.example/…"),
        ("https://receiver.example/", "https://receiver.example/…"),
    ],
)
def test_who_does_not_manage_sees_no_path_and_no_query(
    platform: Platform, endpoint: str, shown: str
) -> None:
    made = platform.subscription(endpoint=endpoint)
    assert made["endpoint"] == endpoint
    where = f"{SUBSCRIPTIONS}/{made['id']}"
    assert platform.ask("GET", where)["endpoint"] == endpoint
    for reader in (platform.key("read"), platform.key("read", "publish", "operate")):
        alone = platform.send("GET", where, headers=reader)
        assert alone.json()["endpoint"] == shown
        listed = platform.send("GET", f"{SUBSCRIPTIONS}?limit=200", headers=reader)
        found = {item["id"]: item.get("endpoint") for item in listed.json()["items"]}
        assert found[made["id"]] == shown
        assert TOKEN not in listed.text


# What endpoints and those in front of them answer, and what then stands in `detail`.
ECHO = f"Cannot POST /hook/{TOKEN}"
ROWS = """
    with made as (select id from outbox.cursor where subscription_id = %(id)s and priority = 3),
    delivered as (
        insert into outbox.delivery (cursor_id, message_id, due_at, reason, detail)
        select id, 7000000, clock_timestamp(), 'redirect', %(echo)s from made
    ),
    paused as (
        update outbox.subscription set paused = true, paused_reason = '410 Gone: ' || %(echo)s
        where id = %(id)s
    )
    insert into outbox.attempt_log
        (subscription_id, message_id, idempotency_key, number, duration_seconds, status, error,
         detail, answer, relay)
    values (%(id)s, 7000000, 'key', 1, 0.25, 404, 'http_404', %(echo)s,
            convert_to(%(echo)s, 'UTF8'), 'relay')
"""


@pytest.fixture
def echoing(platform: Platform) -> Json:
    """A subscription whose endpoint repeats its own URL wherever it can."""
    made = platform.subscription(endpoint=f"https://receiver.example/hook/{TOKEN}")
    platform.database.execute(ROWS, {"id": int(made["id"]), "echo": ECHO})
    made["dead_letter"] = platform.dead_letter(made["id"], reason="http_404", detail=ECHO)
    return made


def test_what_an_endpoint_says_of_its_own_url_is_for_those_who_manage(
    platform: Platform, echoing: Json
) -> None:
    of_it = f"subscriptionId={echoing['id']}"
    everywhere = [
        SUBSCRIPTIONS + "?limit=200",
        f"{SUBSCRIPTIONS}/{echoing['id']}",
        f"/v1/attempts?{of_it}",
        "/v1/attempts?messageId=7000000",
        "/v1/attempts",
        f"/v1/deliveries?{of_it}",
        "/v1/deliveries",
        f"{DEAD_LETTERS}?{of_it}",
        DEAD_LETTERS,
        f"{DEAD_LETTERS}/{echoing['dead_letter']}",
        "/v1/stats?limit=200",
    ]
    reader = platform.key("read")
    for where in everywhere:
        answer = platform.send("GET", where, headers=reader)
        assert answer.status_code == 200
        assert TOKEN not in answer.text, where
        if "stats" not in where:
            assert TOKEN in platform.send("GET", where).text, where


def test_what_went_wrong_is_told_to_those_who_read(platform: Platform, echoing: Json) -> None:
    reader = platform.key("read")

    def item(where: str) -> Json:
        answer = platform.send("GET", f"{where}?subscriptionId={echoing['id']}", headers=reader)
        [found] = answer.json()["items"]
        shown: Json = found
        return shown

    attempt = item("/v1/attempts")
    assert (attempt["status"], attempt["error"]) == (404, "http_404")
    assert (attempt["detail"], attempt["answer"]) == (None, None)
    delivery = item("/v1/deliveries")
    assert (delivery["reason"], delivery["detail"]) == ("redirect", None)
    dead_letter = item(DEAD_LETTERS)
    assert (dead_letter["reason"], dead_letter["detail"]) == ("http_404", None)
    where = f"{SUBSCRIPTIONS}/{echoing['id']}"
    assert platform.send("GET", where, headers=reader).json()["pausedReason"] == "410 Gone"


def test_what_kafka_says_and_why_it_was_paused_is_told_to_those_who_read(
    platform: Platform,
) -> None:
    dead_letter = platform.dead_letter("1", detail="larger than its topic takes")
    reader = platform.key("read")
    shown = platform.send("GET", f"{DEAD_LETTERS}/{dead_letter}", headers=reader)
    assert shown.json()["detail"] == "larger than its topic takes"
    made = platform.subscription()
    paused = platform.ask("POST", f"{SUBSCRIPTIONS}/{made['id']}/pause")
    read = platform.send("GET", f"{SUBSCRIPTIONS}/{made['id']}", headers=reader)
    assert read.json()["pausedReason"] == paused["pausedReason"]


def test_an_endpoint_that_sql_took_is_hidden_as_well(platform: Platform) -> None:
    """The database's pattern of a URL is wider than the API's."""
    made = platform.subscription()
    endpoint = f"https://receiver.example\\{TOKEN}"
    platform.database.execute(
        "update outbox.subscription set settings = settings || %s::jsonb where id = %s",
        [json.dumps({"endpoint": endpoint}), int(made["id"])],
    )
    where = f"{SUBSCRIPTIONS}/{made['id']}"
    shown = platform.send("GET", where, headers=platform.key("read")).json()["endpoint"]
    assert shown == "https://receiver.example/…"
