"""A stage on which one relay's wires, to Postgres and to Kafka, go through proxies."""

from typing import NamedTuple

from local.program import Program
from tests.proxy import Proxy
from tests.relay.stage import Stage

LOOPBACK = "127.0.0.1"


class Wires(NamedTuple):
    """`stage` goes straight to both servers; `relay` by way of `database` and `kafka`."""

    stage: Stage
    database: Proxy
    kafka: Proxy

    def relay(self, **settings: str) -> Program:
        """Starts a relay on the watched wires."""
        return self.stage.relay(
            DATABASE_URL=self.database.url(self.stage.database_url),
            KAFKA_BOOTSTRAP_SERVERS=f"{LOOPBACK}:{self.kafka.port}",
            **settings,
        )
