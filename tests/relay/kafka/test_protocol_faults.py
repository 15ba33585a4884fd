"""Faults of the protocol that pass: the messages go on, once and in order."""

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from tests.conftest import Spawn
from tests.eventually import eventually
from tests.mock_cluster import (
    ADD_PARTITIONS_API_KEY,
    DISCONNECT,
    PRODUCE_API_KEY,
    MockCluster,
)
from tests.relay.stage import Stage

pytestmark = pytest.mark.long


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


@pytest.mark.parametrize(
    "fault",
    [
        *("disconnect", "all-of-them"),
        # Each of these is one of all of them.
        *(
            pytest.param(fault, marks=pytest.mark.nightly)
            for fault in ("not-leader", "timed-out", "not-enough-replicas")
        ),
    ],
)
def test_a_fault_that_passes_is_waited_out_and_each_message_arrives_in_order(
    stage: Stage, cluster: MockCluster, fault: str
) -> None:
    stage.relay()
    stage.publish(200, "orders")
    stage.all_arrived("orders")
    cluster.fail_produce_requests(PASSING[fault])
    stage.publish(2_000, "orders")
    (reckoning,) = stage.all_arrived("orders")
    # A real broker knows a batch that comes again by its numbers. This one takes it twice, where it
    # had it and cut the wire, at the request behind it, before the answer was out.
    assert reckoning.repeats == 0 or DISCONNECT in PASSING[fault]
    assert stage.dead_letters() == []


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_batch_that_a_partition_refused_is_there_before_the_batch_behind_it(
    stage: Stage, cluster: MockCluster, topic_prefix: str, delivery: str
) -> None:
    """Batches of so few messages are not held back by librdkafka's own bound for a partition, and a
    broker that knows nothing of a producer takes a second batch without the first."""
    cluster.create_topic(topic_prefix + "large", partitions=1)
    cluster.create_topic(topic_prefix + "outbox.cursors", partitions=1)
    stage = stage.exactly_once()
    stage.deliver(delivery)
    stage.relay()
    stage.publish(200, "orders")
    stage.all_arrived("orders")
    cluster.delay_answers(200)
    cluster.fail_produce_requests([KafkaError.NOT_LEADER_FOR_PARTITION])
    stage.publish(12, "large", size=300_000)
    stage.all_arrived("large", timeout_seconds=60)


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


WAITING = "select waiting_reason from outbox.cursor where waiting_since is not null"
# Delivery, request, error: said of a partition's messages, or when a transaction takes it on.
REFUSALS = [
    ("at_least_once", PRODUCE_API_KEY, "TOPIC_AUTHORIZATION_FAILED"),
    ("exactly_once", PRODUCE_API_KEY, "TOPIC_AUTHORIZATION_FAILED"),
    ("exactly_once", ADD_PARTITIONS_API_KEY, "TOPIC_AUTHORIZATION_FAILED"),
    # A clock that is off.
    ("at_least_once", PRODUCE_API_KEY, "INVALID_TIMESTAMP"),
    ("exactly_once", PRODUCE_API_KEY, "INVALID_TIMESTAMP"),
]


@pytest.mark.parametrize(("delivery", "api_key", "error"), REFUSALS)
def test_a_topic_that_refuses_what_it_seemed_to_allow_makes_its_channel_wait_alone(
    stage: Stage, cluster: MockCluster, topic_prefix: str, delivery: str, api_key: int, error: str
) -> None:
    """This cluster does not tell what its clients may do."""
    cluster.create_topic(topic_prefix + "forbidden", partitions=1)
    cluster.create_topic(topic_prefix + "outbox.cursors", partitions=1)
    stage = stage.exactly_once()
    stage.deliver(delivery)
    relay = stage.relay()
    stage.publish(1, "orders")
    stage.all_arrived("orders")
    cluster.fail_requests(api_key, [getattr(KafkaError, error)])
    stage.publish(10, "forbidden")

    def waits() -> None:
        assert [reason.split(":")[0] for (reason,) in stage.query(WAITING)] == [error]

    eventually(waits, 30)
    stage.publish(10, "orders")
    eventually(lambda: stage.reckoning("orders").demand_all_in_order(), 30)
    assert stage.dead_letters() == []
    assert "session_failed" not in relay.output()
    stage.all_arrived("orders", "forbidden")
