"""Fixtures of the tests that run real relays on a real Kafka."""

from collections.abc import Iterator

import pytest

from local.kafka import Kafka
from tests.conftest import Spawn
from tests.relay.stage import Stage

# Who may do what is asked only where a test forbids something.
ACCESS_CONTROL = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


@pytest.fixture
def stage(database_url: str, kafka: str, topic_prefix: str, spawn: Spawn) -> Stage:
    """On the Kafka that all tests share: nobody breaks it."""
    return Stage(database_url, kafka, topic_prefix, spawn)


@pytest.fixture(scope="session")
def kafka_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker that only the tests of this process use."""
    # A busy machine must not make it lose its registration, and a restart waits for the former one.
    settings = {"broker.session.timeout.ms": "4000", **ACCESS_CONTROL}
    directory = tmp_path_factory.mktemp("kafka") / "data"
    with Kafka.start(directory, settings=settings) as broker:
        yield broker
        broker.kill()


@pytest.fixture
def broker(kafka_of_its_own: Kafka) -> Iterator[Kafka]:
    """A broker to freeze, kill and restart; it is whole again after the test."""
    yield kafka_of_its_own
    if kafka_of_its_own.running:
        kafka_of_its_own.resume()
    else:
        kafka_of_its_own.restart()


@pytest.fixture
def fragile_stage(database_url: str, broker: Kafka, topic_prefix: str, spawn: Spawn) -> Stage:
    """On a broker that may be broken."""
    return Stage(database_url, broker.bootstrap_servers, topic_prefix, spawn)
