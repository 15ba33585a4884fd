"""One run: claim a cursor, stream the log to the sink, one barrier, one checkpoint, commit."""

import time

import msgspec
import structlog

from relay import redriven
from relay.checkpoint import finish, tell_waiting
from relay.cursor import Cursor, claim, give_up, leave
from relay.database import Connection
from relay.reading import Reading
from relay.settings import Settings
from relay.sink import Blocked, Outcome, Sink
from relay.telemetry import Telemetry

logger = structlog.get_logger()

# How often a channel that waits for its topic is logged.
TELL_SECONDS = 60.0
FLOWS = float("-inf")
# What a run may take beyond its barrier.
SLACK_SECONDS = 5.0


def frozen_after_seconds(settings: Settings) -> float:
    """How long a run may stand still before its relay counts as frozen and loses its session."""
    return settings.barrier_seconds + SLACK_SECONDS


class Ran(msgspec.Struct, frozen=True):
    """How a run ended.

    `progressed`: something was committed; `exhausted`: nothing more was to be had; `blocked`: a
    channel's topic keeps the rest from going.
    """

    progressed: bool = False
    exhausted: bool = True
    blocked: bool = False


class Runs:
    """Runs of one subscription's cursors, over one connection and one sink."""

    def __init__(
        self, connection: Connection, sink: Sink, settings: Settings, telemetry: Telemetry
    ) -> None:
        self._connection = connection
        self._sink = sink
        self._relay = settings.name
        self._timeout_seconds = frozen_after_seconds(settings)
        self._telemetry = telemetry
        self._told_at: dict[int, float] = {}

    def run(self, cursor: Cursor, limit: int) -> Ran | None:
        """At most `limit` messages of one cursor; None where another relay holds it.

        Raises SinkAway and psycopg.Error; the transaction is then over and nothing is checkpointed.
        """
        began_at = time.monotonic()
        if cursor.channel is not None:
            # Asked before the claim, so that a channel that waits for days writes nothing.
            blocked = self._sink.blocked(cursor.channel)
            self._tell(cursor, blocked)
            if blocked is not None:
                return Ran(blocked=True)
        try:
            claimed = claim(self._connection, cursor, self._relay, self._timeout_seconds)
            if claimed is None:
                return None
            if claimed.redriven:
                outcome = redriven.send(self._connection, cursor, self._sink)
                self._count(cursor, outcome)
                return Ran(progressed=outcome.messages > 0 or bool(outcome.dead), exhausted=False)
            if claimed.position is None:
                leave(self._connection)
                return Ran()
            reading = Reading(self._connection, cursor, claimed, limit)
            return self._read(reading, cursor, began_at)
        except BaseException:
            give_up(self._connection)
            raise

    def _read(self, reading: Reading, cursor: Cursor, began_at: float) -> Ran:
        rows = reading.rows()
        try:
            outcome = self._sink.deliver(rows)
        finally:
            rows.close()
        finished = finish(reading, cursor, self._relay, outcome)
        blocked = outcome.stopped is not None
        if finished is None:
            return Ran(blocked=blocked)
        self._count(cursor, outcome)
        self._telemetry.run_done(
            cursor.subscription,
            messages=outcome.messages,
            bytes=outcome.bytes,
            seconds=time.monotonic() - began_at,
            created_at=outcome.created_at,
            acknowledged_at=finished.acknowledged_at,
        )
        return Ran(True, finished.exhausted, blocked)

    def _tell(self, fork: Cursor, blocked: Blocked | None) -> None:
        """Says that a channel waits, once a minute, and when it flows again."""
        told_at = self._told_at.get(fork.id)
        if blocked is None:
            if told_at != FLOWS:
                self._told_at[fork.id] = FLOWS
                self._telemetry.waiting(fork.subscription, str(fork.channel), None)
                tell_waiting(self._connection, fork, None)
            return
        self._telemetry.waiting(fork.subscription, blocked.channel, blocked.seconds)
        if told_at is None or time.monotonic() >= told_at + TELL_SECONDS:
            self._told_at[fork.id] = time.monotonic()
            tell_waiting(self._connection, fork, blocked.reason)
            logger.warning(
                "channel_waits",
                subscription=fork.subscription,
                channel=blocked.channel,
                reason=blocked.reason,
                mend="make the topic, or let the relay's user write to it",
            )

    def _count(self, cursor: Cursor, outcome: Outcome) -> None:
        for letter in outcome.dead:
            self._telemetry.dead(cursor.subscription, letter.reason)
