"""A transaction that hangs: what Kafka left behind when it lost the marker that ends one."""

import socket
import struct

from local.kafka import Kafka
from tests.eventually import eventually
from tests.kafka_config import configure_broker

INIT_PRODUCER_ID, TXN_OFFSET_COMMIT = 22, 28
TIMEOUT_MS = 60_000
# Whether a broker asks the transaction's coordinator whether a partition belongs to it.
VERIFICATION = "transaction.partition.verification.enable"


def leave_offset_pending(broker: Kafka, group: str, topic: str) -> None:
    """Writes an offset of a transaction that the transaction's coordinator knows nothing of.

    The group's transactional id is the group's name. The requests are of version 0:
    https://kafka.apache.org/protocol
    """
    with socket.create_connection(("127.0.0.1", broker.port), 10) as connection:
        producer = _init_producer(connection, group)
        try:
            configure_broker(broker.bootstrap_servers, **{VERIFICATION: "false"})
            # The broker takes its new configuration a moment later.
            eventually(lambda: _commit_offset(connection, group, topic, producer))
        finally:
            configure_broker(broker.bootstrap_servers, **{VERIFICATION: "true"})


def _init_producer(connection: socket.socket, transactional_id: str) -> bytes:
    body = _text(transactional_id) + struct.pack(">i", TIMEOUT_MS)
    answer = _ask(connection, INIT_PRODUCER_ID, body)
    _, error = struct.unpack(">ih", answer[:6])
    assert error == 0, f"the broker's error is {error}"
    return answer[6:]


def _commit_offset(connection: socket.socket, group: str, topic: str, producer: bytes) -> None:
    """Raises AssertionError where the broker refuses it."""
    offset = struct.pack(">iiq", 1, 0, 0) + _text("")
    topics = struct.pack(">i", 1) + _text(topic) + offset
    answer = _ask(connection, TXN_OFFSET_COMMIT, _text(group) * 2 + producer + topics)
    (error,) = struct.unpack(">h", answer[-2:])
    assert error == 0, f"the broker's error is {error}"


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _ask(connection: socket.socket, api_key: int, body: bytes) -> bytes:
    request = struct.pack(">hhi", api_key, 0, 1) + _text("test") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    with connection.makefile("rb") as answers:
        (size,) = struct.unpack(">i", answers.read(4))
        return answers.read(size)[4:]
