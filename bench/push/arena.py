"""Where pushes are measured: one Postgres 18 of the benchmark's own, endpoints, and no Kafka."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from bench.arena import COMMAND_TIMEOUT_SECONDS, POSTGRES_SETTINGS, Arena
from bench.push.endpoints import Endpoints
from local.postgres import Postgres
from local.program import script
from local.server import StartError
from local.stack import temporary_directory

# A session for each subscription; and no checkpoint falls between a fill and its drain.
SETTINGS = {**POSTGRES_SETTINGS, "max_connections": "300", "max_wal_size": "32GB"}
# Nothing listens there.
NO_KAFKA = "127.0.0.1:9"


class PushArena(Arena):
    """A migrated database without a subscription, the endpoints, and the processes to measure."""

    def __init__(self, directory: Path, postgres: Postgres, endpoints: Endpoints) -> None:
        self.directory = directory
        self.postgres = postgres
        self.endpoints = endpoints
        self.database_url = postgres.dsn()

    @classmethod
    @contextmanager
    def start_all(cls) -> Iterator[Self]:
        """Raises local.server.StartError."""
        with ExitStack() as stack:
            directory = stack.enter_context(temporary_directory())
            postgres = stack.enter_context(
                Postgres.start(directory / "postgres", settings=SETTINGS)
            )
            endpoints = stack.enter_context(Endpoints(directory))
            arena = cls(directory, postgres, endpoints)
            with arena._program("migrate", script("outbox-relay"), "migrate") as migrate:
                if migrate.wait(COMMAND_TIMEOUT_SECONDS):
                    raise StartError(f"outbox-relay migrate failed:\n{migrate.log_tail()}")
            with arena.connect() as connection:
                connection.execute("delete from outbox.subscription")
            yield arena

    @property
    def environment(self) -> dict[str, str]:
        """What the relay is started with; endpoints on the loopback are allowed."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RELAY_", "SERVICE_", "KAFKA_", "OUTBOX_"))
        }
        return {
            **inherited,
            "DATABASE_URL": self.database_url,
            "KAFKA_BOOTSTRAP_SERVERS": NO_KAFKA,
            "RELAY_ALLOW_NETWORKS": "127.0.0.0/8",
            # Whom to believe over TLS, for the relay and for the bare loop alike.
            "SSL_CERT_FILE": str(self.endpoints.authority),
        }
