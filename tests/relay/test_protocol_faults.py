"""Faults of the protocol that pass: the messages go on, once and in order."""

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from tests.conftest import Spawn
from tests.mock_cluster import DISCONNECT, MockCluster
from tests.relay.stage import Stage


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        yield cluster


@pytest.fixture
def stage(database_url: str, cluster: MockCluster, topic_prefix: str, spawn: Spawn) -> Stage:
    """On the mock cluster, with one topic."""
    cluster.create_topic(topic_prefix + "orders", partitions=2)
    return Stage(database_url, cluster.bootstrap_servers, topic_prefix, spawn)


PASSING = {
    "not-leader": [KafkaError.NOT_LEADER_FOR_PARTITION] * 3,
    "timed-out": [KafkaError.REQUEST_TIMED_OUT] * 3,
    "not-enough-replicas": [KafkaError.NOT_ENOUGH_REPLICAS] * 3,
    "disconnect": [DISCONNECT] * 2,
    "all-of-them": [
        KafkaError.NOT_LEADER_FOR_PARTITION,
        DISCONNECT,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS,
    ],
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_waited_out_and_each_message_arrives_once_in_order(
    stage: Stage, cluster: MockCluster, fault: str
) -> None:
    stage.relay()
    stage.publish(200, "orders")
    stage.all_arrived("orders")
    cluster.fail_produce_requests(PASSING[fault])
    stage.publish(2_000, "orders")
    (reckoning,) = stage.all_arrived("orders")
    assert reckoning.repeats == 0
    assert stage.dead_letters() == []


def test_no_good_message_dies_when_a_batch_is_refused_as_too_large(
    stage: Stage, cluster: MockCluster
) -> None:
    stage.relay()
    stage.publish(200, "orders")
    stage.all_arrived("orders")
    cluster.fail_produce_requests([KafkaError.MSG_SIZE_TOO_LARGE])
    stage.publish(2_000, "orders")
    stage.all_arrived("orders")
    assert stage.dead_letters() == []
