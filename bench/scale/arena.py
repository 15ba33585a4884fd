"""Where scale is measured: one Postgres 18, one Kafka, endpoints, and relays between them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from bench.push.arena import PushArena
from local.kafka import Kafka
from local.program import Program
from local.server import free_port

# What a hundred topics may keep on the disk.
KAFKA_SETTINGS = {"log.retention.bytes": "134217728", "log.segment.bytes": "33554432"}


class ScaleArena(PushArena):
    """A migrated database without a subscription, and everything that a subscription leads to."""

    @classmethod
    @contextmanager
    def start_everything(cls) -> Iterator[Self]:
        """Raises local.server.StartError."""
        with ExitStack() as stack:
            pushing = stack.enter_context(PushArena.start_all())
            directory = pushing.directory / "kafka"
            kafka = stack.enter_context(Kafka.start(directory, settings=KAFKA_SETTINGS))
            arena = cls(pushing.directory, pushing.postgres, pushing.endpoints)
            arena.kafka = kafka
            yield arena

    @property
    def environment(self) -> dict[str, str]:
        """What the relays are started with."""
        return {**super().environment, "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers}

    @contextmanager
    def relays(self, number: int) -> Iterator[list[tuple[Program, int]]]:
        """So many, ready, each with the port of its metrics."""
        with ExitStack() as stack:
            ports = [free_port() for _ in range(number)]
            yield [(stack.enter_context(self.relay(port=port)), port) for port in ports]
