"""What became of messages: deliveries, attempts, dead letters, numbers."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from tests.service.api import DEAD_LETTERS, Json, Platform

DELIVERIES = """
    insert into outbox.delivery
        (cursor_id, message_id, group_key, due_at, token, reason, attempts)
    select c.id, 9000000 + 100 * c.id + n, 'g' || n / 2,
           case mod(n, 6) when 0 then clock_timestamp() when 2 then 'infinity'
                      when 4 then clock_timestamp() end,
           case when mod(n, 6) = 4 then 1 end, 'http_500', case when n < 6 then 1 else 0 end
    from outbox.cursor as c, generate_series(0, 11) as n
    where c.subscription_id = %s and c.priority in (2, 3)
"""
ATTEMPTS = """
    insert into outbox.attempt_log
        (subscription_id, message_id, idempotency_key, number, duration_seconds, status, error,
         answer, relay)
    select %s, %s + n, 'key', n, 0.25, 500, 'http_500', '\\x4f6bff', 'relay'
    from generate_series(1, 7) as n
"""
# One row of the log: attempts at five messages, each a second after the one before.
TOGETHER = """
    insert into outbox.attempt_log
        (subscription_id, message_id, last_message_id, idempotency_key, number, at,
         duration_seconds, status, relay, more_messages, more_at, more_durations, more_keys)
    values (%s, %s, %s + 8, 'key-0', 1, '2026-01-01 00:00:00Z', 0.5, 204, 'relay', '{2,4,6,8}',
            '{1000000,2000000,3000000,4000000}', '{1.5,2.5,3.5,4.5}', '{key-2,key-4,key-6,key-8}')
"""


def deliveries(platform: Platform, subscription: Json) -> list[Json]:
    return platform.walk(f"/v1/deliveries?subscriptionId={subscription['id']}&", limit=5)


def test_the_pages_of_deliveries_show_each_once_and_in_which_state_it_is(
    platform: Platform,
) -> None:
    made = platform.subscription()
    platform.database.execute(DELIVERIES, [int(made["id"])])
    found = deliveries(platform, made)
    assert len({item["messageId"] for item in found}) == len(found) == 24
    by_state = {
        state: [item for item in found if item["state"] == state]
        for state in ("untried", "retrying", "inFlight", "behind", "parked")
    }
    assert {state: len(items) for state, items in by_state.items()} == {
        "untried": 2,
        "retrying": 2,
        "inFlight": 4,
        "behind": 12,
        "parked": 4,
    }
    for state, items in by_state.items():
        path = f"/v1/deliveries?subscriptionId={made['id']}&state={state}&"
        assert platform.walk(path, limit=3) == items
    assert {item["dueAt"] for item in by_state["behind"] + by_state["parked"]} == {None}


def test_deliveries_of_all_subscriptions_are_one_list(platform: Platform) -> None:
    made = [platform.subscription() for _ in range(2)]
    for subscription in made:
        platform.database.execute(DELIVERIES, [int(subscription["id"])])
    listed = platform.walk("/v1/deliveries?", limit=7)
    for subscription in made:
        own = [item for item in listed if item["subscriptionId"] == subscription["id"]]
        assert own == deliveries(platform, subscription)


def test_attempts_come_newest_first_by_subscription_by_message_or_all(platform: Platform) -> None:
    made = platform.subscription()
    message = int(made["id"]) * 1_000_000
    platform.database.execute(ATTEMPTS, [int(made["id"]), message])
    own = platform.walk(f"/v1/attempts?subscriptionId={made['id']}&", limit=3)
    assert [item["number"] for item in own] == [7, 6, 5, 4, 3, 2, 1]
    assert own[0]["durationSeconds"] == 0.25
    [one] = platform.ask("GET", f"/v1/attempts?messageId={message + 3}")["items"]
    assert one == own[4]
    listed = platform.walk("/v1/attempts?", limit=4)
    assert [item for item in listed if item["subscriptionId"] == made["id"]] == own
    ids = [int(item["id"]) for item in listed]
    assert ids == sorted(set(ids), reverse=True)


def test_attempts_that_share_a_row_of_the_log_are_listed_one_by_one(platform: Platform) -> None:
    made = platform.subscription()
    subscription, message = int(made["id"]), int(made["id"]) * 1_000_000
    platform.database.execute(TOGETHER, [subscription, message, message])
    for limit in (1, 2, 3, 50):
        own = platform.walk(f"/v1/attempts?subscriptionId={made['id']}&", limit=limit)
        assert [int(item["messageId"]) - message for item in own] == [8, 6, 4, 2, 0]
        assert [item["idempotencyKey"] for item in own] == [f"key-{n}" for n in (8, 6, 4, 2, 0)]
        assert [item["durationSeconds"] for item in own] == [4.5, 3.5, 2.5, 1.5, 0.5]
        assert [item["at"][17:19] for item in own] == ["04", "03", "02", "01", "00"]
        assert {(item["status"], item["number"], item["error"]) for item in own} == {(204, 1, None)}
    assert platform.ask("GET", f"/v1/attempts?messageId={message + 6}")["items"] == [own[1]]
    assert platform.ask("GET", f"/v1/attempts?messageId={message + 5}")["items"] == []


def test_an_answer_that_is_not_text_is_shown_as_far_as_it_is(platform: Platform) -> None:
    made = platform.subscription()
    platform.database.execute(ATTEMPTS, [int(made["id"]), int(made["id"]) * 1_000_000])
    page = platform.ask("GET", f"/v1/attempts?subscriptionId={made['id']}&limit=1")
    assert page["items"][0]["answer"] == "Ok\N{REPLACEMENT CHARACTER}"


def test_the_pages_of_dead_letters_show_each_once_newest_first(platform: Platform) -> None:
    made = platform.subscription()
    dead_letters = [platform.dead_letter(made["id"]) for _ in range(5)]
    path = f"{DEAD_LETTERS}?subscriptionId={made['id']}&"
    assert [item["id"] for item in platform.walk(path, limit=2)] == dead_letters[::-1]


def test_dead_letters_are_found_by_type_reason_state_and_time(platform: Platform) -> None:
    made = platform.subscription()
    plain = platform.dead_letter(made["id"])
    other = platform.dead_letter(made["id"], type="other", reason="too_large")
    platform.ask("POST", f"{DEAD_LETTERS}/redrive", {"ids": [other]})
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for query, found in (
        ("type=other", [other]),
        ("reason=too_large", [other]),
        ("state=dead", [plain]),
        ("state=redriven", [other]),
        ("state=delivered", []),
        (f"to={soon}", [other, plain]),
        (f"from={soon}", []),
    ):
        path = f"{DEAD_LETTERS}?subscriptionId={made['id']}&{query}"
        assert [item["id"] for item in platform.ask("GET", path)["items"]] == found, query


def test_a_dead_letter_is_shown_whole(platform: Platform) -> None:
    dead_letter = platform.dead_letter(platform.subscription()["id"], payload='{"a":  1.0}')
    answer = platform.send("GET", f"{DEAD_LETTERS}/{dead_letter}")
    assert '"payload":{"a":  1.0}' in answer.text
    shown = answer.json()
    assert (shown["headers"], shown["reason"], shown["attempts"]) == ({"x": "y"}, "http_500", 9)


def test_of_a_payload_no_number_is_computed(platform: Platform) -> None:
    """A megabyte of the smallest floats would hold the service's loop for seconds."""
    dead_letter = platform.dead_letter(platform.subscription()["id"], payload='{"a": 1e999}')
    assert '"payload":{"a": 1e999}' in platform.send("GET", f"{DEAD_LETTERS}/{dead_letter}").text


def test_a_payload_that_is_not_json_is_shown_as_base64(platform: Platform) -> None:
    dead_letter = platform.dead_letter(platform.subscription()["id"], payload="<xml/>")
    shown = platform.ask("GET", f"{DEAD_LETTERS}/{dead_letter}")
    assert base64.b64decode(shown["payloadBase64"]) == b"<xml/>"
    assert "payload" not in shown


def test_a_second_redrive_of_the_same_dead_letters_adds_nothing(platform: Platform) -> None:
    made = platform.subscription()
    dead_letters = [platform.dead_letter(made["id"]) for _ in range(3)]
    redrive = f"{DEAD_LETTERS}/redrive"
    assert platform.ask("POST", redrive, {"ids": dead_letters[:1]})["redriven"] == 1
    filtered = {"subscriptionId": made["id"], "type": "paid"}
    assert platform.ask("POST", redrive, {**filtered, "type": "x"})["redriven"] == 0
    assert platform.ask("POST", redrive, filtered) == {"redriven": 2, "more": False}
    assert platform.ask("POST", redrive, filtered)["redriven"] == 0
    assert platform.ask("POST", redrive, {"ids": dead_letters})["redriven"] == 0
    assert len(deliveries(platform, made)) == 3


@pytest.mark.parametrize(
    ("body", "blamed"),
    [
        ({}, "ids"),
        ({"ids": []}, "ids"),
        ({"ids": ["x"]}, "ids[0]"),
        ({"ids": ["1"], "subscriptionId": "1"}, "ids"),
        ({"ids": ["1"], "type": "t"}, "type"),
        ({"ids": ["999999999"]}, "ids"),
        ({"subscriptionId": "999999999"}, "subscriptionId"),
        ({"subscriptionId": "1", "from": "yesterday"}, "from"),
        ({"subscriptionId": "1", "to": "2020-01-01T00:00:00"}, "to"),
    ],
)
def test_a_redrive_that_says_too_little_or_too_much_or_what_is_not_there_is_refused(
    platform: Platform, body: Json, blamed: str
) -> None:
    assert platform.field("POST", f"{DEAD_LETTERS}/redrive", body) == blamed


def test_stats_tell_backlog_deliveries_dead_letters_and_breaker(platform: Platform) -> None:
    made = platform.subscription()
    body = [{"channelId": made["channelId"], "type": "t", "payload": 1, "priority": p}
            for p in (1, 5)]  # fmt: skip
    platform.ask("POST", "/v1/messages/transactional", body, 201)
    platform.database.execute(DELIVERIES, [int(made["id"])])
    platform.dead_letter(made["id"])
    platform.database.execute(
        """
        update outbox.breaker
        set failing_since = now(), opened_at = now(), retry_at = now() + interval '1 hour'
        where subscription_id = %s
        """,
        [int(made["id"])],
    )
    platform.database.execute(
        """
        insert into outbox.checkpoint (cursor_id, n, seen, relay, messages, failures, created_at)
        select c.id, run, k.seen, 'relay', 10, 1,
               now() - case run when 1 then interval '1 hour' else interval '1 minute' end
        from outbox.cursor as c
        join outbox.checkpoint as k on k.cursor_id = c.id, generate_series(1, 3) as run
        where c.subscription_id = %s and c.priority = 4
        """,
        [int(made["id"])],
    )
    [stats] = [
        item
        for item in platform.walk("/v1/stats?", limit=3)
        if item["subscriptionId"] == made["id"]
    ]
    assert (stats["backlog"]["messages"], stats["backlog"]["more"]) == (2, False)
    assert stats["backlog"]["oldestAgeSeconds"] > 0
    assert stats["deliveries"] == {
        "untried": 2,
        "retrying": 2,
        "inFlight": 4,
        "behind": 12,
        "parked": 4,
    }
    assert (stats["deadLetters"], stats["breaker"]) == (1, "open")
    assert stats["lastFiveMinutes"] == {
        "messages": 20,
        "failures": 2,
        "messagesPerSecond": round(20 / 300, 3),
    }


@pytest.mark.parametrize(
    ("query", "blamed"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
        ("subscriptionId=x", "subscriptionId"),
        ("state=lost", "state"),
        ("state=null", "state"),
        ("sort=up", "sort"),
        ("limit=1&limit=2", "limit"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(
    platform: Platform, query: str, blamed: str
) -> None:
    assert platform.field("GET", f"/v1/deliveries?{query}", None) == blamed
