"""outbox.connect, and the settings of connectors to Event Hubs."""

import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.sql.log import Session, one

BROKERS = "b-1.example.com:9092,b-2.example.com:9093"


CONNECT = "select outbox.connect('warehouse', 'orders', 'kafka', %s)"


MAKE = "select outbox.connect(%s, 'orders', 'kafka', %s, made_by => %s)"


def make(db: Session, name: str, brokers: str, made_by: str | None = None) -> None:
    db.execute(MAKE, [name, Jsonb({"brokers": brokers}), made_by])


HUB = {"namespace": "shop-events", "credentials": "hub"}


TO_HUB = "select outbox.connect('hub', 'orders', 'event_hubs', %s)"


def test_a_connector_to_event_hubs_is_one_to_another_cluster(db: Session) -> None:
    config = {**HUB, "event_hub": "orders"}
    made = one(db, TO_HUB, Jsonb(config))
    shown = db.execute("select id, type, channels, config, delivery from outbox.connector")
    assert shown.fetchall() == [(made, "event_hubs", ["orders"], config, "at_least_once")]
    told = db.execute(
        "select kind, outbox.other_cluster(settings)::jsonb,"
        " outbox.connector_topic(settings, channels),"
        " outbox.connector_topic(settings - 'event_hub', array['parcels', 'a']),"
        " outbox.connector_topic(settings - 'event_hub', array['parcels'])"
        " from outbox.subscription where name = 'hub'"
    ).fetchone()
    assert told == ("kafka", HUB, "orders", "", "parcels")


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({}, "settings.namespace is required"),
        ({**HUB, "namespace": 1}, "settings.namespace must be the name of a namespace"),
        ({**HUB, "namespace": "short"}, "settings.namespace must be the name of a namespace"),
        ({**HUB, "namespace": "1-events"}, "settings.namespace must be the name of a namespace"),
        ({**HUB, "namespace": "x" * 51}, "settings.namespace must be the name of a namespace"),
        (
            {**HUB, "namespace": "sb://shop-events/"},
            "settings.namespace must be the name of a namespace",
        ),
        ({**HUB, "namespace": "shop.example.com:0"}, "settings.namespace must be the name"),
        ({**HUB, "event_hub": "a b"}, "settings.event_hub must be the name of an event hub"),
        ({**HUB, "event_hub": "-a"}, "settings.event_hub must be the name of an event hub"),
        ({**HUB, "event_hub": "outbox.cursors"}, "settings.event_hub must not be the topic"),
        ({**HUB, "topic": "orders"}, "settings.topic is not of Event Hubs"),
        ({**HUB, "topic_prefix": "a"}, "settings.topic_prefix is not of Event Hubs"),
        ({**HUB, "brokers": BROKERS}, "settings.brokers is not of Event Hubs"),
        ({**HUB, "security": "sasl_ssl"}, "settings.security is not of Event Hubs"),
        ({**HUB, "connection_string": "x"}, "settings.connection_string is not known"),
        ({"namespace": "shop-events"}, "settings.credentials is required with a namespace"),
    ],
)
def test_settings_of_a_namespace_that_do_not_fit_are_refused_by_name(
    db: Session, config: dict[str, object], fault: str
) -> None:
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(TO_HUB, [Jsonb(config)])
    assert (refused.value.diag.message_primary or "").startswith(fault)
    assert refused.value.diag.column_name == "settings"


@pytest.mark.parametrize(
    "namespace",
    ["shop-events", "shop.servicebus.chinacloudapi.cn", "shop.example.com:9093", "localhost:9093"],
)
def test_a_namespace_has_a_name_or_is_a_host(db: Session, namespace: str) -> None:
    db.execute(TO_HUB, [Jsonb({**HUB, "namespace": namespace})])


def test_event_hubs_get_nothing_exactly_once_and_say_why(db: Session) -> None:
    reason = "settings.delivery must be at_least_once: .* promise no transactions"
    with pytest.raises(errors.CheckViolation, match=reason) as refused:
        db.execute(
            "select outbox.connect('hub', 'orders', 'event_hubs', %s, delivery => 'exactly_once')",
            [Jsonb(HUB)],
        )
    assert refused.value.diag.column_name == "settings"
    db.execute(TO_HUB, [Jsonb(HUB)])
    with pytest.raises(errors.CheckViolation, match=reason):
        db.execute("update outbox.subscription set delivery = 'exactly_once' where name = 'hub'")


def test_a_connector_stays_one_to_event_hubs_or_to_kafka(db: Session) -> None:
    db.execute(TO_HUB, [Jsonb(HUB)])
    db.execute(CONNECT, [Jsonb({"brokers": BROKERS})])
    change = "update outbox.subscription set settings = %s where name = %s"
    for settings, name in (({"brokers": BROKERS}, "hub"), (HUB, "warehouse"), (HUB, "kafka")):
        with pytest.raises(errors.CheckViolation, match=r"^settings\.namespace"):
            db.execute(change, [Jsonb(settings), name])
    db.execute(change, [Jsonb({**HUB, "namespace": "stock-events"}), "hub"])


def test_what_is_of_a_namespace_needs_its_name(db: Session) -> None:
    with pytest.raises(errors.CheckViolation, match=r"settings\.event_hub is of Event Hubs"):
        db.execute(CONNECT, [Jsonb({"brokers": BROKERS, "event_hub": "a"})])


def test_a_namespace_counts_as_a_cluster(db: Session) -> None:
    db.execute("update outbox.quota set connectors = 1")
    make(db, "a", "a.example.com:9092")
    with pytest.raises(errors.CheckViolation, match="namespace names another cluster") as refused:
        db.execute(TO_HUB, [Jsonb(HUB)])
    assert refused.value.diag.column_name == "namespace"
