"""The set of the tests of inward connectors: topics that are written here, and what entered."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from psycopg.types.json import Jsonb

from local import kafka as local_kafka
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.relay.stage import RENEW, Stage

Headers = Sequence[tuple[str, bytes | None]]
ENTERED = """
select id, type, group_key, idempotency_key, headers, content_type, payload
from outbox.message where channel = %s order by id
"""


class Entered(NamedTuple):
    """A message of the log; `headers` as they are kept, or an empty dict."""

    id: int
    type: str
    group_key: str | None
    idempotency_key: str
    headers: dict[str, str]
    content_type: str
    payload: bytes


class InwardStage(Stage):
    """Where records of topics enter channels."""

    def __init__(
        self, database_url: str, bootstrap_servers: str, topic_prefix: str, spawn: Spawn
    ) -> None:
        super().__init__(database_url, bootstrap_servers, topic_prefix, spawn)
        self.execute(RENEW)
        self.execute("update outbox.subscription set paused = true")

    @property
    def installation(self) -> str:
        """The id of this database's installation."""
        return str(self.query("select id from outbox.installation")[0][0])

    def topic(self, name: str, partitions: int = 4, **config: str) -> str:
        """Makes a topic; returns its full name."""
        topic = self.topic_prefix + name
        local_kafka.create_topic(self.bootstrap_servers, topic, partitions, **config)
        return topic

    def more_partitions(self, topic: str, partitions: int) -> None:
        """So many in all."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(30)

    def take_in(self, topic: str, channel: str = "shop", **config: str) -> None:
        """Makes an inward connector of the channel's name."""
        self.execute(
            "select outbox.connect_in(%s, %s, 'kafka', %s)",
            channel,
            channel,
            Jsonb({"topic": topic, **config}),
        )

    def produce(
        self,
        topic: str,
        records: Sequence[tuple[bytes | None, bytes | None]],
        *,
        headers: Headers = (),
        partition: int = -1,
        transaction: str | None = None,
    ) -> None:
        """Writes keys and values; in a transaction that is `committed` or `aborted`."""
        properties: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "message.max.bytes": 2_000_000,
            "enable.idempotence": True,
        }
        if transaction:
            properties["transactional.id"] = f"{topic}.writer"
        producer = Producer(properties)
        if transaction:
            producer.init_transactions(30)
            producer.begin_transaction()
        refused: list[str] = []

        def report(error: KafkaError | None, _: object) -> None:
            if error is not None:
                refused.append(error.str())

        for key, value in records:
            producer.produce(
                topic, value, key, partition, on_delivery=report, headers=list(headers)
            )
            producer.poll(0)
        assert producer.flush(30) == 0
        assert refused == []
        if transaction == "committed":
            producer.commit_transaction(30)
        elif transaction:
            producer.abort_transaction(30)

    def entered(self, channel: str = "shop") -> list[Entered]:
        """What the log has of the channel, by id."""
        return [
            Entered(id_, type_, group, unique, msgspec.json.decode(headers or "{}"), kind, payload)
            for id_, type_, group, unique, headers, kind, payload in self.query(ENTERED, channel)
        ]

    def all_entered(
        self, number: int, channel: str = "shop", timeout_seconds: float = 30
    ) -> list[Entered]:
        """Waits until exactly so many have."""

        def there() -> list[Entered]:
            found = self.entered(channel)
            assert len(found) == number, f"{len(found)} of {number}"
            return found

        return eventually(there, timeout_seconds)

    def state(self, name: str = "shop") -> dict[str, Any]:
        """The row of outbox.source_state."""
        [(found,)] = self.query(
            "select to_jsonb(s) from outbox.source_state s where name = %s", name
        )
        assert isinstance(found, dict)
        return found

    def stops(self, *words: str, name: str = "shop") -> str:
        """Waits until it has stopped by itself with these words; returns all of them."""

        def stopped() -> str:
            state = self.state(name)
            assert state["paused"], state
            reason = state["paused_reason"]
            assert all(word in reason for word in words), reason
            return str(reason)

        return eventually(stopped, 30)

    def waits(self, *words: str, name: str = "shop") -> None:
        """Waits until a relay says why it can't read."""

        def said() -> None:
            reason = self.state(name)["waiting_reason"]
            assert reason is not None
            assert all(word in reason for word in words), reason

        eventually(said, 30)

    def owners(self) -> dict[int, str | None]:
        """The relay of each partition."""
        return dict(self.query("select partition, relay from outbox.source_position"))

    def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Kafka forgets what is below these offsets, by partition."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        places = [TopicPartition(topic, one, offset) for one, offset in offsets.items()]
        for answer in admin.delete_records(places).values():
            answer.result(30)

    def command(self, *arguments: str) -> str:
        """Runs `outbox-relay connectors …`; returns what it printed."""
        program = self._spawn(
            "outbox-relay", "connectors", *arguments, environment=self.environment()
        )
        code = program.wait(30)
        assert code == 0, program.log_tail()
        return program.log_tail()


def keyed(number: int, keys: int, start: int = 0) -> list[tuple[bytes | None, bytes | None]]:
    """Records of so many keys, numbered in the order of writing."""
    return [(b"k%d" % (n % keys), b'{"n": %d}' % n) for n in range(start, start + number)]


def in_order(entered: Sequence[Entered]) -> None:
    """Demands that the numbers of each key rise, and that none comes twice."""
    last: dict[str | None, int] = {}
    for one in entered:
        n = msgspec.json.decode(one.payload)["n"]
        assert n > last.get(one.group_key, -1), (one.group_key, n, last[one.group_key])
        last[one.group_key] = n
