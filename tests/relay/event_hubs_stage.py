"""The set of the tests of Event Hubs: a real Kafka with what Event Hubs is known to hold.

TLS and a connection string as password, rights by topic, no word on how a topic is configured, a
connection that is closed at too large a request and when it was idle.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
)
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from psycopg.types.json import Jsonb

from local import kafka as local_kafka
from local.kafka import Kafka
from local.server import free_port
from relay.kafka.connectors.event_hubs import MAX_REQUEST_BYTES
from tests.conftest import Spawn
from tests.relay.connector_stage import ConnectorStage, OtherKafka
from tests.relay.tls_listener import PLAIN, tls

LOOPBACK = "127.0.0.1"
CONNECTION_STRING = "Endpoint=sb://localhost/;SharedAccessKeyName=relay;SharedAccessKey=c2VjcmV0IGtleSBvZiBhIGh1Yg=="
OTHER_KEY = CONNECTION_STRING.replace("c2Vj", "AAAA")
PRINCIPAL = "User:$ConnectionString"
SEND = (AclOperation.DESCRIBE, AclOperation.WRITE)
IDLE_MILLISECONDS = 3000
# In the tables of the kernel.
ESTABLISHED = "01"


@contextmanager
def namespace(directory: Path) -> Iterator[OtherKafka]:
    """A namespace, by its `secure` door; `broker` lets everybody do everything."""
    port, hub, controller = (free_port() for _ in range(3))
    doors = (
        f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller},HUB://localhost:{hub}"
    )
    authority = trustme.CA()
    settings = {
        # A busy machine must not make it lose its registration.
        "broker.session.timeout.ms": "4000",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller}",
        "listeners": doors,
        "advertised.listeners": doors,
        "listener.security.protocol.map": ("PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,HUB:SASL_SSL"),
        "listener.name.hub.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.hub.plain.sasl.jaas.config": (
            f'{PLAIN} required user_$ConnectionString="{CONNECTION_STRING}";'
        ),
        **tls("hub", authority),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "socket.request.max.bytes": str(MAX_REQUEST_BYTES),
        "connections.max.idle.ms": str(IDLE_MILLISECONDS),
    }
    with Kafka.start(directory, port=port, settings=settings, quick_start=True) as broker:
        yield OtherKafka(broker, "", f"localhost:{hub}", authority)
        broker.kill()


class EventHubsStage(ConnectorStage):
    """Where messages go to a namespace alone."""

    def __init__(
        self,
        database_url: str,
        bootstrap_servers: str,
        topic_prefix: str,
        spawn: Spawn,
        other: OtherKafka,
    ) -> None:
        super().__init__(database_url, bootstrap_servers, topic_prefix, spawn, other)
        self.without_the_first()
        # Held until the answers are there: the end of the client would cancel the requests.
        self._admin = AdminClient(
            {"bootstrap.servers": self.other.bootstrap_servers, "log_level": 2}
        )

    def environment(self, **settings: str) -> dict[str, str]:
        authority = self.authority.cert_pem.bytes().decode()
        return super().environment(
            **{
                "RELAY_CREDENTIALS_HUB_CONNECTION_STRING": CONNECTION_STRING,
                "RELAY_CREDENTIALS_HUB_CA": authority,
                **settings,
            }
        )

    def client(self) -> dict[str, Any]:
        """What another client than the relay is configured with, to enter by the same string."""
        return {
            "bootstrap.servers": self.secure,
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "$ConnectionString",
            "sasl.password": CONNECTION_STRING,
            "ssl.ca.pem": self.authority.cert_pem.bytes().decode(),
        }

    def config(self, **config: str) -> dict[str, str]:
        """As outbox.connect takes it."""
        return {"namespace": self.secure, "credentials": "hub", **config}

    def make_hub(
        self,
        name: str,
        operations: Sequence[AclOperation] = SEND,
        partitions: int = 4,
        config: Mapping[str, str] = {},
    ) -> str:
        """An event hub, and what the connection string may do with it. Returns its whole name."""
        hub = f"{self.topic_prefix}{name}"
        local_kafka.create_topic(self.other.bootstrap_servers, hub, partitions, **config)
        if operations:
            self.allow(hub, operations)
        return hub

    def allow(self, hub: str, operations: Sequence[AclOperation]) -> None:
        """Lets the connection string do this with a hub."""
        bindings = [
            AclBinding(
                ResourceType.TOPIC,
                hub,
                ResourcePatternType.LITERAL,
                PRINCIPAL,
                "*",
                operation,
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]
        for answer in self._admin.create_acls(bindings, request_timeout=30).values():
            answer.result(30)

    def forbid_all(self) -> None:
        """Takes every right from the connection string."""
        anything: Any = None
        everything = AclBindingFilter(
            ResourceType.ANY,
            anything,
            ResourcePatternType.ANY,
            PRINCIPAL,
            anything,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        (answer,) = self._admin.delete_acls([everything], request_timeout=30).values()
        answer.result(30)

    def connections(self) -> set[str]:
        """Those that are open to the namespace, from whomever, each by its own port."""
        port = int(self.secure.rpartition(":")[2])
        lines = [
            line.split()
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        ]
        return {
            here
            for _, here, there, state, *_ in lines
            if int(there.rpartition(":")[2], 16) == port and state == ESTABLISHED
        }

    def connect_hub(self, name: str, channel: str, **config: str) -> None:
        """Makes a connector."""
        with self.database() as connection:
            connection.execute(
                "select outbox.connect(%s, %s, 'event_hubs', %s)",
                (name, channel, Jsonb(self.config(**config))),
            )
