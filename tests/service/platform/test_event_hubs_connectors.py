"""/v1/connectors of type event_hubs: channels whose messages go to Azure Event Hubs."""

import pytest

from tests.service.api import SUBSCRIPTIONS, Json, Platform

CONNECTORS = "/v1/connectors"
CONFIG = {"namespace": "shop-events", "eventHub": "shop.orders", "credentials": "azure"}


def form(platform: Platform, **config: object) -> Json:
    return {
        "name": platform.name(),
        "channelId": platform.name("c"),
        "type": "event_hubs",
        "config": {**CONFIG, **config},
    }


def made(platform: Platform, **config: object) -> Json:
    answer: Json = platform.ask("POST", CONNECTORS, form(platform, **config), 201)
    return answer


def path(connector: Json, step: str = "") -> str:
    return f"{CONNECTORS}/{connector['id']}{step}"


def test_a_connector_to_a_namespace_is_shown_as_it_was_made(platform: Platform) -> None:
    asked = form(platform, delivery="at_least_once") | {"types": ["order.paid"], "shards": 2}
    created = platform.ask("POST", CONNECTORS, asked, 201)
    assert {name: created[name] for name in asked} == asked
    assert created["direction"] == "out"
    assert platform.ask("GET", path(created)) == created
    assert created in platform.ask("GET", f"{CONNECTORS}?limit=200")["items"]
    assert platform.ask("GET", f"{SUBSCRIPTIONS}/{created['id']}")["kind"] == "kafka"


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"namespace": None}, "config.namespace"),
        ({"namespace": "short"}, "config.namespace"),
        ({"namespace": "sb://shop-events/"}, "config.namespace"),
        ({"namespace": "shop-events\n"}, "config.namespace"),
        ({"eventHub": "a b"}, "config.eventHub"),
        ({"eventHub": "outbox.cursors"}, "config.eventHub"),
        ({"credentials": None}, "config.credentials"),
        ({"credentials": "../a"}, "config.credentials"),
        ({"connectionString": "Endpoint=sb://h/"}, "config.connectionString"),
        ({"brokers": "b:1"}, "config.brokers"),
        ({"topic": "orders"}, "config.topic"),
        ({"security": "sasl_ssl"}, "config.security"),
        ({"delivery": "exactly_once"}, "config.delivery"),
    ],
)
def test_a_config_that_means_nothing_is_refused_by_its_field(
    platform: Platform, config: Json, field: str
) -> None:
    assert platform.field("POST", CONNECTORS, form(platform, **config)) == field
    assert platform.field("PATCH", path(made(platform)), {"config": config}) == field


def test_why_nothing_goes_there_exactly_once_is_said(platform: Platform) -> None:
    asked = form(platform, delivery="exactly_once")
    refused = platform.send("POST", CONNECTORS, asked)
    assert refused.status_code == 422
    assert "with an offset Event Hubs keep at most 1024 bytes" in refused.json()["detail"]


def test_what_a_namespace_needs_is_asked_for(platform: Platform) -> None:
    for missing in ("namespace", "credentials"):
        asked = form(platform)
        del asked["config"][missing]
        refused = platform.send("POST", CONNECTORS, asked)
        assert refused.status_code == 422
        assert missing in refused.text
    assert platform.field("POST", CONNECTORS, form(platform) | {"direction": "in"}) == "direction"


def test_a_patch_changes_what_it_names(platform: Platform) -> None:
    created = made(platform)
    change = {"name": platform.name(), "config": {"eventHub": None, "namespace": "stock-events"}}
    changed = platform.ask("PATCH", path(created), change)
    assert changed["name"] == change["name"]
    assert changed["config"] == {
        "namespace": "stock-events",
        "credentials": "azure",
        "delivery": "at_least_once",
    }


def test_a_limited_key_makes_none_for_it_uses_no_credential(platform: Platform) -> None:
    prefix = platform.name("mine")
    key = platform.key("operate", "read", channels=[f"{prefix}.*"])
    asked = form(platform, eventHub=f"{prefix}.orders") | {"channelId": f"{prefix}.orders"}
    refused = platform.send("POST", CONNECTORS, asked, key)
    assert (refused.status_code, refused.json()["field"]) == (403, "config.credentials")
