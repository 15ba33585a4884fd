"""What is done with a subscription: held, replayed, retried, tested."""

import json
from typing import LiteralString

import pytest

from tests.service.api import SUBSCRIPTIONS, Json, Platform, path
from tests.service.meanwhile import meanwhile


def test_a_pause_holds_and_says_who_paused(platform: Platform) -> None:
    made = platform.subscription()
    paused = platform.ask("POST", path(made, "/pause"))
    assert paused["paused"] is True
    assert paused["pausedReason"].startswith("by the API key ")
    platform.ask(
        "POST", "/v1/messages", {"channelId": made["channelId"], "type": "t", "payload": 1}, 201
    )
    assert platform.backlog(made) == 1
    assert platform.ask("POST", path(made, "/pause")) == paused
    resumed = platform.ask("POST", path(made, "/resume"))
    assert (resumed["paused"], resumed["pausedReason"]) == (False, None)
    assert platform.backlog(made) == 1


def test_a_pause_and_a_resume_are_told(platform: Platform) -> None:
    made = platform.subscription()
    for step in ("/pause", "/pause", "/resume", "/resume"):
        platform.ask("POST", path(made, step))
    told = [
        (type, json.loads(payload)["detail"].get("reason", "")[:15])
        for _, type, name, payload in platform.messages("outbox.events")
        if name == made["name"]
    ]
    assert told == [("subscription.paused", "by the API key "), ("subscription.resumed", "")]


def test_a_test_message_goes_to_that_subscription_alone(platform: Platform) -> None:
    made = platform.subscription()
    message_id = platform.ask("POST", path(made, "/test"), status=202)["messageId"]
    rows = platform.database.execute(
        """
        select c.subscription_id::text from outbox.delivery as d
        join outbox.cursor as c on c.id = d.cursor_id where d.message_id = %s
        """,
        [int(message_id)],
    ).fetchall()
    assert rows == [(made["id"],)]


def test_a_dry_run_counts_and_changes_nothing(platform: Platform) -> None:
    channel = platform.name("c")
    body = [{"channelId": channel, "type": "t", "payload": index} for index in range(3)]
    first, second, _ = platform.ask("POST", "/v1/messages/transactional", body, 201)
    made = platform.subscription(channelId=channel)
    dry = {"from": "2020-01-01T00:00:00Z", "dryRun": True}
    assert platform.ask("POST", path(made, "/replay"), dry) == {"messages": 3, "dryRun": True}
    assert platform.backlog(made) == 0
    since = {"fromMessageId": second["id"]}
    assert platform.ask("POST", path(made, "/replay"), since) == {"messages": 2, "dryRun": False}
    assert platform.backlog(made) == 2
    assert first["id"] != second["id"]


@pytest.mark.parametrize("body", [{}, {"from": "2020-01-01T00:00:00Z", "fromMessageId": "1"}])
def test_a_replay_begins_at_a_time_or_at_a_message(platform: Platform, body: Json) -> None:
    assert platform.field("POST", path(platform.subscription(), "/replay"), body) == "from"


@pytest.mark.parametrize(
    ("step", "body"),
    [
        ("/test", None),
        ("/rotate-secret", None),
        ("/replay", {"from": "2020-01-01T00:00:00Z"}),
        ("/retry", None),
        ("/pause", None),
    ],
)
def test_a_step_of_a_subscription_that_is_deleted_meanwhile_is_404(
    platform: Platform, step: str, body: Json | None
) -> None:
    made = platform.subscription()
    with meanwhile(platform, "select outbox.unsubscribe(%(id)s)", {"id": int(made["id"])}):
        answer = platform.send("POST", path(made, step), body)
    assert answer.status_code == 404, answer.text


def test_a_replay_is_of_the_subscription_that_has_the_id_whichever_gets_its_name(
    platform: Platform,
) -> None:
    made, other = platform.subscription(), platform.subscription()
    body = {"channelId": made["channelId"], "type": "t", "payload": 1}
    platform.ask("POST", "/v1/messages", body, 201)
    swap: LiteralString = """
        with first as (
            update outbox.subscription set name = name || '-was' where id = %(id)s
            returning name
        )
        update outbox.subscription set name = %(name)s where id = %(other)s
    """
    ids: dict[str, object] = {"id": int(made["id"]), "other": int(other["id"])}
    with meanwhile(platform, swap, {**ids, "name": platform.name()}):
        dry = {"from": "2020-01-01T00:00:00Z", "dryRun": True}
        assert platform.ask("POST", path(made, "/replay"), dry)["messages"] == 1


def test_a_message_that_the_log_does_not_have_is_not_replayed_from(platform: Platform) -> None:
    made = platform.subscription()
    assert platform.field("POST", path(made, "/replay"), {"fromMessageId": "999999999"}) == (
        "fromMessageId"
    )


def test_a_kafka_subscription_is_read_paused_and_replayed_but_not_changed(
    platform: Platform,
) -> None:
    listed = platform.ask("GET", SUBSCRIPTIONS)["items"]
    [kafka] = [item for item in listed if item["kind"] == "kafka"]
    assert platform.ask("GET", path(kafka))["channels"] is None
    assert platform.ask("POST", path(kafka, "/pause"))["paused"] is True
    assert platform.ask("POST", path(kafka, "/resume"))["paused"] is False
    dry = {"from": "2020-01-01T00:00:00Z", "dryRun": True}
    assert platform.ask("POST", path(kafka, "/replay"), dry)["dryRun"] is True
    for method, step, body in (
        ("PATCH", "", {"name": "other"}),
        ("DELETE", "", None),
        ("POST", "/rotate-secret", None),
        ("POST", "/test", None),
    ):
        assert platform.send(method, path(kafka, step), body).status_code == 409


WAITING = """
    insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at)
    select cursor.id, 8000000 + number, 'g' || number, 1, clock_timestamp() + interval '1 hour'
    from outbox.cursor, generate_series(1, 2) as number
    where subscription_id = %s and priority = 3
"""


def test_what_waits_for_its_next_attempt_is_made_due(platform: Platform) -> None:
    made = platform.subscription()
    platform.database.execute(WAITING, [made["id"]])
    assert platform.ask("POST", path(made, "/retry"), {"groupKey": "g1"}) == {"messages": 1}
    assert platform.ask("POST", path(made, "/retry")) == {"messages": 1}
    assert platform.ask("POST", path(made, "/retry"), {}) == {"messages": 0}
