"""Where the demo keeps things: databases and topics of its own, gone when it ends."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import msgspec
import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg import sql
from psycopg.conninfo import make_conninfo

from demo.consumers import finance, inventory
from demo.plan import PRICES
from demo.subscribers import records
from demo.subscriptions import SUBSCRIBERS
from local.stack import Stack

CHANNELS = ("orders.lifecycle", "payment.success", "payment.unapplied")
CONSUMERS = (inventory.NAME, finance.NAME)
OPENING_STOCK = 5_000
ADMIN_TIMEOUT_SECONDS = 10.0

ROOT = Path(__file__).parent.parent
INBOX = ROOT / "sql" / "inbox.sql"
SCRIPTS = Path(__file__).parent / "consumers"


class Places(msgspec.Struct, frozen=True):
    """Connection strings, of the service's database and of each consumer's; names in Kafka.

    `prefix` stands before topics and consumer groups; `records` are the subscribers' own files.
    """

    sale: str
    books: dict[str, str]
    bootstrap_servers: str
    prefix: str
    records: dict[str, Path]

    def topic(self, channel: str) -> str:
        return self.prefix + channel

    def group(self, consumer: str, *, anew: bool = False) -> str:
        """A consumer's group; `anew`: one without offsets, which begins at the beginning."""
        return f"{self.prefix}{consumer}{'.anew' if anew else ''}"

    def topics(self) -> list[str]:
        return [self.topic(channel) for channel in CHANNELS]


@contextmanager
def servers(directory: Path) -> Iterator[Stack]:
    """Postgres and Kafka, those of the environment or new ones. Raises StartError.

    A new Kafka is killed in the end: its orderly stop takes seconds, and its data go anyway.
    """
    with Stack.start(directory) as stack:
        try:
            yield stack
        finally:
            if stack.kafka is not None:
                stack.kafka.kill()


@contextmanager
def places(stack: Stack, directory: Path) -> Iterator[Places]:
    """Fresh databases and topics on the stack, with names of their own; files.

    The sale database is empty: `outbox-relay migrate` fills it. Servers that the demo did not start
    are left as they were found.
    """
    name = f"outbox_demo_{uuid4().hex[:8]}"
    names = [name, *(f"{name}_{consumer}" for consumer in CONSUMERS)]
    sale, *books = (make_conninfo(stack.database_url, dbname=each) for each in names)
    prefix = f"{name.replace('_', '-')}."
    here = Places(
        sale=sale,
        books=dict(zip(CONSUMERS, books, strict=True)),
        bootstrap_servers=stack.bootstrap_servers,
        prefix=prefix,
        records={subscriber: directory / f"{subscriber}.sqlite" for subscriber in SUBSCRIBERS},
    )
    try:
        _administer(stack.database_url, "create database {}", names)
        for consumer in CONSUMERS:
            open_books(here.books[consumer], consumer)
        for record in here.records.values():
            records.make(record)
        stack.make_topics(here.topics())
        yield here
    finally:
        if stack.postgres is None:
            _administer(stack.database_url, "drop database if exists {} with (force)", names)
        if stack.kafka is None:
            _leave_kafka(here)


ADD_PRODUCT = "insert into inventory.stock (product, opening, on_hand) values (%s, %s, %s)"


def open_books(database_url: str, consumer: str) -> None:
    """Makes a consumer's tables in its empty database: the inbox and its own."""
    with psycopg.connect(database_url) as connection:
        for script in (INBOX, SCRIPTS / "consumer.sql", SCRIPTS / f"{consumer}.sql"):
            connection.execute(script.read_bytes())
        if consumer == inventory.NAME:
            rows = [(product, OPENING_STOCK, OPENING_STOCK) for product in PRICES]
            connection.cursor().executemany(ADD_PRODUCT, rows)


def _administer(database_url: str, statement: str, names: list[str]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def _leave_kafka(here: Places) -> None:
    """Deletes the topics. The groups Kafka forgets by itself, once their sessions are over."""
    admin = AdminClient({"bootstrap.servers": here.bootstrap_servers, "log_level": 2})
    answers = admin.delete_topics(here.topics(), request_timeout=ADMIN_TIMEOUT_SECONDS)
    for answer in answers.values():
        with suppress(KafkaException):
            answer.result(ADMIN_TIMEOUT_SECONDS)
