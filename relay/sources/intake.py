"""What the intakes of topics and of queues have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Generic, Protocol, TypeVar

import structlog
from psycopg import errors

from relay.database import Connection, transaction
from relay.monitoring.telemetry import Telemetry
from relay.process.interval import Interval
from relay.settings import Settings
from relay.sources.dead_letters import DeadLetter
from relay.sources.redrive import redrive_due
from relay.sources.source import Source, demand_unchanged, installation, note_waiting

logger = structlog.get_logger()

# A relay that freezes in the middle of a batch gives back what it has locked: by the timeout where
# it is idle, and by its name, as relay/daemon/frozen_relays.py knows it, in the middle of a COPY.
BOUNDS = """
    select set_config('idle_in_transaction_session_timeout', '10s', true),
           set_config('application_name', %s, true)
"""
# How often another relay's word that it can't read is taken back by one that can.
WELL_SECONDS = 30.0


class Closing(Protocol):
    """What a session reads from."""

    def close(self) -> None: ...


From = TypeVar("From", bound=Closing)


class Intake(ABC, Generic[From]):
    """Of one source, by one thread. `relays` is how many share the work."""

    def __init__(self, source: Source, settings: Settings, telemetry: Telemetry) -> None:
        self.source = source
        self.relays = 1
        # Whether all that is there has entered, as far as it is this relay's to read.
        self.caught_up = False
        # Whether this session has read, or has found that there is nothing to read.
        self.well = False
        # Whether it is at what has an end of its own, however long that takes.
        self.at_work = False
        self.entered = 0
        self._settings = settings
        self._telemetry = telemetry
        self._installation = ""
        self._bounds = (f"outbox-relay {settings.name} source {source.id}",)
        self._noting = Interval(WELL_SECONDS)

    def begin(self, connection: Connection) -> From:
        """A session. Raises SinkAway, Stopped and psycopg.Error."""
        self.caught_up = self.well = False
        self._noting = Interval(WELL_SECONDS)
        self._installation = installation(connection)
        return self.open()

    @abstractmethod
    def open(self) -> From:
        """Makes the client. Raises SinkAway."""

    @abstractmethod
    def run(self, connection: Connection, reading: From) -> None:
        """Looks around where it is time to, and takes in one batch. Raises as `begin`, and Changed
        where the source is no longer what it was.
        """

    @contextmanager
    def working(self) -> Iterator[None]:
        """In here it is at work, also within another such block."""
        before, self.at_work = self.at_work, True
        try:
            yield
        finally:
            self.at_work = before

    def leave(self, connection: Connection, reading: From) -> None:
        """Ends what is under way. Another relay may go on at once. Raises as `run`."""

    def outlive(self, connection: Connection) -> None:
        """Notes that a session failed and this process did not. Raises psycopg.Error."""

    def look(self, connection: Connection) -> None:
        """Whether it still is to be read, and what is due; in the transaction under way."""
        demand_unchanged(connection, self.source)
        self.entered += redrive_due(connection, self.source, self._installation)

    def note_well(self, connection: Connection) -> None:
        """It can read."""
        self.well = True
        if self._noting.begin_if_over():
            # What is noted can wait for a session that keeps its row locked. What is read can't.
            with suppress(errors.LockNotAvailable), self.transaction(connection):
                note_waiting(connection, self.source.id, None)

    @contextmanager
    def transaction(self, connection: Connection) -> Iterator[None]:
        """One that ends if this relay freezes in it: what it locks are rows that others need."""
        with transaction(connection):
            connection.execute(BOUNDS, self._bounds)
            yield

    def count(self, entered: int, passed: int, dead: Sequence[DeadLetter]) -> None:
        """What became of a batch that committed."""
        self.entered += entered
        self._telemetry.taken_in(self.source.name, entered, passed, len(dead))
        if dead:
            logger.warning(
                "records_refused",
                connector=self.source.name,
                number=len(dead),
                first=str(dead[0].detail)[:200],
                hint="outbox-relay connectors dead-letters",
            )


def session(intake: Intake[From], connection: Connection, keep_on: Callable[[], bool]) -> None:
    """Takes in until `keep_on()` is false. Raises as Intake.begin and Intake.run."""
    reading = intake.begin(connection)
    with closing(reading):
        while keep_on():
            intake.run(connection, reading)
        intake.leave(connection, reading)
