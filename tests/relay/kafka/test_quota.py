"""A broker that holds the relay back, since its quota is used up: everything arrives, slower."""

import json
import subprocess

import pytest

from local.kafka import Kafka
from tests.relay.stage import ExactlyOnceStage

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(300)]

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]

BYTES_A_SECOND = 30_000
# Some 1.5 MB, and more than one batch: sent at once, they are held back for half a minute.
MESSAGES = 2000


def limit(broker: Kafka, client_id: str) -> None:
    """Gives a client a quota for what it produces."""
    tool = [
        *("kafka.admin.ConfigCommand", "--bootstrap-server", broker.bootstrap_servers, "--alter"),
        *("--entity-type", "clients", "--entity-name", client_id),
        *("--add-config", f"producer_byte_rate={BYTES_A_SECOND}"),
    ]
    # Java as the broker's own, without its class and its properties.
    subprocess.run([*broker.command()[:-2], *tool], check=True, timeout=60, capture_output=True)


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_backlog_larger_than_the_quota_gets_through(
    fragile: ExactlyOnceStage, broker: Kafka, topic_prefix: str, delivery: str
) -> None:
    fragile.deliver(delivery)
    fragile.create_topic("orders", partitions=1)
    limit(broker, topic_prefix)
    fragile.publish(MESSAGES, "orders", size=500)
    relay = fragile.relay(KAFKA_CLIENT_ID=topic_prefix)
    (reckoning,) = fragile.all_arrived("orders", timeout_seconds=240)
    # A run that was too long for the quota, and at most a second one.
    assert reckoning.repeats <= 2 * MESSAGES
    if delivery == "exactly_once":
        assert reckoning.repeats == 0
    told = [json.loads(line) for line in relay.output().splitlines()]
    assert "kafka_holds_back" in {line["event"] for line in told}
