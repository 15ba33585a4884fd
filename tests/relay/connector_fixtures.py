"""Fixtures of the tests of connectors."""

from collections.abc import Iterator

import pytest
import trustme

from local.kafka import Kafka
from local.server import free_port
from tests.conftest import Spawn
from tests.relay.connector_stage import PASSWORD, USER, ConnectorStage, OtherKafka
from tests.relay.tls_listener import PLAIN, tls

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="session")
def other_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherKafka]:
    """A second cluster that only the tests of this process use."""
    port, guarded, secure, controller = (free_port() for _ in range(4))
    doors = (
        f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller},"
        f"GUARDED://{LOOPBACK}:{guarded},SECURE://localhost:{secure}"
    )
    authority = trustme.CA()
    settings = {
        # A busy machine must not make it lose its registration.
        "broker.session.timeout.ms": "4000",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller}",
        "listeners": doors,
        "advertised.listeners": doors,
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT,SECURE:SSL"
        ),
        "listener.name.guarded.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.guarded.plain.sasl.jaas.config": (
            f'{PLAIN} required user_{USER}="{PASSWORD}";'
        ),
        **tls("secure", authority, asks=True),
    }
    directory = tmp_path_factory.mktemp("kafka-2") / "data"
    with Kafka.start(directory, port=port, settings=settings, quick_start=True) as broker:
        yield OtherKafka(broker, f"{LOOPBACK}:{guarded}", f"localhost:{secure}", authority)
        broker.kill()


@pytest.fixture
def bridge(
    database_url: str, kafka: str, topic_prefix: str, spawn: Spawn, other_kafka: OtherKafka
) -> Iterator[ConnectorStage]:
    """Between two clusters; the second may be broken, and is whole again after the test."""
    yield ConnectorStage(database_url, kafka, topic_prefix, spawn, other_kafka)
    broker = other_kafka.broker
    if broker.running:
        broker.resume()
    else:
        broker.restart()
