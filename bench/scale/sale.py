"""Orders of the sale service, paid by pgbench with the service's own statements."""

from pathlib import Path
from typing import Self

import msgspec

from bench import pgbench
from bench.arena import Arena, Connection
from bench.orders import make_orders

MESSAGES = """
select channel, octet_length(payload) from outbox.message order by id
"""
KAFKA_CHANNELS = ("payment.success", "orders.lifecycle")
ENDPOINT_CHANNEL = "orders.lifecycle"


class Published(msgspec.Struct, frozen=True):
    """A message of an order that is paid in full."""

    channel: str
    payload_bytes: int


class Sale:
    """Makes orders and pays them, each one once."""

    def __init__(self, arena: Arena, script: Path, published: list[Published]) -> None:
        self.published = published
        self._arena = arena
        self._script = script
        self._made = self._paid = 1

    @classmethod
    def open(cls, arena: Arena, connection: Connection) -> Self:
        """A service process pays one order: what it publishes, pgbench repeats."""
        connection.execute("truncate outbox.message")
        make_orders(connection, 0, 1)
        service, port = arena.service()
        with service:
            arena.measure("caller", port, 0, 1, 1)
        script = pgbench.write_script(arena, connection, pipelined=True)
        published = [Published(*row) for row in connection.execute(MESSAGES).fetchall()]
        connection.execute("truncate outbox.message")
        return cls(arena, script, published)

    @property
    def mean_payload_bytes(self) -> float:
        return sum(one.payload_bytes for one in self.published) / len(self.published)

    def make(self, connection: Connection, count: int) -> None:
        """Orders that wait for their payment, on pages that Postgres need not log whole."""
        connection.execute("checkpoint")
        make_orders(connection, self._made, count)
        self._made += count

    def pay(self, count: int, writers: int, rate: int | None = None) -> float:
        """Pays so many of those that were made, by so many sessions; orders a second.

        With a `rate` they come at random times, so many a second; else as fast as they go.
        """
        first, self._paid = self._paid, self._paid + count
        if self._paid > self._made:
            raise RuntimeError(f"{self._made:,} orders were made, and {self._paid:,} are paid")
        limited = () if rate is None else (f"--rate={rate}",)
        return pgbench.pay(self._arena.database_url, self._script, first, count, writers, *limited)
