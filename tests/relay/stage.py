"""The set of these tests: a database of its own, a real Kafka, and real relays between them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, LiteralString, Protocol

import psycopg
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from local import kafka as local_kafka
from local.program import Program
from tests.eventually import eventually
from tests.log_reader import Reckoning, read_log, reckon
from tests.topic_reader import Arrival, Isolation, read_topic

Row = tuple[Any, ...]

# One statement, so that a thousand messages are one transaction and one run.
PUBLISH = """
insert into outbox.message (channel, type, group_key, payload)
select %(channel)s, 'test.event', %(group)s || (n %% %(groups)s),
       convert_to(rpad('{"n": ' || n || '}', %(size)s), 'UTF8')
from generate_series(1, %(messages)s) as n
"""

PENDING = """
select subscription, priority, messages from outbox.subscription_backlog where messages > 0
"""

CHECKPOINTS = """
select sum(n) from (select max(n) as n from outbox.checkpoint group by cursor_id) as latest
"""


class Spawn(Protocol):
    def __call__(
        self, program: str, *arguments: str, environment: Mapping[str, str]
    ) -> Program: ...


class Stage:
    """Where a test plays. Channels are names; their topics carry the test's own prefix."""

    def __init__(
        self, database_url: str, bootstrap_servers: str, topic_prefix: str, spawn: Spawn
    ) -> None:
        self.database_url = database_url
        self.bootstrap_servers = bootstrap_servers
        self.topic_prefix = topic_prefix
        self._spawn = spawn

    def environment(self, **settings: str) -> dict[str, str]:
        """What a relay of this stage is configured with, and `settings` besides."""
        return {
            "DATABASE_URL": self.database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "RELAY_TOPIC_PREFIX": self.topic_prefix,
            **settings,
        }

    def relay(self, *arguments: str, **settings: str) -> Program:
        """Starts `outbox-relay run`, which is killed at the end of the test."""
        environment = self.environment(**settings)
        return self._spawn("outbox-relay", "run", *arguments, environment=environment)

    def create_topic(self, channel: str, partitions: int = 4, **config: str) -> str:
        """Makes the channel's topic; returns its name."""
        topic = self.topic_prefix + channel
        local_kafka.create_topic(self.bootstrap_servers, topic, partitions, **config)
        return topic

    def delete_topic(self, topic: str) -> None:
        """Deletes a topic by its full name."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        admin.delete_topics([topic], operation_timeout=30)[topic].result(30)

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Row]]:
        """A connection in autocommit mode."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            yield connection

    def query(self, query: LiteralString, *parameters: object) -> list[Row]:
        """The rows of one query."""
        with self.database() as connection:
            return connection.execute(query, parameters).fetchall()

    def execute(self, statement: LiteralString, *parameters: object) -> None:
        """One statement, committed."""
        with self.database() as connection:
            connection.execute(statement, parameters)

    def publish(
        self, messages: int, channel: str, *, groups: int = 10, size: int = 20, group: str = "g"
    ) -> None:
        """Commits messages of `size` bytes in one transaction, spread over `groups` keys."""
        values = {"messages": messages, "channel": channel, "groups": groups}
        with self.database() as connection:
            connection.execute(PUBLISH, values | {"size": size, "group": group})

    def arrivals(self, channel: str, isolation: Isolation = "read_committed") -> list[Arrival]:
        """What the channel's topic holds now."""
        return read_topic(self.bootstrap_servers, self.topic_prefix + channel, isolation)

    def reckoning(self, channel: str) -> Reckoning:
        """The channel's topic against the log, now."""
        return reckon(read_log(self.database_url, channel), self.arrivals(channel))

    def all_arrived(self, *channels: str, timeout_seconds: float = 30) -> list[Reckoning]:
        """Waits until all that committed has arrived and is checkpointed; returns the reckonings.

        Raises AssertionError where something stays away, was altered or came in the wrong order.
        """
        eventually(self._nothing_pending, timeout_seconds)
        # Kafka answers a commit before its markers are in the topics.
        return [
            eventually(partial(self.in_order, channel), timeout_seconds) for channel in channels
        ]

    def in_order(self, channel: str) -> Reckoning:
        """Raises AssertionError until all of the channel has arrived, and for a wrong order."""
        reckoning = self.reckoning(channel)
        reckoning.demand_all_in_order()
        return reckoning

    def moved_on(self, checkpoints: int) -> None:
        """Waits for so many further checkpoints: a moment to strike at, in the relays' own time."""
        before = self.checkpoints()

        def there() -> None:
            assert self.checkpoints() >= before + checkpoints

        eventually(there, 60)

    def exactly_once(self) -> "ExactlyOnceStage":
        """The same place, from now on with exactly-once delivery."""
        return ExactlyOnceStage(
            self.database_url, self.bootstrap_servers, self.topic_prefix, self._spawn
        )

    def _nothing_pending(self) -> None:
        assert self.query(PENDING) == []

    def checkpoints(self) -> int:
        """How many checkpoints were written since the subscriptions were made."""
        return int(self.query(CHECKPOINTS)[0][0])

    def dead_letters(self) -> list[Row]:
        """(message_id, reason) of every dead letter, by message."""
        return self.query("select message_id, reason from outbox.dead_letter order by message_id")


# A clone has its template's id, and under one id two databases are one to Kafka.
RENEW = "update outbox.installation set id = gen_random_uuid()"
DELIVERY = "update outbox.subscription set delivery = %s"
GROUP = """
select 'outbox.' || i.id || '.' || c.id from outbox.installation i, outbox.cursor c
where c.priority = %s and c.channel is null
"""


class ExactlyOnceStage(Stage):
    """The same where every subscription delivers exactly once; its readers are read_committed."""

    def __init__(
        self, database_url: str, bootstrap_servers: str, topic_prefix: str, spawn: Spawn
    ) -> None:
        super().__init__(database_url, bootstrap_servers, topic_prefix, spawn)
        self.execute(RENEW)
        self.deliver("exactly_once")

    def deliver(self, delivery: str) -> None:
        """Switches every subscription to `at_least_once` or `exactly_once`."""
        self.execute(DELIVERY, delivery)

    def all_arrived_once(self, *channels: str, timeout_seconds: float = 30) -> None:
        """Waits until all that committed is checkpointed and has arrived, in order.

        Raises AssertionError where it does not, and where a single message came again.
        """
        eventually(self._nothing_pending, timeout_seconds)
        for channel in channels:
            # A commit is answered before its markers are in the topics.
            reckoning = eventually(partial(self.in_order, channel), timeout_seconds)
            assert reckoning.repeats == 0, f"{reckoning.repeats} messages of {channel} came again"

    def note(self, priority: int = 3) -> str | None:
        """What Kafka's last committed transaction notes of the unforked cursor of one priority."""
        ((group,),) = self.query(GROUP, priority)
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": group,
                # The other one waits for a transaction that is open.
                "isolation.level": "read_uncommitted",
                "log_level": 2,
            }
        )
        try:
            cursors = TopicPartition(self.topic_prefix + "outbox.cursors", 0)
            (found,) = consumer.committed([cursors], timeout=10)
        finally:
            consumer.close()
        assert found.error is None, found.error
        metadata: str | None = found.metadata
        return metadata or None


def memory_bytes(pid: int, name: str = "VmRSS") -> int:
    """Resident memory of a process; VmHWM: the most that it has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no {name}")


def values(arrivals: Sequence[Arrival]) -> list[bytes]:
    """The payloads, in their order."""
    return [arrival.value for arrival in arrivals]
