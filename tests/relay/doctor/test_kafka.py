"""What keeps a relay from Kafka: the broker, topics, transactions."""

import psycopg
import pytest
from confluent_kafka import KafkaError

from relay.database import Connection
from relay.doctor import examination
from relay.doctor import kafka as kafka_findings
from relay.kafka.exactly_once.transactions import CURSORS
from tests.mock_cluster import MockCluster
from tests.relay.doctor.examining import findings, found
from tests.relay.operating import publish, settings
from tests.relay.plans import explain

# https://kafka.apache.org/protocol#protocol_api_keys
INIT_PRODUCER_ID = 22


def test_a_topic_that_is_not_there_is_named(
    database_url: str,
    connection: Connection,
    kafka: str,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 10.0)
    publish(connection, "orders")
    environment = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "RELAY_TOPIC_PREFIX": topic_prefix}
    (topic,) = [one for one in findings(database_url, **environment) if one.what == "topics"]
    assert (topic.level, f"{topic_prefix}orders" in topic.text) == ("warning", True)


EXACTLY_ONCE = "update outbox.subscription set delivery = 'exactly_once'"


def test_transactions_are_tried_where_a_subscription_is_exactly_once(
    database_url: str,
    connection: Connection,
    kafka: str,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 10.0)
    # Cloned databases share their id, and two doctors at once would fence each other.
    connection.execute("update outbox.installation set id = gen_random_uuid()")
    environment = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "RELAY_TOPIC_PREFIX": topic_prefix}
    assert "transactions" not in [one.what for one in findings(database_url, **environment)]
    connection.execute(EXACTLY_ONCE)
    (tried,) = [one for one in findings(database_url, **environment) if one.what == "transactions"]
    assert tried.level == "ok", tried


def test_transactions_that_are_refused_are_a_fault_with_its_mend(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_findings, "KAFKA_TIMEOUT_SECONDS", 5.0)
    connection.execute(EXACTLY_ONCE)
    with MockCluster() as cluster:
        cluster.create_topic(CURSORS, partitions=1)
        cluster.fail_requests(INIT_PRODUCER_ID, [KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED])
        environment = {"KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap_servers}
        (tried,) = [
            one for one in findings(database_url, **environment) if one.what == "transactions"
        ]
    assert tried.level == "fault"
    assert "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" in tried.text
    assert "transactional ids" in tried.hint


def test_a_broker_that_does_not_answer_is_a_fault(database_url: str) -> None:
    assert found(database_url, "Kafka").level == "fault"


def test_a_broker_is_not_missed_where_no_subscription_needs_one(
    database_url: str, connection: Connection
) -> None:
    connection.execute("update outbox.subscription set paused = true")
    (kafka,) = [one for one in examination.examine(settings(database_url)) if one.what == "Kafka"]
    assert (kafka.level, "no subscription needs it" in kafka.text) == ("ok", True)


MANY_MESSAGES = """
    insert into outbox.message (channel, type, payload)
    select 'orders', 'event', '{}' from generate_series(1, 10000)
"""
MORE_SUBSCRIPTIONS = (
    "insert into outbox.subscription (name) select 'more-' || n from generate_series(1, 20) as n"
)


def test_the_channels_of_the_latest_messages_are_read_once_for_all_subscriptions(
    connection: Connection, database_url: str
) -> None:
    connection.execute(MORE_SUBSCRIPTIONS)
    with psycopg.connect(database_url) as writer:
        writer.execute(MANY_MESSAGES)
        plan = explain(connection, kafka_findings.TOPICS, {"prefix": ""})
    assert plan.entries < 2 * 10_000
