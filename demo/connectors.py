"""The connectors of the demo: inventory's messages to another Kafka and to a FIFO queue."""

import json
from typing import Any

from demo.consumers import inventory
from demo.places import Places
from local.elasticmq import REGION

WAREHOUSE, PURCHASING = "warehouse", "purchasing"
# Where each leads, for who looks.
CONNECTORS = {WAREHOUSE: "another Kafka", PURCHASING: "a FIFO queue"}
CREDENTIAL = "local"
# After a batch whose outcome died with its relay a message goes again once this is over.
TIMEOUT_SECONDS = 3


def additions(places: Places) -> list[list[str]]:
    """What `outbox-relay connectors` is told to make them."""
    kafka = {"brokers": places.other_bootstrap_servers, "topic": places.other_topic}
    queue = {
        "queue_url": places.queue.url,
        "region": REGION,
        "credentials": CREDENTIAL,
        "timeout_seconds": TIMEOUT_SECONDS,
    }
    return [
        [*_addition(WAREHOUSE, "kafka", kafka), "--exactly-once"],
        _addition(PURCHASING, "sqs", queue),
    ]


def _addition(name: str, kind: str, config: dict[str, Any]) -> list[str]:
    words = ["add", name, "--channel", inventory.CHANNEL, "--type", kind]
    return [*words, "--config", json.dumps(config)]


def permission(places: Places) -> dict[str, str]:
    """What lets a relay go there: both are on this machine, where it else goes nowhere."""
    account, _, _ = places.queue.url.removeprefix("http://").rpartition("/")
    name = f"RELAY_CREDENTIALS_{CREDENTIAL.upper()}"
    return {
        "RELAY_ALLOW_HOSTS": f"{places.other_bootstrap_servers},{account}",
        f"{name}_USERNAME": CREDENTIAL,
        f"{name}_PASSWORD": CREDENTIAL,
    }
