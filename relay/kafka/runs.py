"""One run: claim a cursor, stream the log to the sink, one barrier, one checkpoint, commit."""

import time
from collections.abc import Sequence

import structlog

from relay.database import Connection, transaction
from relay.kafka import redriven
from relay.kafka.exactly_once.names import KNOWN_AS
from relay.kafka.exactly_once.ownership import ExactlyOnce
from relay.log.channel_cursors import MAX_WAITING
from relay.log.checkpoint import (
    Next,
    finish,
    following,
    merge,
    new_token,
    position_at,
    write,
)
from relay.log.claim import Claimed, claim, give_up, leave
from relay.log.cursor import Cursor
from relay.log.position import Position
from relay.log.probe import probe
from relay.log.reading import Reading
from relay.log.run import Ran, frozen_after_seconds
from relay.log.sink import Blocked, Outcome, Sink, SinkAway, Unanswered
from relay.log.waiting_note import note_waiting
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat
from relay.process.interval import WAITING_SECONDS, Interval
from relay.settings import Settings

logger = structlog.get_logger()

# How many channels a line of the log names.
MAX_TOLD = 20
# How often channels for which there is no room are told.
TELL_SECONDS = 60.0
# So many aborted transactions in a row are tried again at once, by the same producer.
MAX_ABORTS = 3


class KafkaRuns:
    """Runs of one subscription's cursors, over one connection and one sink."""

    def __init__(
        self,
        connection: Connection,
        sink: Sink,
        settings: Settings,
        telemetry: Telemetry,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._connection = connection
        self._sink = sink
        self._relay = settings.name
        self._timeout_seconds = frozen_after_seconds(settings)
        self._telemetry = telemetry
        self._waiting = Interval(WAITING_SECONDS)
        self._refusing = Interval(TELL_SECONDS)
        self._holding = Interval(TELL_SECONDS)
        self._aborts: dict[int, int] = {}
        self._exactly_once = None
        if sink.transactions is not None:
            self._exactly_once = ExactlyOnce(
                connection, sink.transactions, settings, telemetry, heartbeat
            )

    def close(self) -> None:
        """Ends what the runs had besides the connection and the sink."""
        if self._exactly_once is not None:
            self._exactly_once.close()

    def probe(self, subscription_id: int) -> list[Cursor]:
        """The cursors of the subscription that have work; now and then those that wait, too."""
        waiting = self._waiting.begin_if_over()
        return probe(self._connection, self._relay, subscription_id, waiting=waiting)

    def run(self, cursor: Cursor, limit: int) -> Ran | None:
        """At most `limit` messages of one cursor; None where it is another relay's.

        Raises SinkAway and psycopg.Error; the transaction is then over and nothing is checkpointed.
        """
        # Asked before the claim, so that a channel that waits for days writes nothing.
        if cursor.channel is not None and cursor.waits and self._sink.check_blocked(cursor.channel):
            return Ran(blocked=True)
        if self._sink.held_seconds:
            return Ran(blocked=True)
        exactly_once = self._exactly_once
        if exactly_once is not None and exactly_once.take_over.defer_to_other(cursor):
            return None
        try:
            ran = self._claim(cursor, limit)
        except BaseException as fault:
            # Aborted before the lock is let go.
            aborted = exactly_once is not None and exactly_once.abort()
            give_up(self._connection)
            if isinstance(fault, SinkAway) and self._sink.held_seconds:
                self._tell_held(cursor)
                return Ran(exhausted=False, blocked=True, aborted=True, messages=fault.messages)
            aborts = self._aborts.get(cursor.id, 0) + 1
            if aborted and isinstance(fault, SinkAway) and aborts <= MAX_ABORTS:
                self._aborts[cursor.id] = aborts
                return Ran(exhausted=False, aborted=True, messages=fault.messages)
            raise
        if ran is not None and ran.progressed:
            self._aborts.pop(cursor.id, None)
        return ran

    def _tell_held(self, cursor: Cursor) -> None:
        self._telemetry.fault(cursor.subscription, "held_back")
        if self._holding.begin_if_over():
            logger.warning(
                "kafka_holds_back",
                subscription=cursor.subscription,
                seconds=round(self._sink.held_seconds, 1),
                effect="what was in flight comes again; then it goes as fast as the quota allows",
                hint="a higher producer_byte_rate for this client",
            )

    def _claim(self, cursor: Cursor, limit: int) -> Ran | None:
        began_at = time.monotonic()
        exactly_once = self._exactly_once
        besides = KNOWN_AS if exactly_once is not None else None
        claimed = claim(self._connection, cursor, self._relay, self._timeout_seconds, besides)
        if claimed is None:
            return None
        position = claimed.position
        if position.delta is None and not claimed.due and not claimed.merging:
            leave(self._connection)
            return Ran()
        if exactly_once is not None:
            if exactly_once.take_over.has_moved_on(cursor, claimed):
                leave(self._connection)
                return None
            if exactly_once.adopt(cursor, claimed):
                return Ran(progressed=True, exhausted=False)
        if claimed.merging:
            return self._merge(cursor, claimed)
        if claimed.due:
            return self._redrive(cursor, claimed)
        if exactly_once is not None and not exactly_once.check_snapshots_fit(cursor, position):
            leave(self._connection)
            return Ran(blocked=True)
        return self._read(Reading(self._connection, cursor, claimed, limit), cursor, began_at)

    def _read(self, reading: Reading, cursor: Cursor, began_at: float) -> Ran:
        rows = reading.rows()
        try:
            outcome = self._sink.deliver(rows)
        except Unanswered:
            rows.close()
            self._leave_behind(reading, cursor)
            raise
        finally:
            rows.close()
        checkpoint = following(reading, outcome)
        if self._exactly_once is not None and checkpoint is not None:
            if outcome.messages:
                reading.end()
                self._exactly_once.commit(cursor, reading.claimed, checkpoint, outcome)
            else:
                self._exactly_once.own(checkpoint)
        if self._exactly_once is not None and outcome.stopped is not None and outcome.stopped.stuck:
            reading.end()
            self._exactly_once.rename(cursor, reading.claimed)
        blocked = outcome.stopped.blocked if outcome.stopped else ()
        finished = finish(
            reading,
            cursor,
            self._relay,
            dead=outcome.dead,
            checkpoint=checkpoint,
            blocked=blocked,
        )
        self._take_note_back(cursor, reading.claimed, outcome)
        self._count(cursor, outcome)
        if finished.acknowledged_at is not None:
            self._telemetry.run_done(
                cursor.subscription,
                messages=outcome.messages,
                bytes=outcome.bytes,
                seconds=time.monotonic() - began_at,
                created_at=outcome.created_at,
                acknowledged_at=finished.acknowledged_at,
            )
        waits = bool(blocked)
        if cursor.channel is None and blocked:
            waits = not self._tell_set_aside(cursor, blocked, finished.set_aside)
        return Ran(
            progressed=checkpoint is not None or bool(finished.set_aside),
            exhausted=outcome.stopped is None and reading.exhausted,
            blocked=waits,
        )

    def _leave_behind(self, reading: Reading, cursor: Cursor) -> None:
        """A transaction that can't be aborted now may be one that can't be ended for long."""
        exactly_once = self._exactly_once
        if exactly_once is not None and not exactly_once.abort():
            reading.end()
            exactly_once.rename(cursor, reading.claimed)
            self._connection.execute("commit")

    def _tell_set_aside(
        self, cursor: Cursor, blocked: Sequence[Blocked], set_aside: frozenset[str]
    ) -> bool:
        """Tells which channels wait from now on, and for which there was no room.

        Whether the others can go on.
        """
        if set_aside:
            logger.warning(
                "channels_wait",
                subscription=cursor.subscription,
                channels=sorted(set_aside)[:MAX_TOLD],
                number=len(set_aside),
                reason=next(one.reason for one in blocked if one.channel in set_aside),
                hint="make the topics, let the relay's user write to them, or bring their brokers "
                "back; a mistyped channel: outbox-relay channels drop",
            )
        beyond = [one.channel for one in blocked if one.channel not in set_aside]
        if not beyond:
            return True
        given_up = self._sink.give_up(beyond)
        if self._refusing.begin_if_over():
            logger.error(
                "too_many_waiting_channels",
                subscription=cursor.subscription,
                channels=beyond[:MAX_TOLD],
                most=MAX_WAITING,
                effect="their messages become dead letters" if given_up else "all channels wait",
                hint="outbox-relay channels list, then make the topics or drop the channels",
            )
        return given_up

    def _merge(self, cursor: Cursor, claimed: Claimed) -> Ran:
        """Merges channel cursors that have caught up, in a run of its own that sends nothing."""
        # The cursor stands where it stood, between deltas; `seen` is what it and they share.
        here = Position(claimed.position.seen)
        checkpoint = Next(claimed.n + 1, new_token(), here)
        if self._exactly_once is not None:
            # The cursor's last run may be another owner's, committed to Kafka and not yet noted
            # here: it left their channels out up to where it came. A commit of our own shows that
            # there is none.
            self._exactly_once.commit_nothing(cursor, claimed, checkpoint)
        merged = merge(self._connection, cursor, self._relay, checkpoint)
        if self._exactly_once is not None:
            self._exactly_once.forget(claimed, merged)
        if merged:
            logger.info("channels_merged", subscription=cursor.subscription, number=len(merged))
        return Ran(progressed=True, exhausted=False)

    def _redrive(self, cursor: Cursor, claimed: Claimed) -> Ran:
        """Sends redriven dead letters, and leaves the cursor where it stands."""
        connection, exactly_once = self._connection, self._exactly_once
        rows = redriven.read(connection, cursor)
        outcome = self._sink.deliver(rows)
        arrived = redriven.arrived_ids(rows, outcome)
        checkpoint = None
        if exactly_once is not None and arrived:
            here = position_at(connection, cursor, claimed.n)
            checkpoint = Next(claimed.n + 1, new_token(), here, outcome.messages, outcome.bytes)
            exactly_once.commit(cursor, claimed, checkpoint, outcome, arrived)
        if exactly_once is not None and outcome.stopped is not None and outcome.stopped.stuck:
            exactly_once.rename(cursor, claimed)
        blocked = outcome.stopped.blocked if outcome.stopped else ()
        with connection.pipeline():
            if checkpoint is not None:
                write(connection, cursor, self._relay, checkpoint)
            redriven.note_delivered(connection, cursor, arrived)
            for dead in outcome.dead:
                redriven.note_died_again(connection, cursor, dead)
            if blocked:
                redriven.postpone(connection, cursor, [one.channel for one in blocked])
            connection.execute("commit")
        self._take_note_back(cursor, claimed, outcome)
        self._count(cursor, outcome)
        return Ran(progressed=bool(arrived or outcome.dead), exhausted=False)

    def _take_note_back(self, cursor: Cursor, claimed: Claimed, outcome: Outcome) -> None:
        """Takes back that the cluster is out of reach, once a message has arrived there."""
        if claimed.noted and outcome.messages:
            with transaction(self._connection):
                note_waiting(self._connection, cursor.subscription_id, None)

    def _count(self, cursor: Cursor, outcome: Outcome) -> None:
        for dead in outcome.dead:
            self._telemetry.dead(cursor.subscription, dead.reason)
