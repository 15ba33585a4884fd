"""Azure Event Hubs: another cluster, whose settings and limits are those of its Kafka endpoint.

https://learn.microsoft.com/azure/event-hubs/apache-kafka-configurations
https://learn.microsoft.com/azure/event-hubs/apache-kafka-troubleshooting-guide
"""

import re
from typing import Any

from confluent_kafka import KafkaError

from relay.kafka.rules import Rules
from relay.log.sink import SinkAway
from relay.settings import destinations
from relay.settings.credentials import Bounds, Credential, variable_of

SECURITY = "sasl_ssl"
MECHANISM = "PLAIN"
# The part of a credential, by librdkafka's name for it.
CONNECTION_STRING = "connection_string"
SASL = {CONNECTION_STRING: "sasl.password"}
PORT = 9093
SUFFIX = ".servicebus.windows.net"
# Azure's own names, and those of no one else: may be dialled unless the credential says otherwise.
HOSTS = destinations.hosts(f"*{SUFFIX}:{PORT}")

# A request above this closes the connection. Azure advises clients to stop at a million bytes, and
# no message of the log, of 983,040 at most and the relay's headers, needs more. What stands around
# messages fits in between: with the longest name of a topic the largest message alone made a
# request of 1,000,334 bytes, and batches of many made none above 999,488, which is batch.size.
MAX_REQUEST_BYTES = 1_046_528
MAX_BYTES = 1_000_000
PROPERTIES: dict[str, Any] = {
    "sasl.username": "$ConnectionString",
    # Only the tiers Premium and Dedicated take what is compressed, and by gzip alone.
    "compression.type": "none",
    "request.timeout.ms": 60_000,
    # Azure drops a connection after four minutes without traffic, and tells nobody.
    "connections.max.idle.ms": 180_000,
    "metadata.max.age.ms": 180_000,
    "socket.keepalive.enable": True,
}
RULES = Rules(
    limit_bytes=MAX_BYTES,
    limit=f"of the {MAX_REQUEST_BYTES} that Event Hubs allows a request",
    # The namespace is throttled, and for longer than a request waits: no hub is to blame.
    away=frozenset({KafkaError.POLICY_VIOLATION}),
    hints={
        KafkaError._AUTHENTICATION: (
            "the namespace does not take the connection string: its key is wrong, or was made anew"
        ),
        KafkaError.UNKNOWN_TOPIC_OR_PART: (
            "event hub {topic} is not in the namespace, or not for this connection string: "
            "create it, or correct the connector's event hub"
        ),
        KafkaError.TOPIC_AUTHORIZATION_FAILED: (
            "the connection string may not send to event hub {topic}: give its policy Send"
        ),
        KafkaError.CLUSTER_AUTHORIZATION_FAILED: (
            "the connection string may send to no event hub of the namespace: give its policy Send"
        ),
        KafkaError.POLICY_VIOLATION: (
            "the namespace is throttled, and goes on by itself: more throughput units let it "
            "take more"
        ),
    },
)

_ENDPOINT = re.compile(r"(?:^|;)\s*Endpoint=sb://(?P<host>[^/:;]+)(?::\d+)?/?\s*(?:;|$)", re.I)


def brokers(namespace: str) -> str:
    """`host:port` of a namespace: by its name, or as a host name with or without a port."""
    if "." not in namespace and ":" not in namespace:
        namespace += SUFFIX
    return namespace if ":" in namespace else f"{namespace}:{PORT}"


def demand_own(bound: Bounds, credential: Credential, broker: str) -> None:
    """A connection string says itself where it may go. Raises SinkAway where that is not here."""
    endpoint = _ENDPOINT.search(credential[CONNECTION_STRING])
    host = broker.rpartition(":")[0]
    if endpoint is None or endpoint["host"].lower() != host.lower():
        variable = variable_of(bound.name, CONNECTION_STRING)
        raise SinkAway(f"credential {bound.name} is no connection string of {host}: see {variable}")
