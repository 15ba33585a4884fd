"""Whether connectors reach the clusters that they name."""

import pytest
from psycopg.types.json import Jsonb

from local import kafka as local_kafka
from relay.database import Connection
from relay.doctor import kafka as kafka_findings
from relay.doctor.connectors import MAX_EXAMINED
from relay.doctor.finding import Finding
from tests.relay.doctor.examining import findings
from tests.relay.event_hubs_stage import OTHER_KEY, SEND, EventHubsStage

pytest_plugins = ["tests.relay.event_hubs_fixtures"]

CONNECT = "select outbox.connect('warehouse', 'orders', 'kafka', %s, delivery => %s)"
ALLOWED = {"RELAY_ALLOW_HOSTS": "127.0.0.0/8"}


def told(database_url: str, **environment: str) -> Finding:
    (one,) = [one for one in findings(database_url, **environment) if one.what == "connector"]
    return one


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For connectors' clusters. The relay's own is not there, and would be waited for as long."""
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 10.0)
    monkeypatch.setattr(kafka_findings, "examine", lambda *_: iter(()))


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_one_that_reaches_its_cluster_is_well(
    database_url: str, connection: Connection, kafka: str, topic_prefix: str, delivery: str
) -> None:
    # Cloned databases share their id, and two doctors at once would fence each other.
    connection.execute("update outbox.installation set id = gen_random_uuid()")
    topic = f"{topic_prefix}orders"
    connection.execute(CONNECT, [Jsonb({"brokers": kafka, "topic": topic}), delivery])
    missing = told(database_url, **ALLOWED)
    assert (missing.level, topic in missing.text) == ("warning", True)
    local_kafka.create_topic(kafka, topic)
    assert told(database_url, **ALLOWED) == Finding(
        "ok", "connector", "warehouse reaches its cluster"
    )


def test_what_a_connector_lacks_is_said(
    database_url: str, connection: Connection, kafka: str
) -> None:
    connection.execute(CONNECT, [Jsonb({"brokers": kafka}), "at_least_once"])
    refused = told(database_url)
    assert (refused.level, "RELAY_ALLOW_HOSTS" in refused.text) == ("fault", True)
    connection.execute(
        "update outbox.subscription set settings = settings || %s where name = 'warehouse'",
        [Jsonb({"security": "sasl_ssl", "sasl_mechanism": "PLAIN", "credentials": "a-b"})],
    )
    lacking = told(database_url, **ALLOWED)
    assert (lacking.level, "RELAY_CREDENTIALS_A_B_USERNAME" in lacking.text) == ("fault", True)


def test_that_there_are_more_than_were_tried_is_said_only_where_there_are(
    database_url: str, connection: Connection
) -> None:
    # To hosts that are not allowed: nothing is dialled.
    make = """
        select outbox.connect('c' || n, 'o', 'kafka', %s)
        from generate_series(%s::int, %s::int) as n
    """
    connection.execute("update outbox.quota set connectors = 100")
    connection.execute(make, [Jsonb({"brokers": "127.0.0.1:1"}), 1, MAX_EXAMINED])
    assert told_of(database_url) == ["fault"] * MAX_EXAMINED
    connection.execute(make, [Jsonb({"brokers": "127.0.0.1:1"}), 21, 21])
    assert told_of(database_url) == ["fault"] * MAX_EXAMINED + ["ok"]


def told_of(database_url: str) -> list[str]:
    return [one.level for one in findings(database_url) if one.what == "connector"]


@pytest.mark.long
def test_a_namespace_that_is_reached_and_what_is_missing_there(azure: EventHubsStage) -> None:
    hub = f"{azure.topic_prefix}orders"
    azure.allow(hub, SEND)
    azure.connect_hub("shop", "orders", event_hub=hub)
    environment = azure.environment()
    del environment["DATABASE_URL"]
    missing = told(azure.database_url, **environment)
    assert missing.level == "warning"
    assert f"event hub {hub} is not in the namespace" in missing.text
    azure.make_hub("orders")
    assert told(azure.database_url, **environment).level == "ok"
    environment["RELAY_CREDENTIALS_HUB_CONNECTION_STRING"] = OTHER_KEY
    refused = told(azure.database_url, **environment)
    assert refused.level == "fault"
    assert "the namespace does not take the connection string" in refused.text
