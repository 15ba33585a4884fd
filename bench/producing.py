"""What the candidates have in common: a producer as the relay's, and the relay's seven headers."""

import time

from confluent_kafka import KafkaError, Message, Producer

from relay.sink import microseconds
from relay.sinks.kafka import BATCH_BYTES
from relay.sinks.producers import CONSTANTS, DEFAULTS

WARM_UP_TIMEOUT_SECONDS = 30
FLUSH_TIMEOUT_SECONDS = 60


def producer(bootstrap_servers: str, topic: str) -> Producer:
    """Connected, and warm by one message of its own."""

    def fail(error: KafkaError, message: Message) -> None:
        raise RuntimeError(f"{message.topic()}: {error.str()}")

    made = Producer(
        {
            **DEFAULTS,
            **CONSTANTS,
            "bootstrap.servers": bootstrap_servers,
            "batch.size": BATCH_BYTES,
            "on_delivery": fail,
        }
    )
    made.produce(topic, b"warm")
    flush(made, WARM_UP_TIMEOUT_SECONDS)
    return made


def flush(producer: Producer, timeout_seconds: float = FLUSH_TIMEOUT_SECONDS) -> None:
    """The barrier. Raises RuntimeError where something is not acknowledged in time."""
    if left := producer.flush(timeout_seconds):
        raise RuntimeError(f"{left} messages are not acknowledged")


_seconds: dict[int, bytes] = {}


def headers(
    type_: bytes, idempotency_key: bytes, content_type: bytes, created_at: bytes
) -> dict[str, str | bytes | None]:
    """As the relay writes them; all are bytes as they came from Postgres."""
    second, fraction = divmod(microseconds(created_at), 1_000_000)
    prefix = _seconds.get(second)
    if prefix is None:
        prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        _seconds[second] = prefix
    return {
        "ce_specversion": b"1.0",
        "ce_id": idempotency_key,
        "ce_type": type_,
        "ce_source": b"/outbox",
        "ce_time": b"%b.%06dZ" % (prefix, fraction),
        "content-type": content_type,
        "idempotency-key": idempotency_key,
    }
