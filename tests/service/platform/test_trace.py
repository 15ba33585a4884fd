"""GET /v1/messages/{id}/trace: where a message is, for whom it may concern."""

import pytest

from tests.service.api import Json, Platform, path
from tests.service.platform.limited import Limited, message

PASS = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select cursor_id, max(n) + 1, pg_current_snapshot(), 'relay-1' from outbox.checkpoint
    where cursor_id in (select id from outbox.cursor where subscription_id = %s)
    group by cursor_id
"""
ROW = """
    insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at, reason)
    select id, %s, 'g', %s, clock_timestamp() + interval '1 h', 'http_503' from outbox.cursor
    where subscription_id = %s and priority = 3
"""
ATTEMPT = """
    insert into outbox.attempt_log
        (subscription_id, message_id, idempotency_key, number, duration_seconds, status, error,
         detail, answer, relay)
    values (%s, %s, 'key', 1, 0.25, 503, 'http_503', 'its own words', 'its own words', 'relay-1')
"""


def publish(platform: Platform, channel: str) -> str:
    """A message that carries a secret; its id."""
    form = message(channel, groupKey="g", payload={"secret": 1}, headers={"x-own": "secret"})
    published: Json = platform.ask("POST", "/v1/messages", form, 201)
    return str(published["id"])


def trace(platform: Platform, message_id: str) -> Json:
    found: Json = platform.ask("GET", f"/v1/messages/{message_id}/trace")
    return found


def at(found: Json, subscription: Json) -> Json:
    """What became of it there."""
    (place,) = [
        one for one in found["subscriptions"] if one["subscriptionId"] == subscription["id"]
    ]
    assert isinstance(place, dict)
    return place


def test_a_message_is_told_with_what_became_of_it_at_each_subscription(platform: Platform) -> None:
    made, other = platform.subscription(), platform.subscription()
    message_id = publish(platform, made["channelId"])
    platform.database.execute(PASS, [int(made["id"])])
    found = trace(platform, message_id)
    assert (found["id"], found["state"], found["channelId"]) == (
        message_id,
        "inLog",
        made["channelId"],
    )
    assert found["transactionId"].isdigit()
    place = at(found, made)
    assert (place["state"], place["since"]) == ("delivered", place["passed"]["at"])
    assert (place["passed"]["afterCheckpoint"], place["passed"]["relay"]) == (0, "relay-1")
    assert (at(found, other)["state"], at(found, other)["because"]) == ("notWanted", "channels")
    assert at(found, {"id": "1"})["state"] == "waiting"


def test_what_waits_names_the_head_of_its_group_by_its_id(platform: Platform) -> None:
    made = platform.subscription()
    head, behind = (publish(platform, made["channelId"]) for _ in range(2))
    platform.database.execute(PASS, [int(made["id"])])
    platform.database.execute(ROW, [int(head), 1, int(made["id"])])
    platform.database.execute(ATTEMPT, [int(made["id"]), int(head)])
    failing = at(trace(platform, head), made)
    assert (failing["state"], failing["because"]) == ("retrying", "http_503")
    assert [made["status"] for made in failing["attempts"]] == [503]
    platform.database.execute(
        "insert into outbox.delivery (cursor_id, message_id, group_key, due_at)"
        " select cursor_id, %s, group_key, null from outbox.delivery where message_id = %s",
        [int(behind), int(head)],
    )
    queue = at(trace(platform, behind), made)["queue"]
    assert (queue["head"]["messageId"], queue["head"]["state"]) == (head, "retrying")


def test_neither_a_payload_nor_a_header_nor_an_answer_is_told(platform: Platform) -> None:
    made = platform.subscription()
    message_id = publish(platform, made["channelId"])
    platform.database.execute(ATTEMPT, [int(made["id"]), int(message_id)])
    text = platform.send("GET", f"/v1/messages/{message_id}/trace").text
    assert "secret" not in text
    assert "own words" not in text


@pytest.mark.parametrize(
    ("message_id", "says"), [("0", "no id so high"), ("999999999999999999", "no id so high")]
)
def test_an_id_that_never_was_is_told_so(platform: Platform, message_id: str, says: str) -> None:
    answer = platform.send("GET", f"/v1/messages/{message_id}/trace")
    assert answer.status_code == 404
    assert says in answer.json()["detail"]


def test_what_rolled_back_is_told_so(platform: Platform) -> None:
    row = platform.database.execute(
        "select nextval(pg_get_serial_sequence('outbox.message', 'id'))"
    ).fetchone()
    assert row is not None
    answer = platform.send("GET", f"/v1/messages/{row[0]}/trace")
    assert answer.status_code == 404
    assert "rolled back" in answer.json()["detail"]


def test_it_needs_the_scope_read(platform: Platform) -> None:
    key = platform.key("publish")
    assert platform.send("GET", "/v1/messages/1/trace", headers=key).status_code == 403


def test_an_endpoints_words_at_a_pause_are_for_keys_that_manage(platform: Platform) -> None:
    made = platform.subscription()
    message_id = publish(platform, made["channelId"])
    platform.database.execute(
        "update outbox.subscription set paused = true, paused_reason = '410 Gone: no /token'"
        " where id = %s",
        [int(made["id"])],
    )
    assert at(trace(platform, message_id), made)["because"] == "410 Gone: no /token"
    read = platform.send("GET", f"/v1/messages/{message_id}/trace", headers=platform.key("read"))
    assert at(read.json(), made)["because"] == "410 Gone"


def test_a_relays_words_at_a_wait_are_for_keys_that_operate(platform: Platform) -> None:
    message_id = publish(platform, platform.name("c"))
    wait = "update outbox.subscription set waiting_since = now(), waiting_reason = %s where id = %s"
    no_wait = "update outbox.subscription set waiting_since = null, waiting_reason = null"
    made = platform.subscription()
    own = publish(platform, made["channelId"])
    platform.database.execute(wait, ["connect to 10.0.0.1:9092 refused", 1])
    platform.database.execute(wait, ["secret_unreadable", int(made["id"])])
    try:
        reader = platform.key("read")
        found = trace(platform, message_id), trace(platform, own)
        assert at(found[0], {"id": "1"})["because"] == "connect to 10.0.0.1:9092 refused"
        assert at(found[1], made)["because"] == "secret_unreadable"
        text = platform.send("GET", f"/v1/messages/{own}/trace", headers=reader).text
        assert "10.0.0.1" not in text
        assert "secret" not in text
    finally:
        platform.database.execute(no_wait)


def test_a_limited_key_is_told_of_its_own_subscriptions_alone(limited: Limited) -> None:
    message_id = publish(limited.platform, limited.mine["channelId"])
    found = limited.send("GET", f"/v1/messages/{message_id}/trace").json()
    assert [one["subscriptionId"] for one in found["subscriptions"]] == [limited.mine["id"]]
    assert found["transactionId"] is None


def test_to_a_limited_key_anothers_message_looks_like_none(limited: Limited) -> None:
    others = publish(limited.platform, limited.other["channelId"])
    answers = [
        limited.send("GET", f"/v1/messages/{message_id}/trace")
        for message_id in (others, "999999999999999999")
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    first, second = (answer.json()["detail"] for answer in answers)
    assert first == second == "The message does not exist."


def test_to_a_limited_key_anothers_message_that_is_gone_says_nothing(limited: Limited) -> None:
    platform = limited.platform
    platform.dead_letter(limited.other["id"])
    row = platform.database.execute("select max(message_id) from outbox.dead_letter").fetchone()
    assert row is not None
    found = limited.send("GET", f"/v1/messages/{row[0]}/trace").json()
    assert (found["state"], found["channelId"], found["idempotencyKey"]) == ("gone", None, None)
    assert [one["state"] for one in found["subscriptions"]] == ["gone"]
    platform.ask("DELETE", path(limited.other, "?discardUndelivered=true"), status=204)
