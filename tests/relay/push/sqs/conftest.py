"""A real ElasticMQ, a proxy before it that fails on demand, and the log."""

from collections.abc import Iterator

import pytest

from local.elasticmq import Queues
from tests.fault_proxy import FaultProxy
from tests.relay.push.sqs.stage import QueueStage
from tests.relay.push.stage import PushRelay, PushStage


@pytest.fixture
def queues(stage: PushStage, elasticmq: Queues) -> Iterator[QueueStage]:
    """No subscription and no queue yet."""
    with FaultProxy(elasticmq.port) as proxy:
        yield QueueStage(stage, elasticmq, proxy)


@pytest.fixture
def relay(queues: QueueStage) -> Iterator[PushRelay]:
    """One relay that may send to each queue here."""
    with PushRelay(queues.database_url, **queues.environment) as relay:
        yield relay
