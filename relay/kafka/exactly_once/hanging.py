"""Transactions that hang: Kafka counts them as ended, and their offsets stay pending for ever.

The end of a transaction is a marker in the group's own log. Kafka can lose it, or write the offset
behind it: seen where a broker came back that had been frozen for longer than its session. No
timeout ends such a transaction, because its coordinator knows nothing of it; the group waits.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaException, Producer, TopicPartition

from relay.kafka.exactly_once.note import consumer_of
from relay.kafka.producers import LIBRARY, discard
from relay.log.sink import GENERATION

logger = structlog.get_logger()

SLICE_SECONDS = 1.0
# The cursors' topic has one partition, the first.
NO_PARTITION = 1


def end_hanging(properties: dict[str, Any], name: str, topic: str) -> None:
    """Ends what hangs in the group under this name or those of its former generations.

    All owners of these names are fenced by that.
    """
    group = name.partition(GENERATION)[0]
    ended = []
    for one in _generations(name):
        # Where it can't be, the next claim tries again.
        with suppress(KafkaException, SystemError):
            _end(properties, one, group, topic)
            ended.append(one)
    if ended:
        logger.warning(
            "kafka_transaction_hung",
            group=group,
            ended=ended,
            effect="if the last run was in doubt, it comes again, with the same keys",
            hint="none is needed; where this line comes again, end it by kafka-transactions.sh "
            "find-hanging and abort",
        )


def _end(properties: dict[str, Any], name: str, group: str, topic: str) -> None:
    """Aborts a transaction of this name that has the group and no offset in it.

    Its marker ends all that is pending of the producer. An offset of its own would take the place
    of the pending one, which a slow coordinator may still commit; a partition that does not exist
    is refused when the group already belongs to the transaction. It aborts, because nothing tells
    whether the one that hangs was committed, and to repeat its run loses nothing.
    """
    producer = Producer({**properties, "transactional.id": name}, logger=LIBRARY)
    consumer = consumer_of(properties, group)
    try:
        producer.init_transactions(SLICE_SECONDS)
        producer.begin_transaction()
        offset = TopicPartition(topic, NO_PARTITION, 0)
        with suppress(KafkaException):
            producer.send_offsets_to_transaction(
                [offset], consumer.consumer_group_metadata(), SLICE_SECONDS
            )
        producer.abort_transaction(SLICE_SECONDS)
    finally:
        consumer.close()
        discard(producer)


def _generations(name: str) -> Iterator[str]:
    """The name, and those of the generations before it."""
    group, _, generation = name.partition(GENERATION)
    yield group
    for number in range(1, int(generation or 0) + 1):
        yield f"{group}{GENERATION}{number}"
