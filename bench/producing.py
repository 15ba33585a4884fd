"""What the candidates have in common: a producer as the relay's, and the relay's seven headers."""

from confluent_kafka import KafkaError, Message, Producer

from relay.kafka.headers import CloudEvents, Headers
from relay.kafka.producers import CONSTANTS, DEFAULTS
from relay.kafka.routes import BATCH_BYTES

WARM_UP_TIMEOUT_SECONDS = 30
FLUSH_TIMEOUT_SECONDS = 60


def producer(bootstrap_servers: str, topic: str) -> Producer:
    """Connected, and warm by one message of its own."""

    def fail(error: KafkaError, message: Message) -> None:
        raise RuntimeError(f"{message.topic()}: {error.str()}")

    settings = DEFAULTS | CONSTANTS
    # The relay's logger reads these lines; here they would fill the terminal.
    del settings["debug"]
    made = Producer(
        {
            **settings,
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


_events = CloudEvents("/outbox")


def headers(type_: bytes, idempotency_key: bytes, content_type: bytes, created_at: int) -> Headers:
    """The relay's own; text is bytes as it came from Postgres, times as in relay.log.message."""
    return _events.headers(type_, idempotency_key, None, content_type, created_at)
