"""Connectors of type event_hubs, on a Kafka that holds what Event Hubs is known to hold."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from relay.kafka.connectors import other_cluster
from relay.kafka.connectors.event_hubs import MAX_REQUEST_BYTES
from relay.kafka.destination import Destinations
from relay.kafka.producers import DEFAULTS, Producers
from relay.kafka.reports import Reports
from relay.kafka.sink import KafkaSink
from relay.log.cursor import SinkSettings
from relay.log.message import Row
from relay.log.sink import Page, SinkAway
from relay.operate import connector
from relay.process.heartbeat import Heartbeat
from tests.eventually import eventually
from tests.log_reader import Reckoning
from tests.mock_cluster import MockCluster
from tests.relay.event_hubs_stage import (
    CONNECTION_STRING,
    OTHER_KEY,
    SEND,
    EventHubsStage,
)

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.event_hubs_fixtures"]

ELSEWHERE = CONNECTION_STRING.replace("localhost", "stock.servicebus.windows.net")
WAITING = "select waiting_reason from outbox.cursor where waiting_reason is not null"


def a_channel_waits(azure: EventHubsStage, *words: str) -> None:
    def said() -> None:
        reasons = azure.query(WAITING)
        assert len(reasons) == 1
        reason = reasons[0][0]
        assert all(word in reason for word in words), reason

    eventually(said, 30)


def listed_as(azure: EventHubsStage, words: str) -> None:
    """Waits until the list of connectors says so."""

    def said() -> None:
        with azure.database() as connection:
            (listed,) = connector.read(connection)
        assert words in (listed.waiting_reason or "")

    eventually(said, 30)


def test_messages_arrive_in_order_where_nothing_but_sending_is_allowed(
    azure: EventHubsStage,
) -> None:
    hub = azure.make_hub("orders")
    azure.connect_hub("shop", "orders", event_hub=hub)
    azure.publish(500, "orders")
    relay = azure.relay("--once")
    assert relay.wait(60) == 0
    azure.arrived_beyond("orders", hub, once=True)
    assert CONNECTION_STRING not in relay.log.read_text()
    # What the relay did without.
    admin = AdminClient(azure.client())
    config = ConfigResource(ResourceType.TOPIC, hub)
    (described,) = admin.describe_configs([config], request_timeout=10).values()
    made = admin.create_topics([NewTopic(f"{hub}.2", 1, 1)], request_timeout=10)[f"{hub}.2"]
    for refused in (described, made):
        with pytest.raises(KafkaException) as why:
            refused.result(15)
        assert why.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_without_a_hub_of_its_own_it_goes_to_that_of_the_channels_name(
    azure: EventHubsStage,
) -> None:
    channel = azure.make_hub("orders")
    azure.connect_hub("shop", channel)
    azure.publish(20, channel)
    assert azure.relay("--once").wait(60) == 0
    azure.arrived_beyond(channel, channel, once=True)


def test_a_message_beyond_what_a_request_may_have_is_a_dead_letter_and_the_rest_goes_on(
    azure: EventHubsStage,
) -> None:
    """It would close the connection, as an outage does, and again whenever it is sent."""
    hub = azure.make_hub("orders")
    azure.connect_hub("shop", "orders", event_hub=hub)
    azure.publish(10, "orders", group="before")
    # The log takes none of that size.
    azure.execute("alter table outbox.message drop constraint message_is_at_most_983040_bytes")
    azure.publish(1, "orders", size=MAX_REQUEST_BYTES, group="large")
    azure.publish(10, "orders", group="after")
    assert azure.relay("--once").wait(60) == 0
    ((reason, detail),) = azure.query("select reason, detail from outbox.dead_letter")
    assert reason == "MSG_SIZE_TOO_LARGE"
    assert f"takes 1000000 bytes (of the {MAX_REQUEST_BYTES} that Event Hubs allows" in detail
    assert len(azure.beyond(hub)) == 20


def test_the_largest_messages_of_the_log_arrive_together(azure: EventHubsStage) -> None:
    hub = azure.make_hub("orders", partitions=1)
    azure.connect_hub("shop", "orders", event_hub=hub)
    azure.publish(3, "orders", size=983_000, groups=1)
    azure.publish(3000, "orders", size=1000)
    azure.publish(3, "orders", size=983_000, groups=1)
    assert azure.relay("--once").wait(60) == 0
    azure.arrived_beyond("orders", hub, once=True)


def test_what_a_hub_finds_too_large_is_a_dead_letter_though_its_limit_is_not_told(
    azure: EventHubsStage,
) -> None:
    hub = azure.make_hub("orders", config={"max.message.bytes": "50000"})
    azure.connect_hub("shop", "orders", event_hub=hub)
    azure.publish(20, "orders", group="before")
    azure.publish(1, "orders", size=60_000, group="large")
    azure.publish(20, "orders", group="after")
    assert azure.relay("--once").wait(60) == 0
    assert [reason for _, reason in azure.dead_letters()] == ["MSG_SIZE_TOO_LARGE"]
    assert len({arrival.idempotency_key for arrival in azure.beyond(hub)}) == 40


def test_a_wrong_key_is_told_and_goes_on_with_the_right_one(
    azure: EventHubsStage, tmp_path: Path
) -> None:
    hub = f"{azure.topic_prefix}orders"
    azure.allow(hub, SEND)
    azure.connect_hub("shop", "orders", event_hub=hub)
    azure.publish(10, "orders")
    folder = tmp_path / "credentials" / "hub"
    folder.mkdir(parents=True)
    file = folder / "connection_string"
    file.write_text(OTHER_KEY)
    settings = azure.environment(RELAY_CREDENTIALS_DIRECTORY=str(folder.parent))
    del settings["RELAY_CREDENTIALS_HUB_CONNECTION_STRING"]
    relay = azure._spawn("outbox-relay", "run", environment=settings)
    azure.waits_for("shop", "_AUTHENTICATION", "the namespace does not take the connection string")
    assert azure.dead_letters() == []
    file.write_text(f"{CONNECTION_STRING}\n")
    # And what is wrong besides.
    listed_as(azure, f"event hub {hub} is not in the namespace")
    azure.make_hub("orders")
    azure.arrived_beyond("orders", hub)
    for text in (CONNECTION_STRING, OTHER_KEY):
        assert text.rpartition("=")[0] not in relay.log.read_text()


def test_a_connection_string_goes_to_its_own_namespace_alone(azure: EventHubsStage) -> None:
    """Whoever makes a connector chooses its namespace."""
    hub = azure.make_hub("orders")
    azure.connect_hub("shop", "orders", event_hub=hub)
    azure.publish(1, "orders")
    azure.relay(RELAY_CREDENTIALS_HUB_CONNECTION_STRING=ELSEWHERE)
    variable = "RELAY_CREDENTIALS_HUB_CONNECTION_STRING"
    azure.waits_for("shop", "hub is no connection string of localhost", variable)


def test_a_hub_that_is_missing_is_told_and_not_made(azure: EventHubsStage) -> None:
    name = f"{azure.topic_prefix}orders"
    azure.allow(name, SEND)
    azure.connect_hub("shop", "orders", event_hub=name)
    azure.publish(10, "orders")
    azure.relay()
    a_channel_waits(azure, "UNKNOWN_TOPIC_OR_PART", f"event hub {name} is not in the namespace")
    assert name not in AdminClient(azure.client()).list_topics(timeout=10).topics
    assert azure.dead_letters() == []
    azure.make_hub("orders")
    azure.arrived_beyond("orders", name)


@pytest.mark.parametrize("rights", [[AclOperation.DESCRIBE], []])
def test_a_policy_that_may_not_send_to_a_hub_is_told(
    azure: EventHubsStage, rights: list[AclOperation]
) -> None:
    azure.make_hub("others")
    hub = azure.make_hub("orders", rights)
    azure.connect_hub("shop", "orders", event_hub=hub)
    azure.publish(10, "orders")
    azure.relay()
    a_channel_waits(azure, "TOPIC_AUTHORIZATION_FAILED", f"may not send to event hub {hub}", "Send")
    assert azure.dead_letters() == []
    azure.allow(hub, SEND)
    azure.arrived_beyond("orders", hub)


def test_a_policy_that_may_not_send_at_all_is_told(azure: EventHubsStage) -> None:
    hub = azure.make_hub("orders", [AclOperation.DESCRIBE])
    azure.connect_hub("shop", "orders", event_hub=hub)
    azure.publish(10, "orders")
    azure.relay()
    azure.waits_for("shop", "CLUSTER_AUTHORIZATION_FAILED", "may send to no event hub", "Send")
    assert azure.dead_letters() == []
    azure.allow(hub, SEND)
    azure.arrived_beyond("orders", hub)


def test_after_a_connection_was_closed_for_idleness_the_next_message_arrives(
    azure: EventHubsStage,
) -> None:
    hub = azure.make_hub("orders")
    azure.connect_hub("shop", "orders", event_hub=hub)
    azure.relay()
    azure.publish(10, "orders", group="before")
    azure.arrived_beyond("orders", hub)
    before = azure.connections()
    assert len(before) > 1

    def closed() -> None:
        # By one the client asks how the cluster is, whenever it loses another.
        assert len(before & azure.connections()) <= 1

    eventually(closed, 20)
    azure.publish(10, "orders", group="after")
    azure.arrived_beyond("orders", hub, once=True)
    assert azure.dead_letters() == []


# Of one transaction, each of a group of its own.
TOGETHER = 20


@contextmanager
def publishing(azure: EventHubsStage, messages: int, groups: int) -> Iterator[None]:
    """Commits so many in small transactions, while the test goes on; waits for the end."""

    pause = threading.Event()

    def publish() -> None:
        for number in range(messages // TOGETHER):
            group = f"{number % (groups // TOGETHER)}."
            azure.publish(TOGETHER, "orders", groups=TOGETHER, group=group)
            pause.wait(0.01)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def arrive_in_spite_of_kills(
    azure: EventHubsStage, messages: int, groups: int, rounds: int
) -> Reckoning:
    """In each round the broker or the relay is killed while messages go."""
    hub = azure.make_hub("orders")
    azure.connect_hub("shop", "orders", event_hub=hub)
    for number in range(rounds):
        relay = azure.relay(RELAY_NAME=f"relay-{number}")
        azure.publish(1, "orders")
        azure.arrived_beyond("orders", hub)
        with publishing(azure, messages // rounds, groups):
            azure.moved_on(2)
            if number % 2:
                azure.other.kill()
                azure.other.restart()
            else:
                relay.kill()
        relay.kill()
    azure.relay(RELAY_NAME="last")
    reckoning = azure.arrived_beyond("orders", hub, timeout_seconds=120)
    assert azure.dead_letters() == []
    return reckoning


def test_groups_stay_in_order_through_kills_of_relay_and_broker(azure: EventHubsStage) -> None:
    arrive_in_spite_of_kills(azure, 2000, 100, 2)


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_twenty_thousand_messages_of_five_hundred_groups_outlive_kills(
    azure: EventHubsStage,
) -> None:
    reckoning = arrive_in_spite_of_kills(azure, 20_000, 500, 10)
    ((messages, groups),) = azure.query(
        "select count(*), count(distinct group_key) from outbox.message"
    )
    assert messages == 20_010
    assert groups >= 500
    print(f"{reckoning.repeats} came again")


NAMESPACE = '{"namespace": "shop-events", "credentials": "hub"}'


def row(number: int) -> Row:
    key = b"key %d" % number
    return number, b"orders", b"test.event", b"g", key, None, b"application/json", b"{}", 0, None, 0


def test_throttling_is_told_as_what_it_is_and_no_message_is_to_blame() -> None:
    """Event Hubs say so where a request would have waited too long; no real Kafka does."""
    takers = [SinkSettings(cluster=NAMESPACE, topic="orders")]
    rules = other_cluster.rules(NAMESPACE)
    with MockCluster() as cluster:
        cluster.create_topic("orders", partitions=1)
        properties = {**DEFAULTS, "bootstrap.servers": cluster.bootstrap_servers}
        reports = Reports(20.0, threading.Event(), Heartbeat(), rules)
        wire = Producers(properties, reports, rules)
        made = Destinations(wire, properties, "", "outbox.cursors", rules)
        sink = KafkaSink(wire, made, "/outbox", rules, compressing=False)
        pages = [Page([row(1), row(2)], [0])]
        cluster.fail_produce_requests([KafkaError.POLICY_VIOLATION])
        # A first run looks the hub up, and one after a fault again.
        sink.deliver(pages, takers)
        with pytest.raises(SinkAway, match=r"^POLICY_VIOLATION: the namespace is throttled"):
            sink.deliver(pages, takers)
        sink.deliver(pages, takers)
        (outcome,) = sink.deliver(pages, takers)
        assert (outcome.messages, outcome.dead) == (2, [])
        sink.close()
