"""What the two peers in Python have in common: programs in an environment of their own."""

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, LiteralString

from bench.arena import Arena, Connection
from bench.peers.candidate import Candidate
from bench.peers.environment import python
from bench.writer import message
from local.program import Program
from local.server import StartError, run

COMMAND_TIMEOUT_SECONDS = 60
LISTEN_TIMEOUT_SECONDS = 30

LISTENS = """
select count(*) from pg_stat_activity
where query ilike 'listen%%' and backend_start > %(since)s
"""


class PythonPeer(Candidate):
    """`program` knows the commands schema, publish and relay, each with the database's URL."""

    program: ClassVar[str]
    # The distinct rows of the table, each as one JSON value without what differs by nature.
    distinct_rows: ClassVar[LiteralString]

    @abstractmethod
    def publish_arguments(self, group: str, payload: str) -> list[str]:
        """What the command `publish` needs to send this message."""

    @abstractmethod
    def relay_arguments(self, arena: Arena) -> list[str]:
        """What the command `relay` needs."""

    @contextmanager
    def run(self, arena: Arena) -> Iterator[Sequence[Program]]:
        log = arena.directory / f"{self.name}.log"
        self._command(arena, log, "schema")
        with arena.connect() as connection:
            self._compare(arena, connection, log)
            row = connection.execute("select clock_timestamp()").fetchone()
            assert row is not None
            with Program.start(
                self.name,
                self._line(arena, "relay", *self.relay_arguments(arena)),
                log=log,
                environment=arena.environment,
            ) as program:
                deadline = time.monotonic() + LISTEN_TIMEOUT_SECONDS
                while connection.execute(LISTENS, {"since": row[0]}).fetchone() == (0,):
                    if time.monotonic() > deadline:
                        raise StartError(f"{self.name} does not listen:\n{program.log_tail()}")
                    time.sleep(0.05)
                yield [program]

    def _line(self, arena: Arena, command: str, *arguments: str) -> list[str | Path]:
        # -P: this folder's modules must not stand in for packages of the same name.
        program = Path(__file__).with_name(self.program)
        return [python(), "-P", program, command, arena.database_url, *arguments]

    def _command(self, arena: Arena, log: Path, command: str, *arguments: str) -> None:
        line = self._line(arena, command, *arguments)
        run(f"{self.name} {command}", line, log, timeout_seconds=COMMAND_TIMEOUT_SECONDS)

    def _compare(self, arena: Arena, connection: Connection, log: Path) -> None:
        """Raises StartError unless `fill` and `publish` write the very row that its API writes."""
        connection.execute(self.truncate)
        first = message(self.channel, 1)
        self._command(
            arena, log, "publish", *self.publish_arguments(first["group"], first["payload"])
        )
        with connection.transaction():
            self.fill_table(connection, 1)
        connection.execute(self.publish, first)
        rows = connection.execute(self.distinct_rows).fetchall()
        if len(rows) != 1:
            raise StartError(f"{self.name}'s API writes other rows than the benchmark: {rows[:3]}")
        connection.execute(self.truncate)
