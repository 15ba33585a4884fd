"""Postgres and Kafka together, from the environment where it names them, else started here."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import psycopg
from confluent_kafka import KafkaError, KafkaException
from psycopg import sql

from local.kafka import Kafka, create_topic
from local.postgres import Postgres

DATABASE = "outbox"


class Stack:
    """What the service and the relay need to run.

    database_url: of a database that `outbox-relay migrate` may be run on, with its owner's rights.
    bootstrap_servers: Kafka's, host:port.
    postgres, kafka: the servers, None where the environment named others.
    """

    def __init__(
        self,
        database_url: str,
        bootstrap_servers: str,
        postgres: Postgres | None,
        kafka: Kafka | None,
    ):
        self.database_url = database_url
        self.bootstrap_servers = bootstrap_servers
        self.postgres = postgres
        self.kafka = kafka
        self._exit = ExitStack()

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        *,
        postgres_settings: Mapping[str, str] = {},
        kafka_settings: Mapping[str, str] = {},
        quick_start: bool = False,
    ) -> Self:
        """Start what DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS do not name, both at once.

        The data lies in `directory`; without one, in a temporary folder that goes with the stack.
        Other users of this machine can't get into the Postgres; Kafka asks for no password.
        Raises local.server.StartError.
        """
        with ExitStack() as exit_stack:
            database_url = os.environ.get("DATABASE_URL")
            bootstrap_servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
            if directory is None and not (database_url and bootstrap_servers):
                directory = exit_stack.enter_context(temporary_directory())

            def start_postgres() -> Postgres | None:
                if database_url or directory is None:
                    return None
                postgres = Postgres.start(
                    directory / "postgres", settings=postgres_settings, with_password=True
                )
                return exit_stack.enter_context(postgres)

            def start_kafka() -> Kafka | None:
                if bootstrap_servers or directory is None:
                    return None
                kafka = Kafka.start(
                    directory / "kafka", settings=kafka_settings, quick_start=quick_start
                )
                return exit_stack.enter_context(kafka)

            with ThreadPoolExecutor(2) as pool:
                starts = pool.submit(start_postgres), pool.submit(start_kafka)
            postgres, kafka = starts[0].result(), starts[1].result()
            if postgres is not None:
                create_database(postgres, DATABASE)
                database_url = postgres.dsn(DATABASE)
            if kafka is not None:
                bootstrap_servers = kafka.bootstrap_servers
            assert database_url is not None
            assert bootstrap_servers is not None
            stack = cls(database_url, bootstrap_servers, postgres, kafka)
            stack._exit = exit_stack.pop_all()
            return stack

    def make_topics(self, names: Iterable[str], partitions: int = 4) -> None:
        """Make the topics that are not there yet. Raises confluent_kafka.KafkaException."""
        for name in names:
            try:
                create_topic(self.bootstrap_servers, name, partitions)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def stop(self) -> None:
        """Stop what was started here and remove a temporary folder."""
        self._exit.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def temporary_directory(parent: Path | None = None) -> Iterator[Path]:
    """A new folder that goes in the end; a server under another user may pass through it.

    In `parent`, or where temporary files go.
    """
    with tempfile.TemporaryDirectory(
        prefix="outbox-", dir=parent, ignore_cleanup_errors=True
    ) as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory


def create_database(postgres: Postgres, name: str) -> None:
    """Create a database unless it is there."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        present = connection.execute("select from pg_database where datname = %s", [name])
        if present.fetchone() is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
