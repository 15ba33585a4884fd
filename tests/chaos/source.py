"""What enters the log from a topic of the other Kafka: who writes it, and what is still to come.

Each record enters once, whatever is killed: the topic itself is what the log is held against.
"""

import threading
from random import Random
from typing import Any

import psycopg
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tests.chaos import topics
from tests.chaos.checker import Committed
from tests.chaos.connectors import SOURCE
from tests.chaos.places import INBOUND, PARTITIONS, Places
from tests.chaos.write_pause import WritePause

GROUPS = 40
AT_ONCE = 5
PAUSE_SECONDS = 0.5
FLUSH_TIMEOUT_SECONDS = 60
ANSWER_TIMEOUT_SECONDS = 10


class Feeder(threading.Thread):
    """Writes records, some of them without a key; `fault` is what ended it before its time."""

    def __init__(
        self, here: Places, seed: int, write_pause: WritePause, stop: threading.Event
    ) -> None:
        super().__init__(name="feeder of the source", daemon=True)
        self.fault: BaseException | None = None
        self._bootstrap_servers = here.other_kafka.bootstrap_servers
        self._write_pause = write_pause
        self._stop_asked = stop
        self._random = Random(f"source of {seed}")
        self._number = 0

    def run(self) -> None:
        try:
            # What it writes twice, because an answer was lost, is two records.
            producer = Producer({"bootstrap.servers": self._bootstrap_servers, "log_level": 2})
            while not self._stop_asked.wait(PAUSE_SECONDS):
                self._write_pause.wait_out(self._stop_asked)
                self._write(producer)
            if producer.flush(FLUSH_TIMEOUT_SECONDS):
                raise TimeoutError("the other Kafka takes nothing")
        except BaseException as fault:
            self.fault = fault

    def _write(self, producer: Producer) -> None:
        for _ in range(AT_ONCE):
            self._number += 1
            group = self._random.randrange(GROUPS + 1)
            key = f"item-{group}" if group < GROUPS else None
            producer.produce(SOURCE, f'{{"number": {self._number}}}', key)
        producer.poll(0)


def records(here: Places) -> dict[str, Committed]:
    """What the topic holds, by the idempotency key that it has in the log."""
    found = topics.read(here.other_kafka.bootstrap_servers, {SOURCE: INBOUND})
    return {
        f"{SOURCE}-{each.partition}-{each.offset}".replace(".", ":"): Committed(
            each.offset, INBOUND, SOURCE, 0, 3, each.group_key, each.checksum, False
        )
        for each in found
    }


POSITIONS = "select partition, next_offset from outbox.source_position where topic = %s"


def pending(here: Places, session: psycopg.Connection[Any]) -> list[str]:
    """What has not entered yet, a line for each partition."""
    positions: dict[int, int] = dict(session.execute(POSITIONS, [SOURCE]).fetchall())
    consumer = Consumer(
        {
            "bootstrap.servers": here.other_kafka.bootstrap_servers,
            "group.id": "chaos.source",
            "log_level": 2,
        }
    )
    try:
        ends = {
            partition: consumer.get_watermark_offsets(
                TopicPartition(SOURCE, partition), ANSWER_TIMEOUT_SECONDS
            )[1]
            for partition in range(PARTITIONS)
        }
    except KafkaException as error:
        return [f"unknown: {error}"]
    finally:
        consumer.close()
    return [
        f"partition {partition} of {SOURCE}: {positions.get(partition, 0)} of {end} entered"
        for partition, end in ends.items()
        if positions.get(partition, 0) < end
    ]
