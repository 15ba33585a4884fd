"""Where the saga keeps things: a database for each service, and the topics between them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from demo.places import INBOX, REPEATED, administer, delete_topics, run_scripts
from demo.saga.messages import KAFKA
from demo.saga.purchases import opening_stock
from local.stack import Stack

SERVICES = ("order", "inventory", "payment", "fulfilment")
SCRIPTS = Path(__file__).parent / "services"


class Places(msgspec.Struct, frozen=True):
    """Connection strings by service; `prefix` stands before topics and consumer groups.

    `book` is the payment provider's own file.
    """

    databases: dict[str, str]
    bootstrap_servers: str
    prefix: str
    book: Path

    def topics(self) -> list[str]:
        return [self.prefix + channel for channel in KAFKA]


@contextmanager
def places(stack: Stack, directory: Path, orders: int) -> Iterator[Places]:
    """Fresh databases with each service's tables, and fresh topics; the outboxes are not there yet.

    Servers that the demo did not start are left as they were found.
    """
    name = f"outbox_saga_{uuid4().hex[:8]}"
    names = {service: f"{name}_{service}" for service in SERVICES}
    here = Places(
        databases={
            service: make_conninfo(stack.database_url, dbname=database)
            for service, database in names.items()
        },
        bootstrap_servers=stack.bootstrap_servers,
        prefix=f"{name.replace('_', '-')}.",
        book=directory / "provider.sqlite",
    )
    try:
        administer(stack.database_url, "create database {}", names.values())
        for service in SERVICES:
            make_tables(here.databases[service], service)
        fill_stock(here.databases["inventory"], orders)
        stack.make_topics(here.topics())
        yield here
    finally:
        if stack.postgres is None:
            drop = "drop database if exists {} with (force)"
            administer(stack.database_url, drop, names.values())
        if stack.kafka is None:
            delete_topics(here.bootstrap_servers, here.topics())


def make_tables(database_url: str, service: str) -> None:
    """A service's inbox and its own tables."""
    run_scripts(database_url, [INBOX, REPEATED, SCRIPTS / f"{service}.sql"])


ADD_PRODUCT = "insert into inventory.stock (product, opening, available) values (%s, %s, %s)"


def fill_stock(database_url: str, orders: int) -> None:
    """So much of each product that one of them runs out."""
    rows = [(product, count, count) for product, count in opening_stock(orders).items()]
    with psycopg.connect(database_url) as connection:
        connection.cursor().executemany(ADD_PRODUCT, rows)
