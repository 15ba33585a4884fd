"""The life of a consumer: messages from Kafka, one transaction each, then the offsets."""

import os
import signal
import sys
import threading
from collections.abc import Callable

import psycopg
from confluent_kafka import Consumer, KafkaException, Message

from demo.consumers.inbox import Connection, apply_once, bounded_transaction
from demo.consumers.payment import DECODER, PaymentSuccess

BATCH_MESSAGES = 50
POLL_SECONDS = 0.1
CONNECT_TIMEOUT_SECONDS = 10
# How long a server that has vanished without a word is waited for.
SILENCE_TIMEOUT_MS = 15_000

Effect = Callable[[Connection, PaymentSuccess], None]


def consume(name: str, effect: Effect) -> None:
    """Applies `effect` to every message of TOPIC, once each, until SIGTERM or SIGINT.

    From the environment: DATABASE_URL (this consumer's own database, with sql/inbox.sql in it),
    KAFKA_BOOTSTRAP_SERVERS, TOPIC, GROUP_ID.
    """
    stop = threading.Event()
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop_signal, lambda *_: stop.set())
    with _connect(os.environ["DATABASE_URL"]) as connection:

        def take(message: Message) -> None:
            payment = DECODER.decode(payload_of(message))
            receive(connection, name, idempotency_key(message), payment, effect)

        read(name, os.environ["TOPIC"], stop, take)


def read(
    name: str,
    topic: str,
    stop: threading.Event,
    take: Callable[[Message], None],
    on_assigned: Callable[[], None] = lambda: None,
) -> None:
    """Hands every message of `topic` to `take`, in order, until `stop`.

    `on_assigned` is called once it has partitions, and each time that it has others.
    A message whose `take` raised, or did not come to an end, comes again. From the environment:
    KAFKA_BOOTSTRAP_SERVERS, GROUP_ID. Raises KafkaException, and what `take` raises.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": os.environ["GROUP_ID"],
            # A static member that comes back after a crash has its partitions at once, where a new
            # one would wait until the session of the dead one has expired.
            "group.instance.id": name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic], on_assign=lambda *_: on_assigned())
    try:
        while not stop.is_set():
            messages = _poll(consumer)
            for message in messages:
                take(message)
            if messages:
                _commit_offsets(consumer)
    finally:
        consumer.close()


def _connect(database_url: str) -> Connection:
    """Autocommit: no transaction is open but those of each message."""
    return psycopg.connect(
        database_url,
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        tcp_user_timeout=SILENCE_TIMEOUT_MS,
        keepalives_idle=5,
        keepalives_interval=5,
        keepalives_count=2,
    )


def _poll(consumer: Consumer) -> list[Message]:
    """The next messages. Raises KafkaException for a fault that doesn't pass by itself."""
    messages = []
    for message in consumer.consume(BATCH_MESSAGES, POLL_SECONDS):
        error = message.error()
        if error is None:
            messages.append(message)
        elif error.fatal():
            raise KafkaException(error)
        else:
            print(f"waiting: {error}", file=sys.stderr)
    return messages


def payload_of(message: Message) -> bytes:
    """What the publisher wrote."""
    value = message.value()
    assert isinstance(value, bytes), "nothing here is a tombstone"
    return value


REMEMBER_REPEAT = "insert into repeated (idempotency_key) values (%s)"


def receive(
    connection: Connection, name: str, key: str, payment: PaymentSuccess, effect: Effect
) -> bool:
    """Applies the message of this key, or counts it where it was applied before.

    Returns whether it was applied. Raises psycopg.Error, and what the effect raises.
    """
    return apply_or_count(connection, name, key, lambda: effect(connection, payment))


def apply_or_count(connection: Connection, name: str, key: str, effect: Callable[[], None]) -> bool:
    """Runs `effect` unless the message of this key had it before, which is counted.

    Returns whether it ran. Raises psycopg.Error, and what the effect raises.
    """
    is_new = apply_once(connection, name, key, effect)
    if not is_new:
        with bounded_transaction(connection):
            connection.execute(REMEMBER_REPEAT, [key])
    return is_new


def idempotency_key(message: Message) -> str:
    """The one identity that a message keeps, however often it is sent."""
    headers = dict(message.headers() or [])
    key = headers["idempotency-key"]
    return key.decode() if isinstance(key, bytes) else str(key)


def _commit_offsets(consumer: Consumer) -> None:
    """After the transactions: who dies in between gets messages again and ignores them."""
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as error:
        print(f"offsets not committed, so they come again: {error}", file=sys.stderr)
