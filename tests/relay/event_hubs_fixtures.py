"""Fixtures of the tests of Event Hubs."""

from collections.abc import Iterator

import pytest

from tests.conftest import Spawn
from tests.relay.connector_stage import OtherKafka
from tests.relay.event_hubs_stage import EventHubsStage, namespace


@pytest.fixture(scope="session")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherKafka]:
    """A namespace that only the tests of this process use."""
    with namespace(tmp_path_factory.mktemp("event-hubs") / "data") as found:
        yield found


@pytest.fixture
def azure(
    database_url: str, kafka: str, topic_prefix: str, spawn: Spawn, hubs: OtherKafka
) -> Iterator[EventHubsStage]:
    """With a namespace that may be broken, and is whole again after the test."""
    stage = EventHubsStage(database_url, kafka, topic_prefix, spawn, hubs)
    yield stage
    if not hubs.broker.running:
        hubs.broker.restart()
    stage.forbid_all()
