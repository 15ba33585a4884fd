"""One thread's work in this relay, with a session of its own: of one subscription, or of several.

What is slow or down for one worker delays no other.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import psycopg
import structlog
from psycopg import errors

from relay.daemon.retry import MAX_WAIT_SECONDS, until_stopped
from relay.log.cursor import Cursor, SinkSettings
from relay.log.run import Ran, Runs
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat
from relay.push.fair_turns import Owner

logger = structlog.get_logger()

# One run at what can't go takes less, also on a busy machine; working off a backlog takes longer.
AT_WORK_SECONDS = 1.0
# How many subscriptions a line of the log names.
MAX_NAMED = 20
# How long at most until a connector's cluster that is away is tried again. There may be many, for
# ever, and each try is a client with its threads.
MAX_AWAY_SECONDS = 60.0
# The names of some hold all that names a cluster.
MAX_THREAD_NAME = 60

R = TypeVar("R", bound=Runs)
OpenSession = Callable[[Sequence[Cursor], Heartbeat], AbstractContextManager[R]]


class Worker(ABC, Generic[R]):
    """Works off the cursors that are offered to it, until it is stopped."""

    def __init__(
        self,
        name: str,
        *,
        telemetry: Telemetry,
        sessions: OpenSession[R],
        turned: Callable[[], None],
    ) -> None:
        self.name = name
        # How many runs got on, and why the last session failed: what `--once` looks at.
        self.progress = 0
        self.fault: str | None = None
        self._telemetry = telemetry
        self._sessions = sessions
        self._stop = threading.Event()
        self._turned = turned
        self._condition = threading.Condition()
        self._offered: dict[int, Cursor] = {}
        self._busy = False
        self._heartbeat = Heartbeat()
        self._began_at = 0.0
        # What the latest session was opened for: the connectors' cluster, empty for the
        # environment's, and which API key had made that.
        self._opened_for = SinkSettings()
        self.cluster = ""
        self.made_by: Owner = None
        self._thread = threading.Thread(
            target=until_stopped,
            args=(self._session, self._stop, Exception, self._note),
            kwargs={"longest": self._longest_wait, "wait": self._wait_again},
            name=f"worker {name}"[:MAX_THREAD_NAME],
            daemon=True,
        )

    def start(self) -> None:
        """Its thread begins to wait for offers."""
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do and could take an offer."""
        return not self._busy and (not self._offered or self._stop.is_set())

    @property
    def at_work(self) -> bool:
        """Whether its run has been under way for a while, or its session in coming, without a
        fault. What can't go may be offered again before a run at it ends, on and on.
        """
        long = time.monotonic() - self._began_at > AT_WORK_SECONDS
        return long and not self.idle and self.fault is None

    @property
    def still_seconds(self) -> float:
        """How long it has stood in one call that should have returned; 0 where nothing is due."""
        return self._heartbeat.still_seconds

    @property
    def alive(self) -> bool:
        """Whether its thread has not ended."""
        return self._thread.is_alive()

    @property
    @abstractmethod
    def subscriptions(self) -> Sequence[str]:
        """Whose cursors it is at work on, or was last."""

    def abandon(self) -> None:
        """Lets go from outside what its thread holds, which may never return."""
        self._stop.set()
        self._heartbeat.let_go()

    def offer(self, cursors: Sequence[Cursor]) -> None:
        """Cursors that have work."""
        with self._condition:
            if self._takes_offer:
                if self.idle:
                    self._began_at = time.monotonic()
                self._offered.update((cursor.id, cursor) for cursor in cursors)
                self._condition.notify()

    def stop(self) -> None:
        """The run that is under way is the last."""
        self._stop.set()
        with self._condition:
            self._condition.notify()

    def join(self, timeout_seconds: float) -> None:
        """Waits for the thread's end, after a stop."""
        self._thread.join(timeout_seconds)

    @property
    @abstractmethod
    def _takes_offer(self) -> bool:
        """Whether an offer is welcome now."""

    @abstractmethod
    def _serve(self, runs: R, offered: Sequence[Cursor]) -> bool:
        """Runs until nothing more can go; False: the session is of no use for these cursors."""

    @abstractmethod
    def _failed(self, fault: Exception) -> None:
        """What follows from a session's fault for the next one."""

    def _session(self) -> None:
        """One session, for as long as it holds and is of use.

        Returns at a stop, and where a session that had got on fails: the next begins at once.
        """
        offered = self._wait()
        if not offered or self._stop.is_set():
            return
        progress = self.progress
        first = offered[0]
        self._opened_for = first.sink_settings
        self.cluster, self.made_by = first.other_cluster, first.made_by
        try:
            with self._sessions(offered, self._heartbeat) as runs:
                while not self._stop.is_set():
                    if offered and not self._work(runs, offered):
                        return
                    offered = self._wait()
        except Exception as fault:
            self._failed(fault)
            if self.progress == progress:
                raise
            self._note(fault)
        finally:
            self._heartbeat = Heartbeat()

    def _longest_wait(self, fault: BaseException) -> float:
        """How long at most until the next session, after this fault of one."""
        is_away = isinstance(fault, SinkAway) and self.cluster
        return MAX_AWAY_SECONDS if is_away else MAX_WAIT_SECONDS

    def _wait_again(self, seconds: float) -> bool:
        """Waits for so long; true at a stop, and where what there is to do goes elsewhere by now,
        or in another way.
        """

        def is_over() -> bool:
            terms = (self._opened_for.cluster, self._opened_for.delivery)
            return self._stop.is_set() or any(
                (cursor.sink_settings.cluster, cursor.sink_settings.delivery) != terms
                for cursor in self._offered.values()
            )

        with self._condition:
            return self._condition.wait_for(is_over, seconds)

    def _wait(self) -> Sequence[Cursor]:
        with self._condition:
            self._condition.wait_for(lambda: self._offered or self._stop.is_set(), 1.0)
            return list(self._offered.values())

    def _work(self, runs: R, offered: Sequence[Cursor]) -> bool:
        self._busy = True
        try:
            is_of_use = self._serve(runs, offered)
            runs.rest()
        finally:
            self._busy = False
        self._heartbeat.rest()
        if is_of_use:
            self._turned()
        return is_of_use

    def _run(
        self, runs: R, cursors: Sequence[Cursor], limit: int, *, again: bool
    ) -> dict[int, Ran]:
        self._heartbeat.beat()
        self._began_at = time.monotonic()
        ran = dict(runs.run(cursors, limit, again=again))
        moved = sum(one.progressed for one in ran.values())
        if moved:
            self.progress += moved
            self.fault = None
        return ran

    def _note(self, fault: BaseException) -> None:
        self.fault = str(fault).strip() or type(fault).__name__
        match fault:
            case SinkAway():
                kind = "broker"
            case errors.UniqueViolation():
                kind = "fenced"
            case psycopg.Error():
                kind = "database"
            case _:
                kind = "internal"
        names = self.subscriptions
        for name in names:
            self._telemetry.fault(name, kind)
        logger.warning(
            "session_failed",
            subscription=names[0] if len(names) == 1 else None,
            subscriptions=names[:MAX_NAMED] if len(names) > 1 else None,
            kind=kind,
            fault=self.fault,
            exc_info=fault if kind == "internal" else None,
        )
