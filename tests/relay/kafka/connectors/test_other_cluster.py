"""Connectors of type kafka: messages go to another cluster than the environment's."""

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from psycopg.types.json import Jsonb

from local import kafka as local_kafka
from local.server import free_port
from tests.eventually import eventually
from tests.receiver import Receiver
from tests.relay.connector_stage import PASSWORD, USER, ConnectorStage
from tests.relay.writers import writing
from tests.topic_reader import read_topic

pytest_plugins = ["tests.relay.connector_fixtures"]


def topics(bootstrap_servers: str) -> set[str]:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    return set(admin.list_topics(timeout=10).topics)


GUARDED = {"security": "sasl_plaintext", "sasl_mechanism": "PLAIN", "credentials": "ware-house"}
KNOWN = {
    "RELAY_CREDENTIALS_WARE_HOUSE_USERNAME": USER,
    "RELAY_CREDENTIALS_WARE_HOUSE_PASSWORD": PASSWORD,
    "RELAY_CREDENTIALS_WARE_HOUSE_SECURITY": "sasl_plaintext",
}
# With the second cluster frozen, from a commit to its arrival in the first one and at an endpoint.
MAX_SECONDS = 5.0


@pytest.mark.long
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_messages_arrive_in_the_other_cluster_in_order(
    bridge: ConnectorStage, delivery: str
) -> None:
    bridge.create_topic("orders")
    topic = bridge.connect("warehouse", "orders", delivery=delivery)
    bridge.publish(500, "orders")
    assert bridge.relay("--once").wait(60) == 0
    bridge.arrived_beyond("orders", topic, once=True)
    bridge.all_arrived("orders")
    # The cursors of what is exactly once are in the cluster that the messages are in.
    cursors = [
        "outbox.cursors" in topics(bridge.other.bootstrap_servers),
        f"{bridge.topic_prefix}outbox.cursors" in topics(bridge.bootstrap_servers),
    ]
    assert delivery == "at_least_once" or cursors == [True, False]


@pytest.mark.long
def test_without_a_topic_of_its_own_it_goes_to_that_of_the_channels_name(
    bridge: ConnectorStage,
) -> None:
    """RELAY_TOPIC_PREFIX is for the environment's cluster alone."""
    bridge.without_the_first()
    channel = f"{bridge.topic_prefix}orders"
    brokers = bridge.other.bootstrap_servers
    local_kafka.create_topic(brokers, channel)
    bridge.execute(
        "select outbox.connect('warehouse', %s, 'kafka', %s)", channel, Jsonb({"brokers": brokers})
    )
    bridge.publish(20, channel)
    assert bridge.relay("--once").wait(60) == 0
    bridge.arrived_beyond(channel, channel, once=True)


@pytest.mark.long
def test_a_relay_of_connectors_alone_needs_no_kafka_in_its_environment(
    bridge: ConnectorStage,
) -> None:
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders")
    bridge.publish(20, "orders")
    environment = bridge.environment()
    del environment["KAFKA_BOOTSTRAP_SERVERS"]
    relay = bridge._spawn("outbox-relay", "run", "--once", environment=environment)
    assert relay.wait(60) == 0
    bridge.arrived_beyond("orders", topic)


@pytest.mark.long
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_killed_relays_work_is_taken_over(bridge: ConnectorStage, delivery: str) -> None:
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders", delivery=delivery)
    with writing(bridge.database_url, "orders", seed=14):
        for name in ("a", "b", "c"):
            relay = bridge.relay(RELAY_NAME=name)
            bridge.moved_on(10)
            relay.kill()
        bridge.relay(RELAY_NAME="d")
        bridge.moved_on(10)
    bridge.arrived_beyond("orders", topic, once=delivery == "exactly_once")


@pytest.mark.long
def test_a_cluster_that_is_down_delays_neither_the_first_nor_an_endpoint(
    bridge: ConnectorStage,
) -> None:
    """Connectors of one cluster share their runs, and with nobody else."""
    bridge.create_topic("orders")
    bridge.create_topic("audit.orders")
    bridge.execute(
        "insert into outbox.subscription (name, settings) values ('audit', %s)",
        Jsonb({"topic_prefix": "audit."}),
    )
    beyond = [bridge.connect(f"warehouse-{n}", "orders") for n in range(2)]
    with Receiver() as receiver:
        bridge.execute("select outbox.subscribe('shop', 'orders', %s)", receiver.url)
        bridge.relay(
            RELAY_ALLOW_NETWORKS="127.0.0.0/8", RELAY_BARRIER_SECONDS="3", RELAY_NAME="one"
        )
        bridge.publish(10, "orders")
        for topic in beyond:
            bridge.arrived_beyond("orders", topic)
        bridge.other.pause()
        # Their runs stand by now: all that follows meets a cluster that hangs.
        bridge.publish(10, "orders")
        for n in range(2):
            bridge.waits_for(f"warehouse-{n}", "relay one")
        began_at = time.monotonic()
        for n in range(3, 8):
            bridge.publish(10, "orders")
            receiver.wait(n * 10, MAX_SECONDS)
            for channel in ("orders", "audit.orders"):

                def there(channel: str = channel, n: int = n) -> None:
                    assert len(bridge.arrivals(channel)) >= n * 10

                eventually(there, MAX_SECONDS)
        assert time.monotonic() - began_at < 5 * MAX_SECONDS
        bridge.other.resume()
        for topic in beyond:
            bridge.arrived_beyond("orders", topic, timeout_seconds=60)


def test_a_change_of_brokers_is_followed(bridge: ConnectorStage) -> None:
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders")
    bridge.relay()
    bridge.publish(10, "orders")
    bridge.arrived_beyond("orders", topic)
    local_kafka.create_topic(bridge.bootstrap_servers, topic)
    bridge.execute(
        "update outbox.subscription set settings = settings || %s where name = 'warehouse'",
        Jsonb({"brokers": bridge.bootstrap_servers}),
    )
    bridge.publish(10, "orders", group="later")

    def there() -> None:
        assert len(read_topic(bridge.bootstrap_servers, topic)) == 10

    eventually(there, 30)
    assert len(bridge.beyond(topic)) == 10


@pytest.mark.long
@pytest.mark.parametrize(
    "delivery", ["at_least_once", pytest.param("exactly_once", marks=pytest.mark.nightly)]
)
def test_brokers_that_never_answered_are_corrected_while_the_relay_runs(
    bridge: ConnectorStage, delivery: str
) -> None:
    """Alone, and with another connector that still leads to the cluster that is not there."""
    bridge.without_the_first()
    away = {"brokers": f"127.0.0.1:{free_port()}"}
    topic = bridge.connect("warehouse", "orders", away, delivery=delivery)
    bridge.connect("other", "orders", away, delivery=delivery)
    bridge.publish(10, "orders")
    bridge.relay(RELAY_BARRIER_SECONDS="2")
    for name in ("warehouse", "other"):
        bridge.waits_for(name, away["brokers"])
    bridge.execute(
        "update outbox.subscription set settings = settings || %s where name = 'warehouse'",
        Jsonb({"brokers": bridge.other.bootstrap_servers}),
    )

    def there() -> None:
        assert len(bridge.beyond(topic)) == 10
        reasons = bridge.query(
            "select name from outbox.subscription where waiting_reason is not null"
        )
        assert reasons == [("other",)]

    eventually(there, 30)


def test_credentials_are_found_in_the_environment(bridge: ConnectorStage) -> None:
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders", {"brokers": bridge.guarded, **GUARDED})
    bridge.publish(10, "orders")
    relay = bridge.relay(**KNOWN)
    bridge.arrived_beyond("orders", topic)
    assert PASSWORD not in relay.log.read_text()


@pytest.mark.long
def test_what_a_file_of_a_credential_holds_now_counts(
    bridge: ConnectorStage, tmp_path: Path
) -> None:
    """A wrong password is told and never shown; with the right one it goes on by itself."""
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders", {"brokers": bridge.guarded, **GUARDED})
    bridge.publish(10, "orders")
    folder = tmp_path / "credentials" / "ware-house"
    folder.mkdir(parents=True)
    (folder / "security").write_text("sasl_plaintext\n")
    relay = bridge.relay(RELAY_CREDENTIALS_DIRECTORY=str(folder.parent), RELAY_BARRIER_SECONDS="2")
    bridge.waits_for("warehouse", "credential ware-house has no username")
    (folder / "username").write_text(f"{USER}\n")
    (folder / "password").write_text("an old word\n")
    bridge.waits_for("warehouse", "_AUTHENTICATION")
    (folder / "password").write_text(f"{PASSWORD}\n")
    bridge.arrived_beyond("orders", topic)
    for secret in ("an old word", PASSWORD):
        assert secret not in relay.log.read_text()


def test_a_credential_goes_in_clear_text_only_where_the_operator_says_so(
    bridge: ConnectorStage,
) -> None:
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders", {"brokers": bridge.guarded, **GUARDED})
    bridge.publish(10, "orders")
    settings = {**KNOWN, "RELAY_CREDENTIALS_WARE_HOUSE_SECURITY": ""}
    relay = bridge.relay(**settings)
    bridge.waits_for(
        "warehouse",
        "credential ware-house may not go by security sasl_plaintext",
        "RELAY_CREDENTIALS_WARE_HOUSE_SECURITY=sasl_plaintext",
    )
    assert "warehouse" in relay.log.read_text()
    assert bridge.beyond(topic) == []
    relay.kill()
    bridge.relay(**KNOWN)
    bridge.arrived_beyond("orders", topic)


def test_a_credential_goes_to_no_host_but_its_own(bridge: ConnectorStage) -> None:
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders", {"brokers": bridge.guarded, **GUARDED})
    bridge.publish(10, "orders")
    relay = bridge.relay(**KNOWN, RELAY_CREDENTIALS_WARE_HOUSE_HOSTS="localhost")
    bridge.waits_for("warehouse", f"{bridge.guarded}: credential ware-house may not go there")
    assert bridge.beyond(topic) == []
    relay.kill()
    # What is named for the credential alone is enough.
    hosts = {"RELAY_CREDENTIALS_WARE_HOUSE_HOSTS": bridge.guarded, "RELAY_ALLOW_HOSTS": ""}
    bridge.relay(**KNOWN, **hosts)
    bridge.arrived_beyond("orders", topic)


@pytest.mark.parametrize(
    ("hosts", "denied"), [("", ""), ("127.0.0.1:1", ""), ("127.0.0.0/8", "127.0.0.0/24")]
)
def test_a_host_that_the_operator_does_not_allow_is_not_dialled(
    bridge: ConnectorStage, hosts: str, denied: str
) -> None:
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders")
    bridge.publish(10, "orders")
    bridge.relay(RELAY_ALLOW_HOSTS=hosts, RELAY_DENY_NETWORKS=denied)
    setting = "RELAY_DENY_NETWORKS" if denied else "RELAY_ALLOW_HOSTS"
    bridge.waits_for("warehouse", bridge.other.bootstrap_servers, setting)
    assert bridge.beyond(topic) == []


@pytest.mark.long
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_certificate_of_a_credential_opens_a_cluster_with_tls(
    bridge: ConnectorStage, delivery: str
) -> None:
    bridge.without_the_first()
    config = {"brokers": bridge.secure, "security": "ssl", "credentials": "tls"}
    topic = bridge.connect("warehouse", "orders", config, delivery=delivery)
    bridge.publish(10, "orders")
    own = bridge.authority.issue_cert("relay.example.com")
    settings = {
        "RELAY_CREDENTIALS_TLS_CA": bridge.authority.cert_pem.bytes().decode(),
        "RELAY_CREDENTIALS_TLS_CERTIFICATE": own.cert_chain_pems[0].bytes().decode(),
        "RELAY_CREDENTIALS_TLS_KEY": own.private_key_pem.bytes().decode(),
    }
    relay = bridge.relay(**settings)
    bridge.arrived_beyond("orders", topic, once=True)
    assert "PRIVATE KEY" not in relay.log.read_text()


@pytest.mark.long
def test_a_cluster_whose_certificate_is_of_no_known_authority_gets_nothing(
    bridge: ConnectorStage,
) -> None:
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders", {"brokers": bridge.secure, "security": "ssl"})
    bridge.publish(10, "orders")
    bridge.relay()
    bridge.waits_for("warehouse", "certificate")
    assert bridge.beyond(topic) == []


def test_a_certificate_that_is_none_is_the_connectors_fault_and_the_others_go(
    bridge: ConnectorStage,
) -> None:
    bridge.create_topic("orders")
    bridge.connect("warehouse", "orders", {"security": "ssl", "credentials": "tls"})
    bridge.publish(10, "orders")
    relay = bridge.relay(RELAY_CREDENTIALS_TLS_CA="no certificate")
    bridge.waits_for("warehouse", "ssl.ca.pem")

    def there() -> None:
        assert len(bridge.arrivals("orders")) == 10

    eventually(there, 30)
    assert relay.running


SEND_TEST = "select outbox.send_test(id) from outbox.subscription where name = %s"


@pytest.mark.long
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize("named", [True, False])
def test_a_test_message_goes_to_the_connectors_topic_and_nowhere_else(
    bridge: ConnectorStage, delivery: str, named: bool
) -> None:
    """Also where the topic is that of the channel's name."""
    brokers, channel = bridge.other.bootstrap_servers, f"{bridge.topic_prefix}orders"
    other = bridge.connect("other", channel)
    topic = f"{bridge.topic_prefix}warehouse" if named else channel
    local_kafka.create_topic(brokers, topic)
    config = {"brokers": brokers, **({"topic": topic} if named else {})}
    bridge.execute(
        "select outbox.connect('warehouse', %s, 'kafka', %s, delivery => %s)",
        channel,
        Jsonb(config),
        delivery,
    )
    bridge.execute(SEND_TEST, "warehouse")
    assert bridge.relay("--once").wait(60) == 0
    (arrival,) = bridge.beyond(topic)
    assert dict(arrival.headers)["ce_type"] == b"outbox.test"
    assert bridge.beyond(other) == []
    assert "outbox.test" not in topics(brokers)
    assert bridge.query("select reason, delivered_at is null from outbox.dead_letter") == [
        ("test", False)
    ]
