"""Servers of `python -m local --with …`, which connectors can lead to."""

import json
import shlex
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException

from local.elasticmq import ACCOUNT, REGION, ElasticMQ
from local.kafka import Kafka
from local.pubsub import PROJECT, PubSub
from local.server import Server

QUEUE = "orders.fifo"
TOPIC = "shop.orders"
PUBSUB_TOPIC = "orders"


class Besides(NamedTuple):
    """A server, what RELAY_ALLOW_HOSTS has to name for it, what else the relay needs, and words."""

    server: Server
    allowed: str
    environment: Mapping[str, str]
    words: str


def _start_sqs(directory: Path, exit_stack: ExitStack) -> Besides:
    """ElasticMQ with one queue."""
    server = exit_stack.enter_context(ElasticMQ.start(directory / "elasticmq.log"))
    url = server.create_queue(QUEUE)
    config = {"queue_url": url, "region": REGION, "credentials": "local"}
    environment = {
        "RELAY_CREDENTIALS_LOCAL_USERNAME": "local",
        "RELAY_CREDENTIALS_LOCAL_PASSWORD": "local",
    }
    words = f"SQS       {url}\n{_connecting('queue', 'sqs', config)}"
    return Besides(server, f"127.0.0.1:{server.port}/{ACCOUNT}", environment, words)


def _start_kafka(directory: Path, exit_stack: ExitStack) -> Besides:
    """A second Kafka with one topic."""
    server = Kafka.start(directory / "kafka-2", quick_start=True)
    exit_stack.enter_context(server)
    try:
        server.create_topic(TOPIC)
    except KafkaException as error:
        # As of a former run over the same data.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    brokers = server.bootstrap_servers
    config = {"brokers": brokers, "topic": TOPIC}
    words = f"Kafka 2   {brokers}          topic {TOPIC}\n"
    return Besides(server, brokers, {}, words + _connecting("warehouse", "kafka", config))


def _start_pubsub(directory: Path, exit_stack: ExitStack) -> Besides:
    """A server in place of Pub/Sub, with one topic and a subscription to it."""
    server = exit_stack.enter_context(PubSub.start(directory))
    name = server.create_topic(PUBSUB_TOPIC)
    server.subscribe(PUBSUB_TOPIC)
    config = {"project": PROJECT, "topic": PUBSUB_TOPIC, "endpoint": server.endpoint}
    words = f"Pub/Sub   {server.endpoint}/{name}\n{_connecting('topic', 'pubsub', config)}"
    return Besides(server, f"127.0.0.1:{server.port}/projects/{PROJECT}", {}, words)


def _connecting(name: str, kind: str, config: Mapping[str, str]) -> str:
    return f"""Connect a channel to it:
  outbox-relay connectors add {name} --channel orders.lifecycle --type {kind} \\
      --config {shlex.quote(json.dumps(config))}"""


# Each raises local.server.StartError, that of Kafka confluent_kafka.KafkaException too.
STARTS: Mapping[str, Callable[[Path, ExitStack], Besides]] = {
    "sqs": _start_sqs,
    "kafka-2": _start_kafka,
    "pubsub": _start_pubsub,
}


def names(text: str) -> list[str]:
    """`sqs,kafka-2`. Raises ValueError."""
    found = list(dict.fromkeys(text.split(",")))
    if not STARTS.keys() >= set(found):
        raise ValueError(f"{text} names others than {', '.join(STARTS)}")
    return found
