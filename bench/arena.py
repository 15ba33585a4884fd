"""Where everything is measured: one Postgres 18 and one Kafka of the benchmark's own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg

from local.kafka import Kafka, create_topic
from local.postgres import Postgres
from local.program import Program, script
from local.server import StartError, free_port
from local.stack import temporary_directory

Connection = psycopg.Connection[Any]

POSTGRES_SETTINGS = {
    # Freezing bulk-loaded rows, and whole pages after a checkpoint, would count as the relay's WAL.
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "8GB",
    "log_line_prefix": "%p ",
}
CANDIDATE_TIMEOUT_SECONDS = 300
COMMAND_TIMEOUT_SECONDS = 120


class Arena:
    """Both servers, a migrated database, and the processes under measurement.

    DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS are left alone here: the benchmark truncates tables
    and reads its servers' logs and processes.
    """

    def __init__(self, directory: Path, postgres: Postgres, kafka: Kafka) -> None:
        self.directory = directory
        self.postgres = postgres
        self.kafka = kafka
        self.database_url = postgres.dsn()

    @classmethod
    @contextmanager
    def open(
        cls,
        postgres_settings: Mapping[str, str] = {},
        kafka_settings: Mapping[str, str] = {},
    ) -> Iterator[Self]:
        """Starts the servers and migrates. The settings win over the benchmark's usual ones.

        Raises local.server.StartError.
        """
        with ExitStack() as stack:
            directory = stack.enter_context(temporary_directory())
            settings = {**POSTGRES_SETTINGS, **postgres_settings}
            postgres = stack.enter_context(
                Postgres.start(directory / "postgres", settings=settings)
            )
            kafka = stack.enter_context(Kafka.start(directory / "kafka", settings=kafka_settings))
            arena = cls(directory, postgres, kafka)
            with arena._program("migrate", script("outbox-relay"), "migrate") as migrate:
                if migrate.wait(COMMAND_TIMEOUT_SECONDS):
                    raise StartError(f"outbox-relay migrate failed:\n{migrate.log_tail()}")
            yield arena

    @property
    def environment(self) -> dict[str, str]:
        """What service and relay are started with."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RELAY_", "SERVICE_", "KAFKA_", "WEBHOOK_", "OUTBOX_"))
        }
        return {
            **inherited,
            "DATABASE_URL": self.database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
        }

    @property
    def logged_database_url(self) -> str:
        """The same database; every statement of such a session is a line in the server's log."""
        return f"{self.database_url}?options=-c%20log_statement%3Dall"

    def connect(self) -> Connection:
        """A session in autocommit mode."""
        return psycopg.connect(self.database_url, autocommit=True)

    @contextmanager
    def old_snapshot(self) -> Iterator[None]:
        """Another session that took its snapshot now and keeps it."""
        with self.connect() as connection:
            connection.execute("begin isolation level repeatable read")
            connection.execute("select")
            yield
            connection.execute("rollback")

    def make_topic(self, name: str, config: Mapping[str, str] = {}) -> None:
        """A topic of four partitions; `config` are its properties."""
        create_topic(self.kafka.bootstrap_servers, name, 4, **config)

    def relay(self, *, database_url: str | None = None, port: int | None = None) -> Program:
        """`outbox-relay run`, ready; its metrics are on `port`."""
        port = port or free_port()
        changed = {"DATABASE_URL": database_url or self.database_url, "RELAY_PORT": str(port)}
        return self._program(
            "relay", script("outbox-relay"), "run", ready_port=port, environment=changed
        )

    def service(self) -> tuple[Program, int]:
        """`outbox-service`, ready, and its port."""
        port = free_port()
        program = self._program(
            "service",
            script("outbox-service"),
            ready_port=port,
            environment={"SERVICE_PORT": str(port)},
        )
        return program, port

    def _program(
        self,
        name: str,
        *command: str | Path,
        ready_port: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> Program:
        return Program.start(
            name,
            command,
            log=self.directory / f"{name}.log",
            environment={**self.environment, **(environment or {})},
            ready_url=None if ready_port is None else f"http://127.0.0.1:{ready_port}/readyz",
        )

    def start(self, module: str, *arguments: object) -> "subprocess.Popen[str]":
        """A module of this package as a process of its own; it prints JSON in the end."""
        command = [sys.executable, "-m", f"bench.{module}", *map(str, arguments)]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)

    def result(self, process: "subprocess.Popen[str]") -> Any:
        """What the process measured. Raises RuntimeError where it failed."""
        try:
            output, _ = process.communicate(timeout=CANDIDATE_TIMEOUT_SECONDS)
        except BaseException:
            process.kill()
            raise
        if process.returncode:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        return json.loads(output)

    def measure(self, module: str, *arguments: object) -> Any:
        """`start` and `result`."""
        return self.result(self.start(module, *arguments))
