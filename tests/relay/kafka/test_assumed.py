"""What librdkafka only assumes to have arrived counts as not sent."""

import threading

import pytest
from confluent_kafka import KafkaError

from relay.kafka import producers
from relay.kafka.producers import DEFAULTS, Producers
from relay.kafka.reports import Reports
from relay.kafka.routes import BATCH_BYTES
from relay.log.sink import SinkAway
from relay.process.heartbeat import Heartbeat
from tests.mock_cluster import MockCluster

DELAY_MILLISECONDS = 200


def test_a_run_whose_batch_failed_is_given_up_where_librdkafka_counts_it_as_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With more than one request on its way, which the relay does not allow, it is easily shown."""
    in_flight = "max.in.flight.requests.per.connection"
    monkeypatch.setitem(producers.CONSTANTS, in_flight, 5)
    with MockCluster() as cluster:
        cluster.create_topic("orders", partitions=1)
        properties = {**DEFAULTS, "bootstrap.servers": cluster.bootstrap_servers}
        wire = Producers(properties, Reports(20.0, threading.Event(), Heartbeat()))
        producer = wire.get(BATCH_BYTES)
        cluster.create_topic("warm", partitions=1)
        producer.produce("warm", b"")
        wire.barrier()
        producer.list_topics("orders", timeout=10)
        cluster.delay_answers(DELAY_MILLISECONDS)
        cluster.fail_produce_requests([KafkaError.NOT_LEADER_FOR_PARTITION])
        for _ in range(12):
            producer.produce("orders", bytes(300_000))
        with pytest.raises(SinkAway, match="counts it as delivered"):
            wire.barrier()
        wire.close()
