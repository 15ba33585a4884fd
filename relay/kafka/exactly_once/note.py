"""What Kafka's last transaction of a cursor noted: the metadata of its group's only offset."""

from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from relay.kafka.reports import Reports
from relay.log.sink import SinkAway

ASK_SECONDS = 1.0
REFUSED = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED)
# Waits for a commit that is still being written.
STABLE = "read_committed"
UNSTABLE = "read_uncommitted"


class Pending(SinkAway):
    """An offset of the group is neither committed nor aborted, so that its note is not known."""


def read_note(
    properties: dict[str, Any], group: str, topic: str, reports: Reports, deadline: float
) -> tuple[str | None, Any]:
    """The note, and what names the group to a transaction.

    Raises SinkAway after the deadline; Pending where Kafka answers and has no note yet.
    """
    while True:
        try:
            return _ask(properties, group, topic, STABLE)
        except KafkaException as failed:
            # The coordinator may be starting, or moving.
            error = failed.args[0]
            if error.code() not in REFUSED and not reports.wait_is_over(deadline):
                continue
            if error.code() == KafkaError._TIMED_OUT and _answers(properties, group, topic):
                raise Pending(f"cursor in Kafka: a transaction of {group} is not ended") from failed
            raise SinkAway(f"cursor in Kafka: {error.str()}") from failed


def _ask(
    properties: dict[str, Any], group: str, topic: str, isolation: str
) -> tuple[str | None, Any]:
    consumer = Consumer(
        {
            **properties,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "log_level": 2,
        }
    )
    try:
        (found,) = consumer.committed([TopicPartition(topic, 0)], timeout=ASK_SECONDS)
        if found.error is not None:
            raise KafkaException(found.error)
        return found.metadata, consumer.consumer_group_metadata()
    finally:
        consumer.close()


def _answers(properties: dict[str, Any], group: str, topic: str) -> bool:
    """Whether the group's coordinator answers who does not ask for what is committed."""
    try:
        _ask(properties, group, topic, UNSTABLE)
    except KafkaException:
        return False
    return True
