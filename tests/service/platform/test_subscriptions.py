"""Subscriptions over HTTP: made, read, changed, held, replayed, ended."""

import json
from typing import LiteralString

import msgspec
import psycopg
import pytest

from relay.push.policy import schedule
from relay.push.policy import settings as endpoint
from service.platform.subscriptions import terms
from tests.service.api import SUBSCRIPTIONS, Json, Platform
from tests.service.meanwhile import meanwhile

SECRET = "whsec_"

SETTINGS: Json = {
    "concurrency": 4,
    "ratePerSecond": 12.5,
    "timeoutSeconds": 3.0,
    "maxPayloadBytes": 1000,
    "clientErrors": "dead_letter",
    "onExhausted": "park",
    "attemptsLog": "failures",
    "retry": {
        "initialDelay": 1.0,
        "multiplier": 3.0,
        "maxDelay": 60.0,
        "maxAttempts": 4,
        "jitter": 0.0,
    },
    "breaker": {"window": 60.0, "minimum": 5, "threshold": 0.5, "coolDown": 2.0},
}


def stored(platform: Platform, subscription: Json) -> Json:
    """The settings as SQL has them."""
    row = platform.database.execute(
        "select settings from outbox.subscription where id = %s", [int(subscription["id"])]
    ).fetchone()
    assert row is not None
    settings: Json = row[0]
    return settings


def backlog(platform: Platform, subscription: Json) -> int:
    """How many messages the log holds for it."""
    row = platform.database.execute(
        "select sum(messages)::integer from outbox.subscription_backlog where subscription = %s",
        [subscription["name"]],
    ).fetchone()
    assert row is not None
    return int(row[0])


def path(subscription: Json, step: str = "") -> str:
    return f"{SUBSCRIPTIONS}/{subscription['id']}{step}"


def test_a_subscription_reads_as_it_was_made(platform: Platform) -> None:
    made = platform.subscription(**SETTINGS, types=["a", "b"], shards=2)
    read = platform.ask("GET", path(made))
    assert {name: read[name] for name in SETTINGS} == SETTINGS
    assert (read["types"], read["shards"], read["kind"]) == (["a", "b"], 2, "http")
    assert read["breakerState"]["state"] == "closed"
    assert read["counts"] == {"retrying": 0, "inFlight": 0, "parked": 0, "deadLetters": 0}


def test_what_is_stored_is_what_the_relay_takes(platform: Platform) -> None:
    taken = endpoint.decode(json.dumps(stored(platform, platform.subscription(**SETTINGS))))
    assert taken.client_errors == "dead_letter"
    assert taken.breaker.cool_down_seconds == 2
    assert taken.retry.initial_delay_seconds == 1


def test_the_defaults_that_are_shown_are_those_of_the_relay(platform: Platform) -> None:
    """Names and values: of an endpoint that says nothing, and of a retry that says little."""
    read = platform.ask("GET", path(platform.subscription()))
    default = endpoint.decode(b'{"endpoint": "https://receiver.example/hook"}')
    shown = {name: read[name] for name in (*terms.DEFAULTS, "endpoint", "breaker")}
    theirs = msgspec.to_builtins(default)
    del theirs["retry"]
    assert terms.merged({}, shown) == {k: v for k, v in theirs.items() if v is not None}
    assert read["retry"] == {
        "schedule": list(schedule.DEFAULT_SCHEDULE_SECONDS),
        "jitter": schedule.DEFAULT_JITTER,
    }
    computed = platform.ask("GET", path(platform.subscription(retry={"multiplier": 4.0})))["retry"]
    assert computed == {
        "initialDelay": schedule.DEFAULT_INITIAL_DELAY_SECONDS,
        "multiplier": 4.0,
        "maxDelay": schedule.DEFAULT_MAX_DELAY_SECONDS,
        "maxAttempts": schedule.DEFAULT_MAX_ATTEMPTS,
        "jitter": schedule.DEFAULT_JITTER,
    }


@pytest.mark.parametrize(
    ("retry", "attempts"), [({"maxAttempts": 3, "maxDelay": 20}, 3), ({"maxAttempts": 12}, 12)]
)
def test_the_schedule_that_is_shown_is_the_one_that_the_relay_keeps(
    platform: Platform, retry: Json, attempts: int
) -> None:
    made = platform.subscription(retry={**retry, "jitter": 0})
    kept = endpoint.decode(json.dumps(stored(platform, made))).retry
    delays = [schedule.delay_seconds(kept, done, lambda: 0.0) for done in range(1, attempts + 1)]
    assert [*platform.ask("GET", path(made))["retry"]["schedule"], None] == delays


def test_the_secret_is_shown_when_it_is_made_and_never_again(platform: Platform) -> None:
    made = platform.subscription()
    assert made["secret"].startswith(SECRET)
    rotated = platform.ask("POST", path(made, "/rotate-secret"))["secret"]
    assert rotated.startswith(SECRET)
    assert rotated != made["secret"]
    platform.ask("PATCH", path(made), {"concurrency": 2})
    for where in (path(made), SUBSCRIPTIONS + "?limit=200", "/v1/stats?limit=200"):
        assert SECRET not in platform.send("GET", where).text


def test_the_service_cannot_read_what_requests_are_signed_with(platform: Platform) -> None:
    with platform.database.transaction(force_rollback=True):
        platform.database.execute("set local role outbox_service")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            platform.database.execute("select key from outbox.secret")


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"endpoint": "ftp://a.example"}, "endpoint"),
        ({"endpoint": "https://user:password@a.example/"}, "endpoint"),
        ({"endpoint": "https://a.example/#fragment"}, "endpoint"),
        ({"endpoint": "https://a.example:65536/"}, "endpoint"),
        ({"endpoint": "https:///nowhere"}, "endpoint"),
        ({"endpoint": "https://[::1::2]/"}, "endpoint"),
        ({"name": "two words"}, "name"),
        ({"channelId": "two words"}, "channelId"),
        ({"types": []}, "types"),
        ({"shards": 65}, "shards"),
        ({"timeoutSeconds": 0.5}, "timeoutSeconds"),
        ({"ratePerSecond": 0}, "ratePerSecond"),
        ({"clientErrors": "ignore"}, "clientErrors"),
        ({"retry": {"maxAttempts": 0}}, "retry.maxAttempts"),
        ({"retry": {"schedule": [1, -1]}}, "retry.schedule[1]"),
        ({"retry": {"schedule": [1], "maxAttempts": 3}}, "retry"),
        ({"breaker": {"coolDown": 0.9}}, "breaker.coolDown"),
        ({"breaker": {"coolDownSeconds": 1}}, "breaker.coolDownSeconds"),
        ({"sharks": 1}, "sharks"),
    ],
)
def test_a_term_that_cannot_be_is_refused_by_its_name(
    platform: Platform, fields: Json, blamed: str
) -> None:
    form = {
        "channelId": "c",
        "endpoint": "https://a.example",
        "name": platform.name(),
        **fields,
    }
    assert platform.field("POST", SUBSCRIPTIONS, form) == blamed


def test_a_refusal_speaks_in_words_and_not_in_regular_expressions(platform: Platform) -> None:
    form = {"channelId": "two words", "endpoint": "https://a.example", "name": "n"}
    detail = platform.send("POST", SUBSCRIPTIONS, form).json()["detail"]
    assert "letters, digits, dots, dashes and underscores" in detail
    assert "regex" not in detail
    # A pattern with a quote in it, and one of a query.
    message = {"channelId": "c", "type": "t", "payload": 1, "headers": {"a b": "x"}}
    detail = platform.send("POST", "/v1/messages", message).json()["detail"]
    assert "An HTTP token" in detail
    assert "regex" not in detail
    detail = platform.send("GET", f"{SUBSCRIPTIONS}?cursor=x").json()["detail"]
    assert "of the page before" in detail
    assert "regex" not in detail


def test_the_bounds_of_the_document_are_the_bounds_of_the_database(platform: Platform) -> None:
    schemas = platform.http.get("/openapi.json").json()["components"]["schemas"]
    bounds = platform.database.execute(
        "select path, kind, lowest::float8, highest::float8, words from outbox.http_setting"
    ).fetchall()
    assert {setting for setting, *_ in bounds} == {
        *(terms.STORED_NAMES[name] for name in terms.DEFAULTS),
        "endpoint",
        *(f"retry.{terms.STORED_NAMES[name]}" for name in schemas["Retry"]["properties"]),
        *(f"breaker.{terms.STORED_NAMES[name]}" for name in schemas["Breaker"]["properties"]),
    }
    for setting, kind, lowest, highest, words in bounds:
        part, _, inner = setting.rpartition(".")
        schema = schemas[part.capitalize() or "SubscriptionForm"]["properties"]
        [said, *_] = (shape := schema[terms.HTTP_NAMES[inner]]).get("anyOf", [shape])
        said = said.get("items", said)
        if kind == "word":
            assert sorted(said["enum"]) == sorted(words)
        elif kind != "url":
            assert (said["minimum"], said["maximum"]) == (lowest, highest), setting


def test_two_subscriptions_cannot_have_one_name(platform: Platform) -> None:
    name = platform.subscription()["name"]
    form = {"channelId": "c", "endpoint": "https://a.example", "name": name}
    answer = platform.send("POST", SUBSCRIPTIONS, form)
    assert (answer.status_code, answer.json()["field"]) == (409, "name")
    other = platform.subscription()
    assert platform.send("PATCH", path(other), {"name": name}).status_code == 409


def test_a_change_leaves_alone_what_it_does_not_name(platform: Platform) -> None:
    made = platform.subscription(**SETTINGS, types=["a"])
    new = platform.name()
    changed = platform.ask(
        "PATCH", path(made), {"name": new, "timeoutSeconds": 9, "breaker": {"minimum": 7}}
    )
    expected = {name: made[name] for name in made if name != "secret"}
    expected |= {"name": new, "timeoutSeconds": 9, "breaker": {**made["breaker"], "minimum": 7}}
    assert changed == expected


def test_null_takes_a_setting_back_to_its_default(platform: Platform) -> None:
    made = platform.subscription(**SETTINGS, types=["a"])
    change = {
        "types": None,
        "concurrency": None,
        "retry": None,
        "breaker": dict.fromkeys(SETTINGS["breaker"]),
    }
    changed = platform.ask("PATCH", path(made), change)
    assert (changed["types"], changed["concurrency"]) == (None, terms.DEFAULTS["concurrency"])
    assert "retry" not in stored(platform, made)
    assert "breaker" not in stored(platform, made)


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        ({"endpoint": None}, "endpoint"),
        ({"shards": 2}, "shards"),
        ({"retry": {"schedule": [1]}}, "retry"),
        ({"paused": True}, "paused"),
    ],
)
def test_a_change_that_cannot_be_is_refused_by_its_name(
    platform: Platform, change: Json, blamed: str
) -> None:
    made = platform.subscription(retry={"maxAttempts": 3})
    assert platform.field("PATCH", path(made), change) == blamed


def test_a_pause_holds_and_says_who_paused(platform: Platform) -> None:
    made = platform.subscription()
    paused = platform.ask("POST", path(made, "/pause"))
    assert paused["paused"] is True
    assert paused["pausedReason"].startswith("by the API key ")
    platform.ask(
        "POST", "/v1/messages", {"channelId": made["channelId"], "type": "t", "payload": 1}, 201
    )
    assert backlog(platform, made) == 1
    assert platform.ask("POST", path(made, "/pause")) == paused
    resumed = platform.ask("POST", path(made, "/resume"))
    assert (resumed["paused"], resumed["pausedReason"]) == (False, None)
    assert backlog(platform, made) == 1


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
    assert backlog(platform, made) == 0
    since = {"fromMessageId": second["id"]}
    assert platform.ask("POST", path(made, "/replay"), since) == {"messages": 2, "dryRun": False}
    assert backlog(platform, made) == 2
    assert first["id"] != second["id"]


@pytest.mark.parametrize("body", [{}, {"from": "2020-01-01T00:00:00Z", "fromMessageId": "1"}])
def test_a_replay_begins_at_a_time_or_at_a_message(platform: Platform, body: Json) -> None:
    assert platform.field("POST", path(platform.subscription(), "/replay"), body) == "from"


@pytest.mark.parametrize(
    ("change", "field", "known"),
    [
        ({"colour": 1}, "colour", ["attemptsLog", "breaker", "channelId", "retry", "types"]),
        ({"retry": {"colour": 1}}, "retry.colour", ["initialDelay", "jitter", "schedule"]),
        ({"breaker": {"colour": 1}}, "breaker.colour", ["coolDown", "minimum", "window"]),
    ],
)
def test_a_setting_that_is_not_known_is_told_with_those_that_are(
    platform: Platform, change: Json, field: str, known: list[str]
) -> None:
    made = platform.subscription()
    answer = platform.send("PATCH", path(made), change)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    _, _, listed = answer.json()["detail"].partition("; known are ")
    assert set(known) <= set(listed.rstrip(".").split(", "))


def test_a_field_that_is_not_known_is_told_with_those_of_its_object(platform: Platform) -> None:
    message = {"channelId": "c", "type": "t", "payload": 1, "colour": 1}
    for url, body in (("/v1/messages", message), ("/v1/messages/transactional", [message])):
        detail = platform.send("POST", url, body).json()["detail"]
        assert "known are channelId, groupKey, headers, idempotencyKey, payload" in detail
    detail = platform.send("GET", "/v1/deliveries?colour=1").json()["detail"]
    assert "known are " in detail


def test_letters_stand_in_the_way_of_a_delete_unless_they_are_discarded(
    platform: Platform,
) -> None:
    made = platform.subscription()
    letter = platform.dead_letter(made["id"])
    answer = platform.send("DELETE", path(made))
    assert (answer.status_code, answer.json()["field"]) == (409, "discardUndelivered")
    assert platform.ask("GET", path(made))["counts"]["deadLetters"] == 1
    # On its way again, but not delivered: still waited for.
    platform.ask("POST", "/v1/dead-letters/redrive", {"ids": [letter]})
    assert platform.send("DELETE", path(made)).status_code == 409
    platform.ask("DELETE", path(made) + "?discardUndelivered=true", status=204)
    assert platform.send("GET", path(made)).status_code == 404
    assert platform.send("DELETE", path(made)).status_code == 404


@pytest.mark.parametrize("step", ["/v1/messages", "/test"])
def test_undelivered_messages_stand_in_the_way_of_a_delete_unless_they_are_discarded(
    platform: Platform, step: str
) -> None:
    """Unread ones and those with a row of their own."""
    made = platform.subscription()
    if step == "/test":
        platform.ask("POST", path(made, step), status=202)
    else:
        body = {"channelId": made["channelId"], "type": "t", "payload": 1}
        platform.ask("POST", step, body, 201)
    answer = platform.send("DELETE", path(made))
    assert (answer.status_code, answer.json()["field"]) == (409, "discardUndelivered")
    platform.ask("DELETE", path(made) + "?discardUndelivered=true", status=204)


def test_what_others_published_does_not_stand_in_the_way_of_a_delete(platform: Platform) -> None:
    made = platform.subscription()
    platform.database.execute(
        "insert into outbox.message (channel, type, payload)"
        " select 'noise', 'tick', '{}' from generate_series(1, 3000)"
    )
    platform.ask("DELETE", path(made), status=204)


def test_a_subscription_with_nothing_to_deliver_is_deleted(platform: Platform) -> None:
    platform.ask("DELETE", path(platform.subscription()), status=204)


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


def test_a_replay_is_of_the_subscription_that_has_the_id_whoever_gets_its_name(
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


def test_the_pages_of_subscriptions_show_each_once(platform: Platform) -> None:
    made = [platform.subscription()["id"] for _ in range(5)]
    walked = [item["id"] for item in platform.walk(f"{SUBSCRIPTIONS}?", limit=2)]
    assert len(walked) == len(set(walked))
    assert set(made) <= set(walked)


def test_more_shards_than_the_database_has_room_for_are_refused(platform: Platform) -> None:
    form = {"channelId": "c", "endpoint": "https://receiver.example/hook", "shards": 64}
    used = platform.database.execute("select cursors from outbox.quota").fetchone()
    platform.database.execute("update outbox.quota set cursors = 100")
    try:
        answer = platform.send("POST", SUBSCRIPTIONS, {**form, "name": platform.name()})
    finally:
        platform.database.execute("update outbox.quota set cursors = %s", used)
    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (409, "shards")
    assert problem["detail"].startswith("shards = 64 takes 320 cursors, and of at most 100 there")


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
