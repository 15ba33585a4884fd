"""Promises of the Kafka launcher."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from local import aot_cache
from local.kafka import Kafka, aot_cache_path
from tests.conftest import CreateTopic
from tests.eventually import eventually


def write(bootstrap_servers: str, topic: str, value: bytes) -> None:
    """Produce one message and wait until the broker has it. Raises KafkaException."""
    failures: list[KafkaError] = []

    def note(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all", "log_level": 2})
    producer.produce(topic, value, on_delivery=note)
    assert producer.flush(30) == 0
    if failures:
        raise KafkaException(failures[0])


def read(bootstrap_servers: str, topic: str) -> list[bytes | None]:
    """All values in partition 0."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "r", "log_level": 2})
    try:
        partition = TopicPartition(topic, 0, 0)
        _, end = consumer.get_watermark_offsets(partition, timeout=30)
        consumer.assign([partition])
        return [message.value() for message in consumer.consume(end, timeout=30)]
    finally:
        consumer.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of this module's own, which may be killed."""
    aot_cache.provide()
    directory = tmp_path_factory.mktemp("broker") / "kafka"
    settings = {"broker.session.timeout.ms": "2000"}
    with Kafka.start(directory, settings=settings, quick_start=True) as kafka:
        yield kafka


@pytest.mark.long
def test_a_broker_that_starts_quickly_has_its_classes_from_the_cache(broker: Kafka) -> None:
    assert str(aot_cache_path()) in Path(f"/proc/{broker.pid}/maps").read_text()


@pytest.mark.long
def test_what_was_acknowledged_survives_kill_9(broker: Kafka) -> None:
    bootstrap_servers = broker.bootstrap_servers
    broker.create_topic("kept", partitions=1)
    write(bootstrap_servers, "kept", b"before")
    broker.kill()
    broker.restart()
    assert broker.bootstrap_servers == bootstrap_servers
    write(bootstrap_servers, "kept", b"after")
    assert read(bootstrap_servers, "kept") == [b"before", b"after"]


@pytest.mark.long
def test_a_frozen_broker_answers_again_when_woken(broker: Kafka) -> None:
    broker.pause()
    assert not broker.answers()
    broker.resume()

    def answers() -> None:
        assert broker.answers()

    eventually(answers, timeout_seconds=30)


def test_no_topic_is_made_by_itself(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}unknown"
    producer = Producer({"bootstrap.servers": kafka, "allow.auto.create.topics": "true"})
    for _ in range(2):  # The first request would make it, the second find it.
        metadata = producer.list_topics(topic, timeout=30).topics[topic]
        assert metadata.error is not None
        assert metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_topic_has_the_partitions_and_the_configuration_asked_for(
    kafka: str, create_topic: CreateTopic
) -> None:
    topic = create_topic("small", partitions=3, **{"max.message.bytes": "1000"})
    with pytest.raises(KafkaException) as caught:
        write(kafka, topic, b"x" * 2_000)
    assert caught.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "r"})
    try:
        assert len(consumer.list_topics(topic, timeout=30).topics[topic].partitions) == 3
    finally:
        consumer.close()
