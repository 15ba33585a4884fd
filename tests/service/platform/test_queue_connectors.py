"""/v1/connectors of type sqs: channels whose messages go to queues."""

import json

import msgspec
import pytest

from relay.push.policy import settings as relay
from service.platform.connectors.config import HTTP_NAMES, STORED_NAMES
from service.platform.subscriptions.endpoint_settings import merged
from tests.service.api import SUBSCRIPTIONS, Json, Platform

CONNECTORS = "/v1/connectors"
URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo"
CONFIG: Json = {
    "queueUrl": "https://queues.example/123456789012/orders",
    "region": "eu-central-1",
    "roleArn": "arn:aws:iam::123456789012:role/outbox",
    "credentials": "shop",
    "concurrency": 40,
    "ratePerSecond": 12.5,
    "timeoutSeconds": 3.0,
    "maxPayloadBytes": 1000,
    "onExhausted": "park",
    "attemptsLog": "failures",
    "retry": {"schedule": [1.0, 2.0], "jitter": 0.0},
    "breaker": {"window": 60.0, "minimum": 5, "threshold": 0.5, "coolDown": 2.0},
}


def form(platform: Platform, **config: object) -> Json:
    return {
        "name": platform.name(),
        "channelId": platform.name("c"),
        "type": "sqs",
        "config": {"queueUrl": URL} | config,
    }


def made(platform: Platform, **config: object) -> Json:
    answer: Json = platform.ask("POST", CONNECTORS, form(platform, **config), 201)
    return answer


def path(connector: Json, step: str = "") -> str:
    return f"{CONNECTORS}/{connector['id']}{step}"


def test_a_queue_is_shown_as_it_was_made(platform: Platform) -> None:
    asked = form(platform, **CONFIG) | {"types": ["order.paid"], "shards": 2}
    created = platform.ask("POST", CONNECTORS, asked, 201)
    assert {name: created[name] for name in asked} == asked
    assert (created["direction"], created["breakerState"]["state"]) == ("out", "closed")
    assert platform.ask("GET", path(created)) == created
    assert created in platform.ask("GET", f"{CONNECTORS}?limit=200")["items"]
    assert platform.ask("GET", f"{SUBSCRIPTIONS}/{created['id']}")["kind"] == "sqs"


def test_the_defaults_that_are_shown_are_those_of_the_relay(platform: Platform) -> None:
    """Names and values, of a queue that says nothing else."""
    config = made(platform)["config"]
    assert config.keys() <= STORED_NAMES.keys()
    default = msgspec.to_builtins(relay.decode(json.dumps({"queue_url": URL}), "sqs"))
    for settings in (config, default):
        # A schedule is shown as the delays that it comes to.
        del settings["retry"]
    shown = merged({}, config, STORED_NAMES)
    assert shown == {name: value for name, value in default.items() if value is not None}
    assert HTTP_NAMES.keys() >= shown.keys()


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"queueUrl": None}, "config.queueUrl"),
        ({"queueUrl": "sqs:orders"}, "config.queueUrl"),
        ({"queueUrl": f"{URL}?x"}, "config.queueUrl"),
        ({"queueUrl": f"{URL}\n"}, "config.queueUrl"),
        ({"queueUrl": "https://u:p@h/123456789012/q"}, "config.queueUrl"),
        ({"queueUrl": "https://h/123456789012/q"}, "config.region"),
        ({"region": "A"}, "config.region"),
        ({"roleArn": "admin"}, "config.roleArn"),
        ({"credentials": "../a"}, "config.credentials"),
        ({"password": "x"}, "config.password"),
        ({"brokers": "b:1"}, "config.brokers"),
        ({"topic": "t"}, "config.topic"),
        ({"delivery": "exactly_once"}, "config.delivery"),
        ({"clientErrors": "retry"}, "config.clientErrors"),
        ({"endpoint": "https://h/"}, "config.endpoint"),
        ({"concurrency": 0}, "config.concurrency"),
        ({"retry": {"jitter": 2}}, "config.retry.jitter"),
        ({"retry": {"schedule": [1], "maxAttempts": 2}}, "config.retry"),
        ({"retry": {"schedules": [1]}}, "config.retry.schedules"),
    ],
)
def test_a_config_that_means_nothing_is_refused_by_its_field(
    platform: Platform, config: Json, field: str
) -> None:
    assert platform.field("POST", CONNECTORS, form(platform, **config)) == field
    assert platform.field("PATCH", path(made(platform)), {"config": config}) == field


def test_a_field_of_another_type_is_refused_with_those_of_its_own(platform: Platform) -> None:
    asked = form(platform, brokers="b:1")
    changed = platform.send("PATCH", path(made(platform)), {"config": {"brokers": "b:1"}})
    for refused in (platform.send("POST", CONNECTORS, asked), changed):
        assert (refused.status_code, refused.json()["field"]) == (422, "config.brokers")
        known = refused.json()["detail"].partition("known are ")[2]
        assert "queueUrl" in known
        assert "brokers" not in known


def test_a_direction_that_there_is_not_is_refused_by_its_field(platform: Platform) -> None:
    asked = form(platform) | {"direction": "sideways"}
    assert platform.field("POST", CONNECTORS, asked) == "direction"


def test_a_patch_changes_what_it_names(platform: Platform) -> None:
    created = made(platform, credentials="shop", retry={"maxAttempts": 3})
    change = {"credentials": None, "concurrency": 20, "retry": {"maxAttempts": None}}
    changed = platform.ask("PATCH", path(created), {"config": change})
    plain = made(platform)["config"]
    assert changed == {**created, "config": {**plain, "concurrency": 20}}
    renamed = platform.ask("PATCH", path(created), {"name": platform.name(), "types": ["t"]})
    assert (renamed["config"], renamed["types"]) == (changed["config"], ["t"])


def test_it_is_paused_resumed_replayed_and_deleted_as_a_subscription(platform: Platform) -> None:
    created = made(platform)
    message = {"channelId": created["channelId"], "type": "t", "payload": 1}
    first = platform.ask("POST", "/v1/messages", message, 201)
    assert platform.ask("POST", path(created, "/pause"))["paused"]
    assert not platform.ask("POST", path(created, "/resume"))["paused"]
    dry = {"fromMessageId": first["id"], "dryRun": True}
    assert platform.ask("POST", path(created, "/replay"), dry) == {"messages": 1, "dryRun": True}
    assert platform.send("DELETE", path(created)).status_code == 409
    platform.ask("DELETE", path(created, "?discardUndelivered=true"), status=204)
    assert platform.send("GET", path(created)).status_code == 404


def test_a_test_message_is_for_this_queue_alone(platform: Platform) -> None:
    channel = platform.name("c")
    other = platform.subscription(channelId=channel)
    created = platform.ask("POST", CONNECTORS, form(platform) | {"channelId": channel}, 201)
    sent = platform.ask("POST", path(created, "/test"), status=202)
    takers = platform.database.execute(
        "select subscription_id::text from outbox.delivery"
        " join outbox.cursor on cursor.id = cursor_id where message_id = %s",
        [int(sent["messageId"])],
    ).fetchall()
    assert takers == [(created["id"],)]
    assert platform.backlog(other) == 0


def test_a_key_that_is_limited_to_channels_sends_to_no_queue(platform: Platform) -> None:
    """What signs there is the operator's, with a credential that is named or without."""
    prefix = platform.name("mine")
    key = platform.key("operate", "read", channels=[f"{prefix}.*"])
    for config in ({}, {"credentials": "shop"}):
        asked = form(platform, **config) | {"channelId": f"{prefix}.orders"}
        refused = platform.send("POST", CONNECTORS, asked, key)
        assert (refused.status_code, refused.json()["field"]) == (403, "type")
    operators = platform.ask("POST", CONNECTORS, asked, 201)
    change = {"config": {"queueUrl": URL.replace("orders", "theirs")}}
    assert platform.send("PATCH", path(operators), change, key).status_code == 403
    assert platform.ask("GET", path(operators)) == operators


@pytest.mark.parametrize(
    "rest",
    [b'"x": ' + b"[" * 30_000 + b"]" * 30_000, b'"x": nonsense', b'"config": {"x": 1'],
    ids=["deep", "nonsense", "short"],
)
def test_what_is_no_json_behind_what_does_not_fit_is_refused(
    platform: Platform, rest: bytes
) -> None:
    body = b'{"type": "sqs", ' + rest + b"}"
    answer = platform.http.request("POST", CONNECTORS, content=body, headers=platform.authorization)
    assert answer.status_code == 422, answer.text
