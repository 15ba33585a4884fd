"""/v1/connectors of type pubsub: channels whose messages go to topics of Google Cloud Pub/Sub."""

import json

import msgspec
import pytest

from relay.push.policy import settings as relay
from service.platform.connectors.config import HTTP_NAMES, STORED_NAMES
from service.platform.subscriptions.endpoint_settings import merged
from tests.service.api import SUBSCRIPTIONS, Json, Platform

CONNECTORS = "/v1/connectors"
CONFIG: Json = {
    "topic": "orders",
    "ordering": False,
    "endpoint": "https://europe-west1-pubsub.googleapis.com",
    "credentials": "shop",
    "concurrency": 40,
    "timeoutSeconds": 3.0,
    "retry": {"schedule": [1.0, 2.0], "jitter": 0.0},
}


def form(platform: Platform, **config: object) -> Json:
    return {
        "name": platform.name(),
        "channelId": platform.name("c"),
        "type": "pubsub",
        "config": {"project": "shop-prod"} | config,
    }


def made(platform: Platform, **config: object) -> Json:
    answer: Json = platform.ask("POST", CONNECTORS, form(platform, **config), 201)
    return answer


def path(connector: Json, step: str = "") -> str:
    return f"{CONNECTORS}/{connector['id']}{step}"


def test_a_topic_is_shown_as_it_was_made(platform: Platform) -> None:
    asked = form(platform, **CONFIG) | {"types": ["order.paid"], "shards": 2}
    created = platform.ask("POST", CONNECTORS, asked, 201)
    assert asked["config"].items() <= created["config"].items()
    assert {name: created[name] for name in asked if name != "config"} == {
        name: asked[name] for name in asked if name != "config"
    }
    assert (created["direction"], created["breakerState"]["state"]) == ("out", "closed")
    assert platform.ask("GET", path(created)) == created
    assert created in platform.ask("GET", f"{CONNECTORS}?limit=200")["items"]
    assert platform.ask("GET", f"{SUBSCRIPTIONS}/{created['id']}")["kind"] == "pubsub"


def test_the_defaults_that_are_shown_are_those_of_the_relay(platform: Platform) -> None:
    """Names and values, of a topic that says nothing else; its own name is the channel's."""
    config = made(platform)["config"]
    default = msgspec.to_builtins(relay.decode(json.dumps({"project": "shop-prod"}), "pubsub"))
    del default["topic"]
    for settings in (config, default):
        # A schedule is shown as the delays that it comes to.
        del settings["retry"]
    shown = merged({}, config, STORED_NAMES)
    assert shown == {name: value for name, value in default.items() if value is not None}
    assert HTTP_NAMES.keys() >= shown.keys()


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"project": None}, "config.project"),
        ({"project": "Shop"}, "config.project"),
        ({"project": "shop-prod\n"}, "config.project"),
        ({"topic": "go"}, "config.topic"),
        ({"topic": "google-x"}, "config.topic"),
        ({"ordering": "yes"}, "config.ordering"),
        ({"endpoint": "pubsub.googleapis.com"}, "config.endpoint"),
        ({"endpoint": "https://u:p@h"}, "config.endpoint"),
        ({"endpoint": "http://h", "credentials": "shop"}, "config.credentials"),
        ({"credentials": "../a"}, "config.credentials"),
        ({"queueUrl": "q"}, "config.queueUrl"),
        ({"delivery": "exactly_once"}, "config.delivery"),
        ({"clientErrors": "retry"}, "config.clientErrors"),
        ({"concurrency": 0}, "config.concurrency"),
    ],
)
def test_a_config_that_means_nothing_is_refused_by_its_field(
    platform: Platform, config: Json, field: str
) -> None:
    assert platform.field("POST", CONNECTORS, form(platform, **config)) == field
    assert platform.field("PATCH", path(made(platform)), {"config": config}) == field


def test_a_channel_whose_name_is_no_topics_needs_one(platform: Platform) -> None:
    asked = form(platform) | {"channelId": f"1{platform.name('c')}"}
    assert platform.field("POST", CONNECTORS, asked) == "config.topic"
    asked["config"]["topic"] = "orders"
    platform.ask("POST", CONNECTORS, asked, 201)


def test_a_patch_changes_what_it_names(platform: Platform) -> None:
    created = made(platform, topic="orders", credentials="shop")
    change = {"credentials": None, "ordering": False}
    changed = platform.ask("PATCH", path(created), {"config": change})
    plain = made(platform, topic="orders")["config"]
    assert changed == {**created, "config": {**plain, "ordering": False}}


def test_a_test_message_is_for_this_topic_alone(platform: Platform) -> None:
    created = made(platform)
    sent = platform.ask("POST", path(created, "/test"), status=202)
    takers = platform.database.execute(
        "select subscription_id::text from outbox.delivery"
        " join outbox.cursor on cursor.id = cursor_id where message_id = %s",
        [int(sent["messageId"])],
    ).fetchall()
    assert takers == [(created["id"],)]


def test_a_key_that_is_limited_to_channels_sends_to_no_topic(platform: Platform) -> None:
    """What signs there is the operator's, with a credential that is named or without."""
    prefix = platform.name("mine")
    key = platform.key("operate", "read", channels=[f"{prefix}.*"])
    asked = form(platform, topic="orders") | {"channelId": f"{prefix}.orders"}
    refused = platform.send("POST", CONNECTORS, asked, key)
    assert (refused.status_code, refused.json()["field"]) == (403, "type")
    operators = platform.ask("POST", CONNECTORS, asked, 201)
    change = {"config": {"topic": "theirs"}}
    assert platform.send("PATCH", path(operators), change, key).status_code == 403
    assert platform.ask("GET", path(operators)) == operators
