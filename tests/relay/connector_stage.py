"""The set of the tests of connectors: a second real Kafka besides the environment's."""

from collections.abc import Mapping
from typing import LiteralString, NamedTuple

import trustme
from psycopg.types.json import Jsonb

from local import kafka as local_kafka
from local.kafka import Kafka
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.log_reader import Reckoning, read_log, reckon
from tests.relay.stage import RENEW, Stage
from tests.topic_reader import Arrival, read_topic

# Of the second cluster's listener that asks for a password.
USER, PASSWORD = "outbox", "a word to pass"
CONNECT: LiteralString = """
select outbox.connect(%s, %s, 'kafka', %s, delivery => %s)
"""


class OtherKafka(NamedTuple):
    """A second cluster, its listener that asks for a password, and the one with TLS, which asks
    for a certificate of the same authority.
    """

    broker: Kafka
    guarded: str
    secure: str
    authority: trustme.CA


class ConnectorStage(Stage):
    """Where messages go to the environment's cluster and to a second one, `other`."""

    def __init__(
        self,
        database_url: str,
        bootstrap_servers: str,
        topic_prefix: str,
        spawn: Spawn,
        other: OtherKafka,
    ) -> None:
        super().__init__(database_url, bootstrap_servers, topic_prefix, spawn)
        self.other = other.broker
        self.guarded, self.secure, self.authority = other[1:]
        # A clone has its template's id, and under one id two databases are one to Kafka.
        self.execute(RENEW)

    def environment(self, **settings: str) -> dict[str, str]:
        return super().environment(**{"RELAY_ALLOW_HOSTS": "127.0.0.0/8,localhost", **settings})

    def connect(
        self,
        name: str,
        channel: str,
        config: Mapping[str, str] = {},
        *,
        delivery: str = "at_least_once",
    ) -> str:
        """Makes a topic in the second cluster and a connector to it. Returns the topic's name."""
        topic = f"{self.topic_prefix}{name}"
        local_kafka.create_topic(self.other.bootstrap_servers, topic)
        settings = {"brokers": self.other.bootstrap_servers, "topic": topic, **config}
        with self.database() as connection:
            connection.execute(CONNECT, (name, channel, Jsonb(settings), delivery))
        return topic

    def without_the_first(self) -> None:
        """Nothing goes to the environment's cluster."""
        self.execute("select outbox.delete_subscription('kafka', true)")

    def beyond(self, topic: str) -> list[Arrival]:
        """What this topic of the second cluster holds now, for a read_committed reader."""
        return read_topic(self.other.bootstrap_servers, topic)

    def arrived_beyond(
        self, channel: str, topic: str, *, once: bool = False, timeout_seconds: float = 30
    ) -> Reckoning:
        """Waits until all of the channel is in this topic of the second cluster, in order.

        `once`: nothing of it came again.
        """

        def all_there() -> Reckoning:
            reckoning = reckon(read_log(self.database_url, channel), self.beyond(topic))
            reckoning.demand_all_in_order()
            return reckoning

        eventually(self._nothing_pending, timeout_seconds)
        reckoning = eventually(all_there, timeout_seconds)
        assert not once or reckoning.repeats == 0, f"{reckoning.repeats} messages came again"
        return reckoning

    def waits_for(self, name: str, *words: str, timeout_seconds: float = 20) -> str:
        """Waits until a subscription says that it waits for these; returns all that it says."""

        def said() -> str:
            ((reason,),) = self.query(
                "select waiting_reason from outbox.subscription where name = %s", name
            )
            assert reason is not None
            assert all(word in reason for word in words), reason
            return str(reason)

        return eventually(said, timeout_seconds)
