"""Fixtures of the exactly-once tests."""

from collections.abc import Iterator

import pytest

from local.kafka import Kafka
from tests.conftest import Spawn
from tests.relay.stage import ExactlyOnceStage
from tests.relay.wires import Wires


@pytest.fixture
def exactly_once(
    database_url: str, kafka: str, topic_prefix: str, spawn: Spawn
) -> ExactlyOnceStage:
    """On the Kafka that all tests share: no test may break it."""
    return ExactlyOnceStage(database_url, kafka, topic_prefix, spawn)


@pytest.fixture
def fragile(database_url: str, broker: Kafka, topic_prefix: str, spawn: Spawn) -> ExactlyOnceStage:
    """On a broker that may be broken."""
    return ExactlyOnceStage(database_url, broker.bootstrap_servers, topic_prefix, spawn)


@pytest.fixture
def watched(wires: Wires) -> Iterator[ExactlyOnceStage]:
    """The stage of `wires`, whose relays may be watched and whose words may be held or cut."""
    yield wires.stage.exactly_once()
    wires.kafka.watch = lambda _: None
    wires.kafka.flow()
