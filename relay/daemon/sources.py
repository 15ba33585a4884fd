"""The sources of one relay: a thread for each, by what rows there are."""

import threading
import time
from contextlib import suppress

import psycopg
import structlog
from psycopg import errors

from relay.daemon.retry import until_stopped
from relay.database import Connection, connect, transaction
from relay.log.path import OwnPath
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry
from relay.process import heap
from relay.process.heartbeat import Heartbeat, Watch
from relay.settings import Settings
from relay.sources import source as rows
from relay.sources.intake import session
from relay.sources.intakes import intake_of
from relay.sources.source import Changed, Source, Stopped

logger = structlog.get_logger()

# Every call to a cluster or a queue has a deadline, and a few of them are one turn. One that takes
# longer will not return. So many threads are left standing in such calls, and others take their
# places; then their sources wait.
STUCK_SECONDS = 90.0
MAX_ABANDONED = 3


class Sources:
    """All of one relay. `path` is told what goes out says of where it was."""

    def __init__(self, settings: Settings, telemetry: Telemetry, path: OwnPath) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._path = path
        self._of: dict[Source, SourceWorker] = {}
        self._ending: list[SourceWorker] = []
        self._abandoned: list[SourceWorker] = []
        self._watch = Watch()

    def update(self, connection: Connection, relays: int) -> None:
        """By what sources and relays there are now. Raises psycopg.Error."""
        with transaction(connection):
            wanted = set(rows.active(connection))
            self._path.installation = rows.installation_with_sources(connection)
        self._replace_stuck()
        for source, worker in list(self._of.items()):
            # One that has stopped by itself may have been resumed since.
            if source not in wanted or worker.stopped:
                worker.stop()
                self._ending.append(self._of.pop(source))
        for source in wanted - self._of.keys():
            if not self._stands_in_its_way(source):
                self._of[source] = SourceWorker(source, self._settings, self._telemetry)
        for worker in self._of.values():
            worker.intake.relays = relays
        self._ending = [one for one in self._ending if one.alive]
        self._telemetry.keep_sources({one.name for one in wanted})

    def _replace_stuck(self) -> None:
        """Gives up those that stand in a call which should have returned."""
        self._watch.look()
        self._abandoned = [one for one in self._abandoned if one.alive]
        for source, worker in list(self._of.items()):
            still_seconds = self._watch.still_seconds(worker.still_seconds)
            if still_seconds < STUCK_SECONDS:
                continue
            worker.stop()
            self._abandoned.append(self._of.pop(source))
            self._telemetry.source_fault(source.name, "stuck")
            logger.error(
                "call_does_not_return",
                connector=source.name,
                seconds=round(still_seconds, 1),
                effect="its thread is given up"
                + ("" if self._stands_in_its_way(source) else ", and another takes its place"),
            )
        self._telemetry.abandoned_sources = len(self._abandoned)

    def _stands_in_its_way(self, source: Source) -> bool:
        """Whether it waits until a call returns that was given up."""
        own = any(one.source.id == source.id for one in self._abandoned)
        return own and len(self._abandoned) >= MAX_ABANDONED

    @property
    def busy(self) -> bool:
        """Whether one has not come to the end of what it reads yet, and tries."""
        return any(one.busy for one in self._of.values())

    @property
    def at_work(self) -> bool:
        """Whether one is at what ends by itself: its first turn, or a batch."""
        return any(one.opening or one.intake.at_work for one in self._of.values())

    @property
    def progress(self) -> int:
        """How many records have entered."""
        return sum(one.intake.entered for one in self._of.values())

    @property
    def faults(self) -> dict[str, str]:
        """Why one can't read now, by name."""
        return {one.name: fault for one, worker in self._of.items() if (fault := worker.fault)}

    @property
    def behind(self) -> list[str]:
        """Those that have not come to the end, whether they can read or not."""
        return [one.name for one, worker in self._of.items() if worker.busy or worker.fault]

    def stop(self) -> None:
        """The batch that is under way is the last of each."""
        for worker in self._of.values():
            worker.stop()

    def join(self, deadline: float) -> None:
        """Waits for their ends, until `deadline` by time.monotonic()."""
        for worker in (*self._of.values(), *self._ending):
            worker.join(max(deadline - time.monotonic(), 0.0))


class SourceWorker:
    """Takes in one source until it is stopped, or stops at a question."""

    def __init__(self, source: Source, settings: Settings, telemetry: Telemetry) -> None:
        self.source = source
        self.intake = intake_of(source, settings, telemetry)
        # Why the last session failed.
        self.fault: str | None = None
        self._settings = settings
        self._telemetry = telemetry
        self._heartbeat = Heartbeat()
        self._stop = threading.Event()
        heap.collect_seldom()
        self._thread = threading.Thread(
            target=until_stopped,
            args=(self._session, self._stop, Exception, self._failed),
            name=f"source {source.name}",
            daemon=True,
        )
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread has not ended."""
        return self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        """Whether it takes in nothing more."""
        return self._stop.is_set()

    @property
    def busy(self) -> bool:
        """Whether there may be more to take in, as far as it can be read."""
        return not self._stop.is_set() and self.fault is None and not self.intake.caught_up

    @property
    def opening(self) -> bool:
        """Whether its first session is being made."""
        return not self._stop.is_set() and self.fault is None and not self.intake.well

    @property
    def still_seconds(self) -> float:
        """Since its thread last got on."""
        return self._heartbeat.still_seconds

    def stop(self) -> None:
        """The batch under way is the last."""
        self._stop.set()

    def join(self, timeout_seconds: float) -> None:
        """Waits for the thread's end, after a stop."""
        self._thread.join(timeout_seconds)

    def _session(self) -> None:
        self._heartbeat.watch()
        try:
            with connect(self._settings, self._heartbeat) as connection:
                self._take_in(connection)
        finally:
            self._heartbeat.rest()

    def _take_in(self, connection: Connection) -> None:
        try:
            session(self.intake, connection, self._keep_on)
        except SinkAway as away:
            # What holds its row may hold it still.
            with suppress(errors.LockNotAvailable):
                self._write(connection, rows.note_waiting, f"relay {self._settings.name}: {away}")
            raise
        except Stopped as question:
            self._write(connection, rows.stop, str(question))
            logger.error("source_stopped", connector=self.source.name, reason=str(question))
            self._stop.set()
        except Changed:
            # By what it is now another worker begins.
            self._stop.set()
        finally:
            # Not where the connection failed, or another session holds the rows.
            with suppress(psycopg.Error):
                self.intake.outlive(connection)

    def _keep_on(self) -> bool:
        self._heartbeat.beat()
        if self.intake.well:
            self.fault = None
        return not self._stop.is_set()

    def _write(self, connection: Connection, note: "rows.Note", words: str) -> None:
        """Unless the source is another by now: what an operator has just changed is no more so."""
        with self.intake.transaction(connection):
            if rows.active(connection, self.source.id) == [self.source]:
                note(connection, self.source.id, words)

    def _failed(self, fault: BaseException) -> None:
        self.fault = str(fault).strip() or type(fault).__name__
        kind = (
            "broker"
            if isinstance(fault, SinkAway)
            else "database"
            if isinstance(fault, psycopg.Error)
            else "internal"
        )
        self._telemetry.source_fault(self.source.name, kind)
        logger.warning(
            "session_failed",
            connector=self.source.name,
            kind=kind,
            fault=self.fault,
            exc_info=fault if kind == "internal" else None,
        )
