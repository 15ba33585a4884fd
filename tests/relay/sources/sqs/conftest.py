"""A real ElasticMQ, a proxy before it that fails on demand, and an empty log."""

from collections.abc import Iterator

import pytest

from local.elasticmq import ElasticMQ
from tests.conftest import Spawn
from tests.fault_proxy import FaultProxy
from tests.relay.sources.sqs.stage import InwardQueues


@pytest.fixture(scope="session")
def elasticmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ElasticMQ]:
    """One for the tests of this process."""
    with ElasticMQ.start(tmp_path_factory.mktemp("elasticmq") / "log") as server:
        yield server


@pytest.fixture
def queues(database_url: str, elasticmq: ElasticMQ, spawn: Spawn) -> Iterator[InwardQueues]:
    """No source and no queue yet; nothing goes out."""
    with FaultProxy(elasticmq.port) as proxy:
        yield InwardQueues(database_url, elasticmq, proxy, spawn)
