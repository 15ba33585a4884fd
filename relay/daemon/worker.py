"""One subscription's work in this relay: a thread with a session of its own.

What is slow or down for one subscription delays no other.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import psycopg
import structlog
from psycopg import errors

from relay.daemon.retry import until_stopped
from relay.daemon.rounds import Rounds
from relay.log.cursor import Cursor
from relay.log.run import Ran, Runs
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat

logger = structlog.get_logger()

# A look at a topic that is still missing takes less; working off a backlog takes longer.
AT_WORK_SECONDS = 0.25


class SubscriptionWorker:
    """Works off the cursors that are offered to it, until it is stopped."""

    def __init__(
        self,
        subscription: str,
        subscription_id: int,
        *,
        telemetry: Telemetry,
        sessions: Callable[[Cursor, Heartbeat], AbstractContextManager[Runs]],
        turned: Callable[[], None],
    ) -> None:
        self.subscription_id = subscription_id
        self.subscription = subscription
        # How many runs got on, and why the last session failed: what `--once` looks at.
        self.progress = 0
        self.fault: str | None = None
        self._telemetry = telemetry
        self._sessions = sessions
        self._stop = threading.Event()
        self._turned = turned
        self._condition = threading.Condition()
        self._offered: Sequence[Cursor] = ()
        self._heartbeat = Heartbeat()
        self._began_at = 0.0
        self._rounds = Rounds()
        self._thread = threading.Thread(
            target=until_stopped,
            args=(self._session, self._stop, Exception, self._note),
            name=f"worker {subscription}",
            daemon=True,
        )
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do and could take an offer."""
        return not self._offered

    @property
    def at_work(self) -> bool:
        """Whether it has been busy with one offer for a while, without a fault."""
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

    def abandon(self) -> None:
        """Lets go from outside what its thread holds, which may never return."""
        self._stop.set()
        self._heartbeat.let_go()

    def offer(self, cursors: Sequence[Cursor]) -> None:
        """Cursors that have work. Ignored while it is busy: it looks for itself then."""
        with self._condition:
            if not self._offered:
                self._began_at = time.monotonic()
                self._offered = cursors
                self._condition.notify()

    def stop(self) -> None:
        """The run that is under way is the last."""
        self._stop.set()
        with self._condition:
            self._condition.notify()

    def join(self, timeout_seconds: float) -> None:
        """Waits for the thread's end, after a stop."""
        self._thread.join(timeout_seconds)

    def _session(self) -> None:
        """One session, for as long as it holds and the sink settings stay.

        Returns at a stop, and where a session that had got on fails: the next begins at once.
        """
        offered = self._next_offer()
        if not offered:
            return
        progress, sink_settings = self.progress, offered[0].sink_settings
        try:
            with self._sessions(offered[0], self._heartbeat) as runs:
                while not self._stop.is_set():
                    if offered and offered[0].sink_settings != sink_settings:
                        return
                    if offered:
                        self._serve(runs, offered)
                    offered = self._next_offer()
        except Exception as fault:
            # Whatever it was, half a run gets through sooner.
            self._rounds.halve(fault.messages if isinstance(fault, SinkAway) else None)
            if self.progress == progress:
                raise
            self._note(fault)
        finally:
            self._heartbeat = Heartbeat()

    def _next_offer(self) -> Sequence[Cursor]:
        with self._condition:
            self._condition.wait_for(lambda: self._offered or self._stop.is_set(), 1.0)
            return self._offered

    def _serve(self, runs: Runs, offered: Sequence[Cursor]) -> None:
        sink_settings = offered[0].sink_settings

        def run(cursor: Cursor, limit: int) -> Ran | None:
            if cursor.sink_settings != sink_settings:
                # They have changed meanwhile, and this sink was made for the former ones.
                return None
            self._heartbeat.beat()
            ran = runs.run(cursor, limit)
            if ran is not None and ran.progressed:
                self.progress += 1
                self.fault = None
            return ran

        def look() -> list[Cursor]:
            return runs.probe(self.subscription_id)

        self._rounds.serve(offered, run, look, self._stop.is_set)
        self._heartbeat.rest()
        with self._condition:
            self._offered = ()
        self._turned()

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
        self._telemetry.fault(self.subscription, kind)
        logger.warning(
            "session_failed",
            subscription=self.subscription,
            kind=kind,
            fault=self.fault,
            exc_info=fault if kind == "internal" else None,
        )
