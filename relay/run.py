"""One run: claim a cursor, stream the log to the sink, one barrier, one checkpoint, commit."""

import time

import msgspec
import structlog

from relay import redriven
from relay.checkpoint import Next, finish, following, new_token, place, tell_waiting, write
from relay.cursor import Claimed, Cursor, claim, give_up, leave, probe
from relay.database import Connection
from relay.exactly_once import ExactlyOnce
from relay.reading import Reading
from relay.settings import Settings
from relay.sink import Blocked, Outcome, Sink, SinkAway
from relay.telemetry import Telemetry

logger = structlog.get_logger()

# How often a channel that waits for its topic is logged.
TELL_SECONDS = 60.0
FLOWS = float("-inf")
# So many aborted transactions in a row are tried again at once, by the same producer.
MOST_ABORTS = 3
# What a run may take beyond its barrier.
SLACK_SECONDS = 5.0


def frozen_after_seconds(settings: Settings) -> float:
    """How long a run may stand still before its relay counts as frozen and loses its session."""
    return settings.barrier_seconds + SLACK_SECONDS


class Ran(msgspec.Struct, frozen=True):
    """How a run ended.

    `progressed`: something was committed; `exhausted`: nothing more was to be had; `blocked`: a
    channel's topic keeps the rest from going; `aborted`: its transaction was.
    """

    progressed: bool = False
    exhausted: bool = True
    blocked: bool = False
    aborted: bool = False


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
        self._aborts: dict[int, int] = {}
        self._exactly_once = None
        if sink.transactions is not None:
            self._exactly_once = ExactlyOnce(connection, sink.transactions, settings, telemetry)

    def close(self) -> None:
        """Ends what the runs had besides the connection and the sink."""
        if self._exactly_once is not None:
            self._exactly_once.close()

    def probe(self, subscription_id: int) -> list[Cursor]:
        """The cursors of the subscription that have work."""
        return probe(self._connection, self._relay, subscription_id)

    def run(self, cursor: Cursor, limit: int) -> Ran | None:
        """At most `limit` messages of one cursor; None where it is another relay's.

        Raises SinkAway and psycopg.Error; the transaction is then over and nothing is checkpointed.
        """
        if cursor.channel is not None:
            # Asked before the claim, so that a channel that waits for days writes nothing.
            blocked = self._sink.blocked(cursor.channel)
            self._tell(cursor, blocked)
            if blocked is not None:
                return Ran(blocked=True)
        exactly_once = self._exactly_once
        if exactly_once is not None and exactly_once.is_anothers(cursor):
            return None
        try:
            ran = self._claim(cursor, limit)
        except BaseException as fault:
            # Aborted before the lock is let go.
            aborted = exactly_once is not None and exactly_once.abort()
            give_up(self._connection)
            aborts = self._aborts.get(cursor.id, 0) + 1
            if aborted and isinstance(fault, SinkAway) and aborts <= MOST_ABORTS:
                self._aborts[cursor.id] = aborts
                return Ran(exhausted=False, aborted=True)
            raise
        if ran is not None and ran.progressed:
            self._aborts.pop(cursor.id, None)
        return ran

    def _claim(self, cursor: Cursor, limit: int) -> Ran | None:
        began_at = time.monotonic()
        claimed = claim(self._connection, cursor, self._relay, self._timeout_seconds)
        if claimed is None:
            return None
        position, exactly_once = claimed.position, self._exactly_once
        if position is None and not claimed.due:
            leave(self._connection)
            return Ran()
        if exactly_once is not None:
            if exactly_once.has_moved_on(cursor, claimed):
                leave(self._connection)
                return None
            if exactly_once.adopts(cursor, claimed):
                return Ran(progressed=True, exhausted=False)
        if claimed.due:
            return self._redrive(cursor, claimed)
        assert position is not None
        if exactly_once is not None and not exactly_once.fits(cursor, position):
            leave(self._connection)
            return Ran(blocked=True)
        return self._read(Reading(self._connection, cursor, claimed, limit), cursor, began_at)

    def _read(self, reading: Reading, cursor: Cursor, began_at: float) -> Ran:
        rows = reading.rows()
        try:
            outcome = self._sink.deliver(rows)
        finally:
            rows.close()
        checkpoint = following(reading, outcome)
        if self._exactly_once is not None and checkpoint is not None:
            if outcome.messages:
                reading.end()
                self._exactly_once.commit(cursor, reading.claimed, checkpoint, outcome)
            else:
                self._exactly_once.own(checkpoint)
        blocked = outcome.stopped.blocked if outcome.stopped else None
        forks = blocked is not None and blocked.lasting and cursor.channel is None
        acknowledged_at = finish(
            reading,
            cursor,
            self._relay,
            dead=outcome.dead,
            checkpoint=checkpoint,
            fork=blocked if forks else None,
        )
        self._count(cursor, outcome)
        if acknowledged_at is not None:
            self._telemetry.run_done(
                cursor.subscription,
                messages=outcome.messages,
                bytes=outcome.bytes,
                seconds=time.monotonic() - began_at,
                created_at=outcome.created_at,
                acknowledged_at=acknowledged_at,
            )
        return Ran(
            progressed=checkpoint is not None or forks,
            exhausted=outcome.stopped is None and reading.exhausted,
            blocked=blocked is not None,
        )

    def _redrive(self, cursor: Cursor, claimed: Claimed) -> Ran:
        """Sends redriven letters, and leaves the cursor where it stands."""
        connection, exactly_once = self._connection, self._exactly_once
        rows = redriven.read(connection, cursor)
        outcome = self._sink.deliver(rows)
        arrived = redriven.arrived(rows, outcome)
        checkpoint = None
        if exactly_once is not None and arrived:
            here = place(connection, cursor, claimed.n)
            checkpoint = Next(claimed.n + 1, new_token(), here, outcome.messages, outcome.bytes)
            exactly_once.commit(cursor, claimed, checkpoint, outcome, arrived)
        blocked = outcome.stopped.blocked if outcome.stopped else None
        with connection.pipeline():
            if checkpoint is not None:
                write(connection, cursor, self._relay, checkpoint)
            redriven.delivered(connection, cursor, arrived)
            for letter in outcome.dead:
                redriven.died_again(connection, cursor, letter)
            if blocked is not None:
                redriven.postpone(connection, cursor, blocked.channel)
            connection.execute("commit")
        self._count(cursor, outcome)
        return Ran(progressed=bool(arrived or outcome.dead), exhausted=False)

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
