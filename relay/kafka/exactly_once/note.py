"""What Kafka's last transaction of a cursor noted: the metadata of its group's only offset."""

import time
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from relay.kafka.reports import Reports
from relay.log.sink import SinkAway

SLICE_SECONDS = 1.0
# A new connection has to be made in it, with all that authentication takes.
UNSTABLE_SECONDS = 5.0
REFUSED = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED)


class Pending(SinkAway):
    """Kafka holds an offset of the group that is neither committed nor aborted."""


def read_note(
    properties: dict[str, Any], group: str, topic: str, reports: Reports, deadline: float
) -> tuple[str | None, Any]:
    """The note, and what names the group to a transaction.

    Raises SinkAway after the deadline, by the monotonic clock; Pending where Kafka answers then
    and the note is not known yet.
    """
    # It waits for a commit that is still being written.
    consumer = consumer_of(properties, group, "read_committed")
    try:
        while True:
            try:
                return _committed(
                    consumer, topic, SLICE_SECONDS
                ), consumer.consumer_group_metadata()
            except KafkaException as failed:
                # The coordinator may be starting, or moving.
                error = failed.args[0]
                if error.code() not in REFUSED and not reports.wait_is_over(deadline):
                    continue
                timed_out = error.code() == KafkaError._TIMED_OUT and time.monotonic() > deadline
                if timed_out and _answers(properties, group, topic):
                    words = f"cursor in Kafka: a transaction of {group} has not ended"
                    raise Pending(words) from failed
                raise SinkAway(f"cursor in Kafka: {error.str()}") from failed
    finally:
        consumer.close()


def _answers(properties: dict[str, Any], group: str, topic: str) -> bool:
    """Whether the coordinator answers a question that does not wait for pending offsets."""
    consumer = consumer_of(properties, group, "read_uncommitted")
    try:
        with suppress(KafkaException):
            _committed(consumer, topic, UNSTABLE_SECONDS)
            return True
        return False
    finally:
        consumer.close()


def consumer_of(
    properties: dict[str, Any], group: str, isolation: str = "read_committed"
) -> Consumer:
    """One that asks for offsets and fetches nothing."""
    return Consumer(
        {
            **properties,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "log_level": 2,
            # Has to be below what an answer may have.
            "fetch.max.bytes": 1_000_000,
        }
    )


def _committed(consumer: Consumer, topic: str, seconds: float) -> str | None:
    (found,) = consumer.committed([TopicPartition(topic, 0)], timeout=seconds)
    if found.error is not None:
        raise KafkaException(found.error)
    metadata: str | None = found.metadata
    return metadata
