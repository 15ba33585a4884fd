"""The thread that writes the outcomes that come after their run."""

import threading
import time
from collections import Counter
from collections.abc import Sequence

import psycopg
import structlog

from relay.database import Connection, connect
from relay.monitoring.telemetry import Telemetry
from relay.process.interval import Interval
from relay.push.state import attempts, late_outcomes
from relay.push.state.late_outcomes import Late
from relay.push.state.waiting_outcomes import WaitingOutcomes
from relay.settings import Settings

logger = structlog.get_logger()

# Outcomes that are written in one transaction.
MAX_LATE = 500
# Kept while the database is away; beyond it they are forgotten, and sent again after their lease.
MAX_KEPT = 10_000
# How soon is tried again what could not be written.
AGAIN_SECONDS = 0.5
# And at a stop, when a session mostly holds it for its commit.
LAST_SECONDS = 0.05
# How long others may hold something before that is told, and how often it is.
HELD_SECONDS = 2.0
TELL_SECONDS = 10.0


class Writer:
    """One for all subscriptions, with a connection of its own."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._waiting = WaitingOutcomes(MAX_KEPT)
        self._next: list[Late] = []
        # What other sessions held when it was tried last, to be tried again.
        self._held: list[Late] = []
        self._again_at = 0.0
        self._ends_at = 0.0
        self._telling = Interval(TELL_SECONDS)
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._turn, name="late outcomes", daemon=True)
        self._thread.start()

    def put(self, one: Late) -> None:
        """From any thread; at once."""
        if (forgotten := self._waiting.put(one)) is not None:
            logger.warning("outcome_forgotten", subscription=forgotten.target.subscription)

    def close(self, within_seconds: float) -> None:
        """Writes what has come, and ends the thread; what others hold is tried until then."""
        self._ends_at = time.monotonic() + within_seconds
        self._waiting.close()
        self._thread.join(within_seconds)

    def _turn(self) -> None:
        stop = False
        while not stop:
            stop = self._gather()
            if self._held and (stop or time.monotonic() >= self._again_at):
                self._next += self._held
                self._held = []
            if self._next:
                self._write(stop=stop)
        while self._held and time.monotonic() < self._ends_at:
            time.sleep(LAST_SECONDS)
            self._next, self._held = self._held, []
            self._write(stop=True)
        if self._connection is not None:
            self._connection.close()

    def _gather(self) -> bool:
        """Adds what has come; True where that is the end."""
        patience = None
        if self._next:
            patience = 0.01
        elif self._held:
            patience = max(self._again_at - time.monotonic(), 0.01)
        taken, more = self._waiting.take(max(MAX_LATE - len(self._next), 1), patience)
        self._next += taken
        return not more

    def _write(self, *, stop: bool) -> None:
        """What is next. Where the database is away, it is tried again with what comes by then."""
        try:
            self._connection = self._connection or connect(self._settings)
            held = late_outcomes.write(self._connection, self._next, self._settings.name)
        except Exception as fault:
            self._failed(fault)
            time.sleep(0 if stop else AGAIN_SECONDS)
            return
        left = {one.item for one in held}
        written = [(one.target, one.item) for one in self._next if one.item not in left]
        attempts.count(self._telemetry, written)
        self._next = []
        self._keep(held)

    def _failed(self, fault: Exception) -> None:
        if isinstance(fault, psycopg.Error):
            self._telemetry.fault("", "outcomes")
            logger.warning("outcomes_wait", outcomes=len(self._next), fault=str(fault).strip())
        else:
            # Their leases run out, and they are sent again.
            logger.error("outcomes_forgotten", outcomes=len(self._next), exc_info=fault)
            self._next = []
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _keep(self, held: Sequence[Late]) -> None:
        """For another try, apart from what comes meanwhile, and no later for it."""
        if not self._held:
            self._again_at = time.monotonic() + AGAIN_SECONDS
        self._held += held
        if forgotten := self._held[:-MAX_KEPT]:
            logger.warning("outcomes_forgotten", outcomes=len(forgotten))
            del self._held[:-MAX_KEPT]
        waiting = Counter(one.target.subscription for one in held if _waits_long(one))
        if not waiting or not self._telling.begin_if_over():
            return
        for subscription, outcomes in waiting.items():
            self._telemetry.fault(subscription, "outcomes")
            logger.warning(
                "outcomes_wait",
                subscription=subscription,
                outcomes=outcomes,
                fault="another session holds what they change",
            )


def _waits_long(one: Late) -> bool:
    seconds = one.item.answer.seconds if one.item.answer is not None else 0.0
    return time.monotonic() - one.item.sent_at - seconds > HELD_SECONDS
