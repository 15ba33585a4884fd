"""Operators list connectors and add them."""

import json

import pytest

from relay.database import Connection
from tests.relay.operating import outbox_relay, relay_role

CONFIG = {"brokers": "kafka.example.com:9092", "topic": "shop.orders"}


@pytest.mark.long
def test_a_connector_is_added_listed_and_paused(connection: Connection, database_url: str) -> None:
    environment = {"DATABASE_URL": database_url}
    made = outbox_relay(
        "connectors",
        "add",
        "warehouse",
        "--channel=orders",
        "--type=kafka",
        f"--config={json.dumps(CONFIG)}",
        "--event-type=order.paid",
        "--exactly-once",
        environment=environment,
    )
    assert made.returncode == 0, made.stderr
    row = connection.execute(
        "select kind, channels, types, delivery, settings from outbox.subscription"
        " where name = 'warehouse'"
    ).fetchone()
    assert row == ("kafka", ["orders"], ["order.paid"], "exactly_once", CONFIG)
    paused = outbox_relay("subscriptions", "pause", "warehouse", environment=environment)
    assert paused.returncode == 0, paused.stderr
    # Who may look may list them.
    with relay_role(connection, "outbox_reader") as reader:
        listing = outbox_relay("connectors", "list", "--json", environment={"DATABASE_URL": reader})
        assert listing.returncode == 0, listing.stderr
        (listed,) = json.loads(listing.stdout)
    assert (listed["name"], listed["config"], listed["paused"]) == ("warehouse", CONFIG, True)
    shown = outbox_relay("connectors", environment=environment).stdout
    for word in ("warehouse", "kafka.example.com:9092", "shop.orders", "exactly once", "paused"):
        assert word in shown


def test_a_connector_to_a_queue_is_added_and_listed(database_url: str) -> None:
    url = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo"
    made = outbox_relay(
        "connectors",
        "add",
        "shop",
        "--channel=orders",
        "--type=sqs",
        f"--config={json.dumps({'queue_url': url})}",
        environment={"DATABASE_URL": database_url},
    )
    assert made.returncode == 0, made.stderr
    shown = outbox_relay("connectors", environment={"DATABASE_URL": database_url}).stdout
    for word in ("shop", "sqs", "orders", url, "at least once"):
        assert word in shown


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        (
            "pubsub",
            {"project": "shop-prod", "endpoint": "https://europe-west1-pubsub.googleapis.com"},
            ("https://europe-west1-pubsub.googleapis.com/projects/shop-prod", " orders "),
        ),
        (
            "sqs",
            {"queue_url": "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo"},
            ("https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo",),
        ),
    ],
)
def test_connectors_to_queues_and_topics_are_added_and_listed(
    database_url: str, kind: str, config: dict[str, str], words: tuple[str, ...]
) -> None:
    environment = {"DATABASE_URL": database_url}
    given = ("--channel=orders", f"--type={kind}", f"--config={json.dumps(config)}")
    made = outbox_relay("connectors", "add", "shop", *given, environment=environment)
    assert made.returncode == 0, made.stderr
    shown = outbox_relay("connectors", environment=environment).stdout
    for word in ("shop", kind, *words):
        assert word in shown


def test_an_inward_connector_is_added_with_a_priority(
    connection: Connection, database_url: str
) -> None:
    environment = {"DATABASE_URL": database_url}
    given = ("--channel=orders", "--type=kafka", '--config={"topic": "shop.orders"}')
    add = ("connectors", "add", "shop", "--direction=in", *given)
    for refused in (
        outbox_relay(*add, "--priority=6", environment=environment),
        outbox_relay("connectors", "add", "out", *given, "--priority=1", environment=environment),
    ):
        assert refused.returncode == 2
        assert "priority" in refused.stderr
    made = outbox_relay(*add, "--priority=1", environment=environment)
    assert made.returncode == 0, made.stderr
    assert connection.execute("select name, priority from outbox.source").fetchall() == [
        ("shop", 1)
    ]
    (listed,) = json.loads(
        outbox_relay("connectors", "list", "--json", environment=environment).stdout
    )
    assert (listed["name"], listed["priority"]) == ("shop", 1)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{}", "settings.brokers is required"),
        ('{"brokers": "b:1", "password": "x"}', "settings.password is not known"),
        ("[]", "is no JSON object"),
        ("{", "is no JSON object"),
        ('{"brokers": "\\u0000"}', "NUL"),
    ],
)
def test_a_config_that_means_nothing_is_refused(database_url: str, config: str, words: str) -> None:
    refused = outbox_relay(
        "connectors",
        "add",
        "warehouse",
        "--channel=orders",
        "--type=kafka",
        f"--config={config}",
        environment={"DATABASE_URL": database_url},
    )
    assert refused.returncode in (1, 2)
    assert words in refused.stderr


def test_a_connector_to_event_hubs_is_added_and_listed(database_url: str) -> None:
    environment = {"DATABASE_URL": database_url}
    config = {"namespace": "shop-events", "event_hub": "shop.orders", "credentials": "hub"}
    add = ["connectors", "add", "hub", "--channel=orders", "--type=event_hubs"]
    add.append(f"--config={json.dumps(config)}")
    refused = outbox_relay(*add, "--exactly-once", environment=environment)
    assert refused.returncode == 1
    assert "settings.delivery must be at_least_once: with an offset Event Hubs" in refused.stderr
    made = outbox_relay(*add, environment=environment)
    assert made.returncode == 0, made.stderr
    (listed,) = json.loads(
        outbox_relay("connectors", "list", "--json", environment=environment).stdout
    )
    assert (listed["type"], listed["config"]) == ("event_hubs", config)
    (shown,) = outbox_relay("connectors", environment=environment).stdout.splitlines()[1:]
    assert shown.split()[1:5] == ["event_hubs", "orders", "shop-events", "shop.orders"]
