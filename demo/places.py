"""Where the demo keeps things: databases and topics of its own, gone when it ends."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
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
from demo.queue import Queue
from demo.subscribers import records
from demo.subscriptions import SUBSCRIBERS
from local.elasticmq import ElasticMQ
from local.kafka import Kafka
from local.stack import Stack

CHANNELS = ("orders.lifecycle", "payment.success", "payment.unapplied", inventory.CHANNEL)
CONSUMERS = (inventory.NAME, finance.NAME)
QUEUE = "stock.fifo"
OPENING_STOCK = 5_000
ADMIN_TIMEOUT_SECONDS = 10.0

ROOT = Path(__file__).parent.parent
INBOX = ROOT / "sql" / "inbox.sql"
SCRIPTS = Path(__file__).parent / "consumers"
REPEATED = SCRIPTS / "consumer.sql"


class Servers(msgspec.Struct, frozen=True):
    """The company's own Postgres and Kafka, and what others have: another Kafka, and SQS."""

    stack: Stack
    other_kafka: Kafka
    sqs: ElasticMQ

    def kill(self) -> None:
        """All but Postgres: an orderly stop takes seconds, and their data go anyway."""
        for server in (self.stack.kafka, self.other_kafka, self.sqs):
            if server is not None:
                server.kill()


class Places(msgspec.Struct, frozen=True):
    """Connection strings, of the service's database and of each consumer's; names in Kafka.

    `prefix` stands before topics and consumer groups; `records` are the subscribers' own files.
    `other_bootstrap_servers` and `queue` are where the connectors lead.
    """

    sale: str
    books: dict[str, str]
    bootstrap_servers: str
    prefix: str
    records: dict[str, Path]
    other_bootstrap_servers: str
    queue: Queue

    def topic(self, channel: str) -> str:
        return self.prefix + channel

    def group(self, consumer: str, *, anew: bool = False) -> str:
        """A consumer's group; `anew`: one without offsets, which begins at the beginning."""
        return f"{self.prefix}{consumer}{'.anew' if anew else ''}"

    def topics(self) -> list[str]:
        return [self.topic(channel) for channel in CHANNELS]

    @property
    def other_topic(self) -> str:
        """Of inventory.updates, in the other Kafka."""
        return self.topic("stock")


@contextmanager
def servers(directory: Path) -> Iterator[Servers]:
    """Postgres and Kafka, those of the environment or new ones; what others have is new.

    Raises StartError.
    """
    with ExitStack() as started, ThreadPoolExecutor(1) as pool:

        def start_others() -> tuple[Kafka, ElasticMQ]:
            # One after the other, so that their jars are not fetched at once.
            kafka = Kafka.start(directory / "kafka-2", quick_start=True)
            started.enter_context(kafka)
            return kafka, started.enter_context(ElasticMQ.start(directory / "elasticmq.log"))

        starting = pool.submit(start_others)
        stack = started.enter_context(Stack.start(directory, quick_start=True))
        here = Servers(stack, *starting.result())
        try:
            yield here
        finally:
            here.kill()


@contextmanager
def places(servers: Servers, directory: Path) -> Iterator[Places]:
    """Fresh databases, topics and a queue on the servers, with names of their own; files.

    The sale database is empty: `outbox-relay migrate` fills it. Servers that the demo did not start
    are left as they were found.
    """
    stack = servers.stack
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
        other_bootstrap_servers=servers.other_kafka.bootstrap_servers,
        queue=Queue(servers.sqs.url(QUEUE), servers.sqs.ask),
    )
    try:
        administer(stack.database_url, "create database {}", names)
        for consumer in CONSUMERS:
            open_books(here.books[consumer], consumer)
        for record in here.records.values():
            records.make(record)
        stack.make_topics(here.topics())
        servers.other_kafka.create_topic(here.other_topic)
        servers.sqs.create_queue(QUEUE)
        yield here
    finally:
        if stack.postgres is None:
            administer(stack.database_url, "drop database if exists {} with (force)", names)
        if stack.kafka is None:
            delete_topics(here.bootstrap_servers, here.topics())


def run_scripts(database_url: str, scripts: Iterable[Path]) -> None:
    """Makes tables, in one transaction."""
    with psycopg.connect(database_url) as connection:
        for script in scripts:
            connection.execute(script.read_bytes())


ADD_PRODUCT = "insert into inventory.stock (product, opening, on_hand) values (%s, %s, %s)"


def open_books(database_url: str, consumer: str) -> None:
    """Makes a consumer's tables in its empty database: the inbox and its own."""
    run_scripts(database_url, [INBOX, REPEATED, SCRIPTS / f"{consumer}.sql"])
    if consumer == inventory.NAME:
        rows = [(product, OPENING_STOCK, OPENING_STOCK) for product in PRICES]
        with psycopg.connect(database_url) as connection:
            connection.cursor().executemany(ADD_PRODUCT, rows)


def administer(database_url: str, statement: str, names: Iterable[str]) -> None:
    """Runs a statement with each name in the place of {}, each in a transaction of its own."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def delete_topics(bootstrap_servers: str, names: list[str]) -> None:
    """Of a Kafka that goes on. The groups it forgets by itself, once their sessions are over."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
    answers = admin.delete_topics(names, request_timeout=ADMIN_TIMEOUT_SECONDS)
    for answer in answers.values():
        with suppress(KafkaException):
            answer.result(ADMIN_TIMEOUT_SECONDS)
