"""/v1/connectors of direction in: topics and queues whose records and messages come in."""

import pytest

from tests.service.api import Json, Platform

CONNECTORS = "/v1/connectors"


@pytest.fixture(autouse=True)
def room(platform: Platform) -> None:
    """For the connectors of all these tests, whose database is one."""
    platform.database.execute("update outbox.quota set sources = 1000")


def form(platform: Platform, **given: object) -> Json:
    return {
        "name": platform.name(),
        "channelId": platform.name("c"),
        "type": "kafka",
        "direction": "in",
        "config": {"topic": "shop.orders"},
        **given,
    }


def test_an_inward_connector_is_made_shown_paused_resumed_and_ended(platform: Platform) -> None:
    asked = form(platform)
    created = platform.ask("POST", CONNECTORS, asked, 201)
    assert created["config"] == {"topic": "shop.orders", "from": "earliest"}
    assert (created["direction"], created["lag"], created["entered"]) == ("in", 0, 0)
    assert created["priority"] == 3
    path = f"{CONNECTORS}/{created['id']}"
    assert platform.ask("GET", path) == created
    assert created in platform.ask("GET", f"{CONNECTORS}?limit=200")["items"]
    assert platform.ask("POST", f"{path}/pause")["paused"]
    assert not platform.ask("POST", f"{path}/resume")["paused"]
    answer = platform.send("POST", f"{path}/replay", {"from": "2020-01-01T00:00:00Z"})
    assert answer.status_code == 409, answer.text
    assert platform.send("DELETE", path).status_code == 204
    assert platform.send("GET", path).status_code == 404


def test_its_name_is_no_other_connectors(platform: Platform) -> None:
    asked = form(platform)
    platform.ask("POST", CONNECTORS, asked, 201)
    for other in (
        asked,
        {**asked, "direction": "out", "config": {"brokers": "b.example.com:9092"}},
    ):
        answer = platform.send("POST", CONNECTORS, other)
        assert answer.status_code == 409, answer.text
        assert answer.json()["field"] == "name"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"config": {}}, "config.topic"),
        ({"config": {"topic": "a", "from": "then"}}, "config.from"),
        ({"config": {"topic": "a", "from": "2026-02-30T00:00:00Z"}}, "config.from"),
        ({"config": {"topic": "a", "delivery": "exactly_once"}}, "config.delivery"),
        ({"config": {"topic": "a", "credentials": "b"}}, "config.credentials"),
        ({"types": ["a"]}, "types"),
        ({"shards": 2}, "shards"),
        ({"priority": 0}, "priority"),
        ({"priority": 6}, "priority"),
        ({"direction": "out", "config": {"topic": "a"}}, "config.brokers"),
        (
            {"direction": "out", "config": {"brokers": "b:1", "from": "latest"}},
            "config.from",
        ),
        (
            {"direction": "out", "config": {"brokers": "b:1"}, "priority": 1},
            "priority",
        ),
    ],
)
def test_what_means_nothing_is_refused(platform: Platform, given: Json, field: str) -> None:
    answer = platform.send("POST", CONNECTORS, form(platform, **given))
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field


URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo"
QUEUE: Json = {"queueUrl": URL, "credentials": "shop", "unwrap": "sns"}


def queue(platform: Platform, **given: object) -> Json:
    return form(platform, **{"type": "sqs", "config": QUEUE, **given})


def made(platform: Platform, asked: Json) -> Json:
    answer: Json = platform.ask("POST", CONNECTORS, asked, 201)
    return answer


def path(connector: Json, step: str = "") -> str:
    return f"{CONNECTORS}/{connector['id']}{step}"


def test_a_queue_that_comes_in_is_made_shown_paused_resumed_and_ended(platform: Platform) -> None:
    asked = queue(platform, priority=1)
    created = made(platform, asked)
    assert {name: created[name] for name in asked} == asked
    assert (created["breakerState"], created["lag"], created["entered"]) == (None, 0, 0)
    assert platform.database.execute(
        "select kind, channel, priority, settings from outbox.source where id = %s",
        [created["id"]],
    ).fetchone() == (
        "sqs",
        asked["channelId"],
        1,
        {"queue_url": URL, "credentials": "shop", "unwrap": "sns"},
    )
    assert platform.ask("GET", path(created)) == created
    assert platform.ask("POST", path(created, "/pause"))["paused"]
    assert not platform.ask("POST", path(created, "/resume"))["paused"]
    for step, body in (
        ("/test", None),
        ("/replay", {"from": "2020-01-01T00:00:00Z"}),
    ):
        answer = platform.send("POST", path(created, step), body)
        assert answer.status_code == 409, answer.text
        assert "direction in" in answer.json()["detail"]
    assert platform.field("POST", path(created, "/seek"), {"from": "latest"}) == "config.from"
    assert platform.send("DELETE", path(created)).status_code == 204
    assert platform.send("GET", path(created)).status_code == 404


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"config": {"queueUrl": None}}, "config.queueUrl"),
        ({"config": {"queueUrl": "https://h/123456789012/q"}}, "config.region"),
        ({"config": {**QUEUE, "unwrap": "eventbridge"}}, "config.unwrap"),
        ({"config": {**QUEUE, "concurrency": 2}}, "config.concurrency"),
        ({"config": {**QUEUE, "retry": {"maxAttempts": 2}}}, "config.retry"),
        ({"config": {**QUEUE, "topic": "t"}}, "config.topic"),
        ({"config": {**QUEUE, "from": "latest"}}, "config.from"),
        ({"types": ["a"]}, "types"),
        ({"shards": 2}, "shards"),
        ({"direction": "out"}, "config.unwrap"),
        ({"direction": "out", "config": {"queueUrl": URL}, "priority": 1}, "priority"),
    ],
)
def test_what_means_nothing_of_a_queue_is_refused(
    platform: Platform, given: Json, field: str
) -> None:
    assert platform.field("POST", CONNECTORS, queue(platform, **given)) == field


CLUSTER: Json = {
    "topic": "shop.orders",
    "brokers": "b-1.example.com:9093",
    "security": "ssl",
    "credentials": "shop",
}


def test_a_patch_of_a_topic_changes_what_it_names(platform: Platform) -> None:
    created = made(platform, form(platform, config=CLUSTER, priority=2))
    platform.ask("POST", path(created, "/pause"))
    change = {
        "name": platform.name(),
        "types": None,
        "config": {"brokers": "b-2.example.com:9093", "credentials": None, "topic": "shop.orders"},
    }
    changed = platform.ask("PATCH", path(created), change)
    assert changed["name"] == change["name"]
    assert changed["config"] == {
        "topic": "shop.orders",
        "brokers": "b-2.example.com:9093",
        "security": "ssl",
        "from": "earliest",
    }
    # Nothing else does.
    assert (changed["paused"], changed["priority"]) == (True, 2)
    assert changed["channelId"] == created["channelId"]


def test_a_patch_of_a_queue_changes_what_it_names(platform: Platform) -> None:
    created = made(platform, queue(platform))
    change = {"config": {"unwrap": None, "credentials": "store", "region": "eu-central-1"}}
    changed = platform.ask("PATCH", path(created), change)
    config = {"queueUrl": URL, "credentials": "store", "region": "eu-central-1"}
    assert changed == {**created, "config": config}


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"config": {"topic": "shop.parcels"}}, "config.topic", "is fixed at creation, since"),
        ({"config": {"topic": None}}, "config.topic", "is required"),
        ({"config": {"from": "latest"}}, "config.from", "seek begins anew"),
        ({"config": {"delivery": "exactly_once"}}, "config.delivery", "direction out"),
        ({"config": {"brokers": None}}, "config.brokers", "Expected `str`"),
        ({"config": {"security": None}}, "config.credentials", "no use with security plaintext"),
        ({"config": {"queueUrl": URL}}, "config.queueUrl", "no such field"),
        ({"config": {"credentials": "../a"}}, "config.credentials", "63 lower-case letters"),
        ({"types": ["a"]}, "types", "is of direction out"),
        ({"channelId": "parcels"}, "channelId", "no such field"),
        ({"priority": 1}, "priority", "no such field"),
    ],
)
def test_what_a_patch_of_a_topic_can_not_change_is_refused_with_the_reason(
    platform: Platform, change: Json, field: str, reason: str
) -> None:
    created = made(platform, form(platform, config=CLUSTER))
    answer = platform.send("PATCH", path(created), change)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert reason in answer.json()["detail"]
    assert platform.ask("GET", path(created)) == created


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"queueUrl": URL.replace("orders", "parcels")}, "config.queueUrl", "fixed at creation"),
        ({"concurrency": 2}, "config.concurrency", "is not known"),
        ({"unwrap": "eventbridge"}, "config.unwrap", "Invalid enum value"),
    ],
)
def test_what_a_patch_of_a_queue_can_not_change_is_refused_with_the_reason(
    platform: Platform, change: Json, field: str, reason: str
) -> None:
    created = made(platform, queue(platform))
    answer = platform.send("PATCH", path(created), {"config": change})
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert reason in answer.json()["detail"]
    assert platform.ask("GET", path(created)) == created


def test_a_name_that_another_connector_has_is_refused(platform: Platform) -> None:
    first, second = (made(platform, form(platform)) for _ in range(2))
    answer = platform.send("PATCH", path(first), {"name": second["name"].upper()})
    assert (answer.status_code, answer.json()["field"]) == (409, "name")


def test_who_changes_one_may_publish_for_other_records_could_come_in(platform: Platform) -> None:
    created = made(platform, form(platform, config=CLUSTER))
    change = {"config": {"brokers": "c:1"}}
    without = (platform.key("operate", "manage", "read"), platform.key("publish"))
    for key in without:
        refused = platform.send("PATCH", path(created), change, key)
        assert refused.status_code == 403, refused.text
    changed = platform.send("PATCH", path(created), change, platform.key("operate", "publish"))
    assert changed.status_code == 200, changed.text
