"""Connectors: channels to another Kafka and to a FIFO queue, and a channel from a topic there."""

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from local.elasticmq import ACCOUNT, REGION
from local.kafka import Kafka
from tests.chaos.queue import Queue

# Their names, and the topics in the other Kafka.
BEYOND, FIFO, INWARD = "beyond", "fifo", "inward"
BEYOND_TOPIC, SOURCE = "chaos.beyond", "chaos.source"
CREDENTIAL = "chaos"

CONNECT = """
select outbox.connect(%s, %s, %s, %s, shards => %s, delivery => %s)
"""
CONNECT_IN = "select outbox.connect_in(%s, %s, 'kafka', %s)"


def connect(
    connection: psycopg.Connection[Any],
    kafka: Kafka,
    queue: Queue,
    *,
    to_kafka: str,
    to_queue: str,
    inward: str,
    shards: int,
) -> None:
    """Of these channels. To the other Kafka exactly once."""
    there = {"brokers": kafka.bootstrap_servers, "topic": BEYOND_TOPIC}
    connection.execute(CONNECT, [BEYOND, to_kafka, "kafka", Jsonb(there), shards, "exactly_once"])
    connection.execute(
        CONNECT, [FIFO, to_queue, "sqs", Jsonb(_settings(queue)), shards, "at_least_once"]
    )
    source = {"brokers": kafka.bootstrap_servers, "topic": SOURCE}
    connection.execute(CONNECT_IN, [INWARD, inward, Jsonb(source)])


def _settings(queue: Queue) -> dict[str, object]:
    """The queue's faults never exhaust a message; the breaker opens where it is down."""
    return {
        "queue_url": queue.address,
        "region": REGION,
        "credentials": CREDENTIAL,
        "timeout_seconds": 2,
        "retry": {"initial_delay_seconds": 0.2, "multiplier": 1, "max_attempts": 100},
        "breaker": {"window_seconds": 10, "cool_down_seconds": 1},
    }


def permission(kafka: Kafka, queue: Queue) -> dict[str, str]:
    """What lets a relay go there."""
    name = f"RELAY_CREDENTIALS_{CREDENTIAL.upper()}"
    return {
        "RELAY_ALLOW_HOSTS": f"{kafka.bootstrap_servers},127.0.0.1:{queue.wire.port}/{ACCOUNT}",
        f"{name}_USERNAME": CREDENTIAL,
        f"{name}_PASSWORD": CREDENTIAL,
    }
