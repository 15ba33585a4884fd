"""A real ElasticMQ, a proxy before it that fails on demand, and an empty log."""

from collections.abc import Iterator

import pytest

from local.elasticmq import Queues
from tests.conftest import Spawn
from tests.fault_proxy import FaultProxy
from tests.relay.sources.sqs.stage import InwardQueues


@pytest.fixture
def queues(database_url: str, elasticmq: Queues, spawn: Spawn) -> Iterator[InwardQueues]:
    """No source and no queue yet; nothing goes out."""
    with FaultProxy(elasticmq.port) as proxy:
        yield InwardQueues(database_url, elasticmq, proxy, spawn)
