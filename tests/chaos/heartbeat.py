"""A message every 50 ms for each shard, and when it came out at the other end."""

import threading
import time
from collections import defaultdict
from typing import Any

import psycopg
from confluent_kafka import Consumer, Message, TopicPartition

from tests.chaos.places import HEARTBEAT, PARTITIONS, SHARDS, Places, Subscription
from tests.chaos.topics import headers
from tests.chaos.write_pause import WritePause

BEAT_SECONDS = 0.05
STATEMENT_TIMEOUT = "set statement_timeout = '5s'"

# One group on each shard.
GROUPS = """
select distinct on (shard) 'beat-' || n
from generate_series(0, 999) as n
cross join lateral outbox.shard_of('beat-' || n, 0, %s) as shard
order by shard, n
"""
BEAT = """
select outbox.publish('chaos.heartbeat', 'chaos.beat',
                      json_build_object('group', group_key, 'beat', %(beat)s::integer),
                      group_key => group_key, idempotency_key => group_key || ':' || %(beat)s)
from unnest(%(groups)s::text[]) as group_key
"""


class Heart(threading.Thread):
    """Beats until it is told to stop, whenever the database takes it."""

    def __init__(self, here: Places, write_pause: WritePause, stop: threading.Event) -> None:
        super().__init__(name="heart", daemon=True)
        self.fault: BaseException | None = None
        self._here = here
        self._write_pause = write_pause
        self._stop_asked = stop
        self._beat = 0

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                try:
                    with self._here.connect() as session:
                        session.execute(STATEMENT_TIMEOUT)
                        self._beat_on(session)
                except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction):
                    self._stop_asked.wait(BEAT_SECONDS)
        except BaseException as fault:
            self.fault = fault

    def _beat_on(self, session: psycopg.Connection[Any]) -> None:
        groups = [group for (group,) in session.execute(GROUPS, [SHARDS])]
        while not self._stop_asked.wait(BEAT_SECONDS):
            self._write_pause.wait_out(self._stop_asked)
            self._beat += 1
            session.execute(BEAT, {"beat": self._beat, "groups": groups})


class Watcher(threading.Thread):
    """Notes when the beats of one subscription arrive, as a read_committed consumer sees them.

    `arrivals`: of each group the times on the monotonic clock, in seconds, first arrivals only.
    """

    def __init__(self, here: Places, subscription: Subscription, stop: threading.Event) -> None:
        super().__init__(name=f"watcher of {subscription.name}", daemon=True)
        self.arrivals: dict[str, list[float]] = defaultdict(list)
        self.fault: BaseException | None = None
        self._latest: dict[str, int] = defaultdict(int)
        self._topic = subscription.prefix + HEARTBEAT
        self._stop_asked = stop
        self._consumer = Consumer(
            {
                "bootstrap.servers": here.bootstrap_servers,
                "group.id": "chaos.watcher",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
                # It must not be this consumer that comes back late.
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "log_level": 2,
            }
        )

    def run(self) -> None:
        try:
            self._consumer.assign([TopicPartition(self._topic, p, 0) for p in range(PARTITIONS)])
            while not self._stop_asked.is_set():
                for message in self._consumer.consume(100, timeout=0.1):
                    # An error says that the broker is away, and the consumer tries again by itself.
                    if message.error() is None:
                        self._note(message, time.monotonic())
        except BaseException as fault:
            self.fault = fault
        finally:
            self._consumer.close()

    def saw_all_since(self, at: float) -> bool:
        """Whether a beat of each shard came after that time."""
        latest = [times[-1] for times in list(self.arrivals.values()) if times]
        return len(latest) == SHARDS and min(latest) > at

    def _note(self, message: Message, now: float) -> None:
        key = dict(headers(message))["idempotency-key"].decode()
        group, beat = key.split(":")
        if int(beat) > self._latest[group]:
            self._latest[group] = int(beat)
            self.arrivals[group].append(now)
