"""What the documents show does what they say: the login of each command, the consumer."""

import uuid
from collections.abc import Callable

import psycopg
import pytest
from confluent_kafka import Consumer, Producer

from tests.documents import DOCS, ROOT, blocks
from tests.relay.operating import outbox_relay, relay_role

INBOX = ROOT / "sql" / "inbox.sql"

CONNECT = ("connectors", "add", "d", "--channel=d", "--type=kafka", '--config={"brokers": "d:1"}')
OWNERS = [
    ("subscriptions", "add", "c", "--channel", "c", "--endpoint", "https://example.com/in"),
    ("subscriptions", "set", "b", "--setting", "concurrency=3"),
    ("subscriptions", "pause", "b"),
    ("subscriptions", "resume", "b"),
    ("subscriptions", "test", "b"),
    ("subscriptions", "rotate-secret", "b"),
    CONNECT,
    ("subscriptions", "delete", "b", "--discard-undelivered"),
]
RELAYS = [("subscriptions", "retry", "b"), ("dead-letters", "list"), ("rebase",)]
READERS = [("status",), ("subscriptions",), ("connectors",), ("channels", "list")]
SUBSCRIBE = "select from outbox.subscribe('b', 'b', 'https://example.com/in')"


@pytest.mark.long
def test_each_command_needs_the_login_that_operations_names(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SUBSCRIBE)
        with relay_role(connection) as relay, relay_role(connection, "outbox_reader") as reader:

            def ends(url: str, command: tuple[str, ...]) -> tuple[int, bool]:
                ended = outbox_relay(*command, environment={"DATABASE_URL": url})
                return ended.returncode, "permission denied" in ended.stderr

            allowed = [(reader, one) for one in READERS] + [(relay, one) for one in RELAYS]
            assert [(one, ends(url, one)) for url, one in allowed] == [
                (one, (0, False)) for _, one in allowed
            ]
            assert [ends(relay, one) for one in OWNERS] == [(1, True)] * len(OWNERS)
            assert [ends(reader, one) for one in RELAYS[:2]] == [(1, True)] * 2
            assert [(one, ends(database_url, one)) for one in OWNERS] == [
                (one, (0, False)) for one in OWNERS
            ]


def test_the_consumer_applies_what_was_there_before_it_and_each_message_once(
    database_url: str, kafka: str, create_topic: Callable[[str], str]
) -> None:
    (code,) = blocks(DOCS / "consumers.md", "python")
    topic = create_topic("payment.success")
    producer = Producer({"bootstrap.servers": kafka})
    for key in ("first", "first", "last"):
        producer.produce(topic, b"{}", headers={"idempotency-key": key}, partition=0)
    assert producer.flush(30) == 0
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(INBOX.read_bytes())
    applied = []

    def apply(_: psycopg.Connection[object], value: bytes) -> None:
        applied.append(value)

    names = {
        "Consumer": Consumer,
        "psycopg": psycopg,
        "servers": kafka,
        "database_url": database_url,
        "apply": apply,
        "applied": applied,
    }
    code = code.replace("payment.success", topic).replace("while True:", "while len(applied) < 2:")
    code = code.replace('"group.id": "finance"', f'"group.id": "{uuid.uuid4().hex}"')
    exec(code, names)
    consumer = names["consumer"]
    assert isinstance(consumer, Consumer)
    consumer.close()
    with psycopg.connect(database_url) as database:
        keys = database.execute("select idempotency_key from inbox.received order by 1").fetchall()
    assert (applied, keys) == ([b"{}", b"{}"], [("first",), ("last",)])
