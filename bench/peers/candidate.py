"""What is compared: a table that its users write to, and the processes that empty it into Kafka."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, LiteralString

from bench.arena import Arena, Connection
from local.program import Program


class Candidate(ABC):
    """One row of the comparison.

    `fill` puts the messages 1 to %(messages)s for the channel %(topic)s into the table, with the
    payloads, groups and columns of `publish`, which is what a user's transaction runs for one.
    """

    name: str
    truncate: ClassVar[LiteralString]
    fill: ClassVar[Sequence[LiteralString]]
    publish: ClassVar[LiteralString]

    @property
    def channel(self) -> str:
        """Where its messages are published to."""
        return f"peers.{self.name}"

    @property
    def topic(self) -> str:
        """Where they arrive."""
        return self.channel

    @abstractmethod
    def run(self, arena: Arena) -> AbstractContextManager[Sequence[Program]]:
        """Its table and its processes, ready. Raises local.server.StartError."""

    def fill_table(self, connection: Connection, messages: int) -> None:
        """Inside the caller's transaction: a backlog becomes visible at once, by its commit."""
        for statement in self.fill:
            connection.execute(statement, {"topic": self.channel, "messages": messages})

    def versions(self) -> list[str]:
        """What it is made of, beyond what all have in common."""
        return []
