"""Fixtures of the tests of inward connectors."""

import pytest

from tests.conftest import Spawn
from tests.relay.sources.inward_stage import InwardStage


@pytest.fixture
def inward(database_url: str, kafka: str, topic_prefix: str, spawn: Spawn) -> InwardStage:
    """A database of the test's own, beside a real Kafka; nothing goes out."""
    return InwardStage(database_url, kafka, topic_prefix, spawn)
