"""What Kafka may say in the middle of a transaction, and what becomes of its producer."""

import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from relay.kafka.exactly_once.transactions import CURSORS, Transactions
from relay.kafka.reports import Refused, Reports
from relay.kafka.routes import BATCH_BYTES, Route
from relay.kafka.topic import Topic
from relay.kafka.topic_names import TopicNames
from relay.log.sink import SinkAway
from relay.process.heartbeat import Heartbeat
from tests.mock_cluster import PRODUCE_API_KEY, MockCluster

# https://kafka.apache.org/protocol#protocol_api_keys
ADD_OFFSETS_TO_TXN, END_TXN = 25, 26
TOKEN = 7


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        cluster.create_topic(CURSORS, partitions=1)
        cluster.create_topic("orders", partitions=1)
        yield cluster


@pytest.fixture
def transactions(cluster: MockCluster) -> Iterator[Transactions]:
    """The owner of one cursor, at a checkpoint with TOKEN."""
    properties = {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 2}
    transactions = Transactions(properties, Reports(5.0, threading.Event(), Heartbeat()), "")
    transactions.fence("cursor")
    transactions.own(TOKEN)
    yield transactions
    transactions.close()


def deliver(transactions: Transactions) -> None:
    transactions.begin()
    producer = transactions.get(BATCH_BYTES)
    assert producer is not None
    producer.produce("orders", b"message")
    transactions.barrier()


def test_an_error_that_only_aborts_leaves_the_producer_to_go_on(
    cluster: MockCluster, transactions: Transactions
) -> None:
    deliver(transactions)
    cluster.fail_requests(ADD_OFFSETS_TO_TXN, [KafkaError.GROUP_AUTHORIZATION_FAILED])
    with pytest.raises(SinkAway, match="GROUP_AUTHORIZATION_FAILED"):
        transactions.commit("note")
    assert transactions.take("cursor", TOKEN)
    deliver(transactions)
    transactions.commit("note")


def test_a_fatal_error_ends_the_producer(cluster: MockCluster, transactions: Transactions) -> None:
    deliver(transactions)
    cluster.fail_requests(ADD_OFFSETS_TO_TXN, [KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED])
    with pytest.raises(SinkAway, match="TRANSACTIONAL_ID_AUTHORIZATION_FAILED"):
        transactions.commit("note")
    assert not transactions.take("cursor", TOKEN)
    transactions.fence("cursor")
    deliver(transactions)
    transactions.commit("note")


def test_a_commit_in_doubt_is_left_to_the_next_fence(
    cluster: MockCluster, transactions: Transactions
) -> None:
    deliver(transactions)
    cluster.fail_requests(END_TXN, [KafkaError.INVALID_TXN_STATE])
    with pytest.raises(SinkAway):
        transactions.commit("note")
    assert not transactions.held
    assert not transactions.take("cursor", TOKEN)


def test_an_error_that_passes_is_waited_for(
    cluster: MockCluster, transactions: Transactions
) -> None:
    deliver(transactions)
    cluster.fail_requests(END_TXN, [KafkaError.COORDINATOR_LOAD_IN_PROGRESS] * 2)
    transactions.commit("note")
    transactions.own(TOKEN + 1)
    assert transactions.take("cursor", TOKEN + 1)


def test_a_message_that_is_refused_alone_costs_no_other_owner_what_it_knows_of_topics(
    cluster: MockCluster, transactions: Transactions
) -> None:
    producer = transactions.get(BATCH_BYTES)
    assert producer is not None
    topic = Topic("orders", BATCH_BYTES, compacted=False)
    known = Route(topic, BATCH_BYTES, BATCH_BYTES, producer, producer.produce)
    transactions.routes(TopicNames())[b"orders"] = known
    transactions.fence("other")
    transactions.own(TOKEN)
    cluster.fail_requests(PRODUCE_API_KEY, [KafkaError.MSG_SIZE_TOO_LARGE])
    with pytest.raises(Refused):
        deliver(transactions)
    ((error, _),) = transactions.end_after_refusal(alone=True)
    assert error.name() == "MSG_SIZE_TOO_LARGE"
    assert transactions.take("cursor", TOKEN)
    assert transactions.routes(TopicNames()) == {b"orders": known}
