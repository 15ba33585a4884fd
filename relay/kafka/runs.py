"""A run to Kafka: claim, stream the log to the sink, one barrier, the checkpoints, commit."""

import time
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

import structlog

from relay.database import Connection, transaction
from relay.kafka import redriven
from relay.kafka.exactly_once.names import KNOWN_AS
from relay.kafka.exactly_once.ownership import ExactlyOnce
from relay.log.channel_cursors import MAX_WAITING
from relay.log.checkpoint import (
    End,
    Finished,
    Next,
    finish,
    following,
    merge,
    new_token,
    position_at,
    write,
)
from relay.log.claim import Claimed, give_up, has_work, leave
from relay.log.claims import Claims
from relay.log.cursor import Cursor
from relay.log.position import Position
from relay.log.probe import probe
from relay.log.reading import Look, Reading
from relay.log.run import Ran, frozen_after_seconds
from relay.log.shared import SharedReading
from relay.log.sink import Blocked, Outcome, Page, Sink, SinkAway, Unanswered
from relay.log.waiting_note import note_waiting
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat
from relay.process.interval import WAITING_SECONDS, Interval
from relay.settings import Settings

if TYPE_CHECKING:
    from relay.monitoring.spans import RunSpan

logger = structlog.get_logger()

# How many channels a line of the log names.
MAX_TOLD = 20
# How often channels for which there is no room are told.
TELL_SECONDS = 60.0
# The takers of a page that goes to one cursor.
ALONE = (0,)
# So many aborted transactions in a row are tried again at once, by the same producer.
MAX_ABORTS = 3


class KafkaRuns:
    """Runs of cursors that share a connection and a sink."""

    def __init__(
        self,
        connection: Connection,
        sink: Sink,
        settings: Settings,
        telemetry: Telemetry,
        heartbeat: Heartbeat | None = None,
        *,
        shared: bool = False,
    ) -> None:
        """`shared`: of many subscriptions. What can't go with others is left to go alone."""
        self._shared = shared
        self._connection = connection
        self._sink = sink
        self._relay = settings.name
        besides = KNOWN_AS if sink.transactions is not None else None
        self._claims = Claims(connection, self._relay, frozen_after_seconds(settings), besides)
        self._began_at = 0.0
        self._telemetry = telemetry
        self._waiting = Interval(WAITING_SECONDS)
        self._refusing = Interval(TELL_SECONDS)
        self._holding = Interval(TELL_SECONDS)
        self._aborts: dict[int, int] = {}
        # The cursors whose latest run here merged others into them.
        self._merged: set[int] = set()
        # The run under way, where it has one.
        self._span: RunSpan | None = None
        self._exactly_once = None
        if sink.transactions is not None:
            self._exactly_once = ExactlyOnce(
                connection, sink.transactions, settings, telemetry, heartbeat
            )

    def close(self) -> None:
        """Ends what the runs had besides the connection and the sink."""
        if self._exactly_once is not None:
            self._exactly_once.close()

    @property
    def _look(self) -> Look | None:
        return None if self._span is None else self._span.see

    def probe(self, subscription_id: int) -> list[Cursor]:
        """The cursors of the subscription that have work; now and then those that wait, too."""
        waiting = self._waiting.begin_if_over()
        return probe(self._connection, self._relay, subscription_id, waiting=waiting)

    def run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> dict[int, Ran]:
        """At most `limit` messages of each; see Runs.

        Raises SinkAway and psycopg.Error; the transaction is then over and nothing is checkpointed.
        """
        spans = self._telemetry.spans
        if spans is None:
            return self._run(cursors, limit, again=again)
        with spans.run("kafka", [cursor.subscription for cursor in cursors]) as self._span:
            return self._run(cursors, limit, again=again)

    def _run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> dict[int, Ran]:
        first = cursors[0]
        exactly_once = self._exactly_once
        if self._is_held(first):
            self.rest()
            return {cursor.id: Ran(blocked=True) for cursor in cursors}
        if exactly_once is not None and exactly_once.take_over.defer_to_other(first):
            self.rest()
            return {}
        try:
            claims = self._claims.take(cursors)
            self._began_at = self._claims.asked_at
            if not claims:
                return {}
            if self._shared:
                return self._run_together(claims, limit, again=again)
            ran = self._run_alone(claims[0], limit, again=again)
        except BaseException as fault:
            # Aborted before the lock is let go.
            aborted = exactly_once is not None and exactly_once.abort()
            give_up(self._connection)
            if self._span is not None:
                self._span.fail(fault)
            if isinstance(fault, SinkAway) and self._sink.held_seconds:
                self._tell_held(first)
                return dict.fromkeys(
                    (cursor.id for cursor in cursors),
                    Ran(exhausted=False, blocked=True, aborted=True, messages=fault.messages),
                )
            aborts = self._aborts.get(first.id, 0) + 1
            if aborted and isinstance(fault, SinkAway) and aborts <= MAX_ABORTS:
                self._aborts[first.id] = aborts
                return {first.id: Ran(exhausted=False, aborted=True, messages=fault.messages)}
            raise
        if ran is None:
            return {}
        if ran.progressed:
            self._aborts.pop(first.id, None)
        return {first.id: ran}

    def _is_held(self, first: Cursor) -> bool:
        """Asked before the claim, so that a channel that waits for days writes nothing."""
        waits = first.channel is not None and first.waits
        if waits and self._sink.check_blocked(first.sink_settings, str(first.channel)):
            return True
        return self._sink.held_seconds > 0

    def rest(self) -> None:
        """Gives back what is claimed for the next run."""
        self._claims.rest()

    def give_way(self, cursor_ids: Set[int]) -> None:
        """A run to Kafka is as short as it can be: no one receives slowly there."""

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

    def _finish(
        self, readings: Sequence[Reading], ends: Sequence[End], again: Sequence[Cursor]
    ) -> Finished:
        """Ends the run, and claims `again`, if there are any, for the next in one round trip."""
        asking = self._claims.asking(again)
        finished = finish(self._connection, readings, self._relay, ends, asking)
        self._claims.keep()
        if self._span is not None and finished.acknowledged_at is not None:
            self._span.acknowledged(finished.acknowledged_at)
            self._span.send(sum(end.checkpoint.messages for end in ends if end.checkpoint))
        return finished

    def _run_alone(self, claimed: Claimed, limit: int, *, again: bool) -> Ran | None:
        exactly_once = self._exactly_once
        if not has_work(claimed):
            leave(self._connection)
            return Ran()
        if exactly_once is not None:
            if exactly_once.take_over.has_moved_on(claimed):
                leave(self._connection)
                return None
            if exactly_once.adopt(claimed):
                return Ran(progressed=True, exhausted=False)
        if claimed.merging and not self._must_send(claimed):
            return self._merge(claimed)
        self._merged.discard(claimed.cursor.id)
        if claimed.due:
            return self._redrive(claimed)
        if exactly_once is not None and not exactly_once.check_snapshots_fit(claimed):
            leave(self._connection)
            return Ran(blocked=True)
        reading = Reading(self._connection, [claimed], limit, look=self._look)
        return self._read(reading, claimed, again=again)

    def _read(self, reading: Reading, claimed: Claimed, *, again: bool) -> Ran:
        cursor, exactly_once = claimed.cursor, self._exactly_once
        pages = reading.stream()
        try:
            (outcome,) = self._sink.deliver(
                (Page(rows, ALONE) for rows in pages),
                [cursor.sink_settings],
                cursor_id=cursor.id,
            )
        except Unanswered:
            pages.close()
            self._leave_behind(reading, claimed)
            raise
        finally:
            pages.close()
        stopped = outcome.stopped
        blocked = stopped.blocked if stopped else ()
        moved = checkpoint = following(reading, claimed, outcome)
        if exactly_once is not None:
            checkpoint = self._commit(exactly_once, reading, claimed, outcome, moved)
        refused = stopped.refused if stopped else None
        again = again and not blocked and not refused and not claimed.noted
        end = End(claimed, checkpoint, outcome.dead, blocked, refused)
        finished = self._finish([reading], [end], [cursor] if again else [])
        self._take_note_back(claimed, outcome)
        self._count(end, outcome, finished)
        waits = bool(blocked)
        if cursor.channel is None and blocked:
            waits = not self._tell_set_aside(cursor, blocked, finished.set_aside)
        return Ran(
            progressed=moved is not None or bool(finished.set_aside),
            exhausted=stopped is None and reading.exhausted,
            blocked=waits,
            begun=self._claims.has(cursor),
        )

    def _commit(
        self,
        exactly_once: ExactlyOnce,
        reading: Reading,
        claimed: Claimed,
        outcome: Outcome,
        moved: Next | None,
    ) -> Next | None:
        """Commits to Kafka what was sent. The checkpoint that is to be written here."""
        stopped, checkpoint = outcome.stopped, moved
        if outcome.messages or stopped is not None:
            reading.end()
        if moved is not None and outcome.messages:
            exactly_once.commit(claimed, moved, outcome)
        elif moved is not None:
            exactly_once.own(claimed, moved)
        elif stopped is not None and not stopped.blocked and not stopped.stuck:
            checkpoint = exactly_once.stand(claimed)
        if stopped is not None and stopped.stuck:
            exactly_once.rename(claimed)
        return checkpoint

    def _run_together(
        self, claims: Sequence[Claimed], limit: int, *, again: bool
    ) -> dict[int, Ran]:
        """What is not as simple as most goes alone, so that nothing of it holds up the others."""
        ran, simple = dict[int, Ran](), list[Claimed]()
        for claimed in claims:
            odd = claimed.cursor.channel is not None or claimed.divided or claimed.merging
            if odd or claimed.due or claimed.replaying:
                ran[claimed.cursor.id] = Ran(exhausted=False, alone=True)
            elif claimed.position.delta is None:
                ran[claimed.cursor.id] = Ran()
            else:
                simple.append(claimed)
        shared = SharedReading(self._connection, simple, limit, self._look)
        for claimed in shared.waiting:
            ran[claimed.cursor.id] = Ran(exhausted=False)
        if not shared.claims:
            leave(self._connection)
            return ran
        return ran | self._read_together(shared, again=again)

    def _read_together(self, shared: SharedReading, *, again: bool) -> dict[int, Ran]:
        pages = shared.pages()
        settings = [claimed.cursor.sink_settings for claimed in shared.claims]
        try:
            outcomes = self._sink.deliver(pages, settings, shared=True)
        finally:
            pages.close()
        ends = []
        for place, (claimed, outcome) in enumerate(zip(shared.claims, outcomes, strict=True)):
            checkpoint = following(shared.of(place), claimed, outcome)
            ends.append(End(claimed, checkpoint, outcome.dead))
        noted = any(claimed.noted for claimed in shared.claims)
        alone = [
            _goes_alone(outcome) or shared.has_backlog(place)
            for place, outcome in enumerate(outcomes)
        ]
        going = [end.cursor for end, leaves in zip(ends, alone, strict=True) if not leaves]
        finished = self._finish(shared.readings, ends, going if again and not noted else [])
        ran = {}
        for place, (end, outcome) in enumerate(zip(ends, outcomes, strict=True)):
            self._take_note_back(end.claimed, outcome)
            self._count(end, outcome, finished)
            ran[end.cursor.id] = Ran(
                progressed=end.checkpoint is not None,
                exhausted=outcome.stopped is None and shared.is_done(place),
                begun=self._claims.has(end.cursor),
                alone=alone[place],
            )
        return ran

    def _leave_behind(self, reading: Reading, claimed: Claimed) -> None:
        """A transaction that can't be aborted now may be one that can't be ended for long."""
        exactly_once = self._exactly_once
        if exactly_once is not None and not exactly_once.abort():
            reading.end()
            exactly_once.rename(claimed)
            self._connection.execute("commit")

    def _tell_set_aside(
        self, cursor: Cursor, blocked: Sequence[Blocked], set_aside: frozenset[str]
    ) -> bool:
        """Tells which channels wait from now on, and for which there was no room.

        Whether the others can go on.
        """
        waiting = set_aside.intersection(one.channel for one in blocked)
        if waiting:
            logger.warning(
                "channels_wait",
                subscription=cursor.subscription,
                channels=sorted(waiting)[:MAX_TOLD],
                number=len(waiting),
                reason=next(one.reason for one in blocked if one.channel in waiting),
                hint="make the topics, let the relay's user write to them, or bring their brokers "
                "back; a mistyped channel: outbox-relay channels drop",
            )
        beyond = [one.channel for one in blocked if one.channel not in waiting]
        if not beyond:
            return True
        given_up = self._sink.give_up(cursor.sink_settings, beyond)
        if self._refusing.begin_if_over():
            logger.error(
                "too_many_waiting_channels",
                subscription=cursor.subscription,
                channels=beyond[:MAX_TOLD],
                most=MAX_WAITING,
                effect="their messages become dead letters" if given_up else "all channels wait",
                hint="outbox-relay channels list, then make the topics or drop the channels; those "
                "that a limited API key may write to have a tenth of them",
            )
        return given_up

    def _must_send(self, claimed: Claimed) -> bool:
        """Whether it sends before it merges again: of many that catch up, each run may find one."""
        has_messages = claimed.due or claimed.position.delta is not None
        return has_messages and claimed.cursor.id in self._merged

    def _merge(self, claimed: Claimed) -> Ran:
        """Merges channel cursors that have caught up, in a run of its own that sends nothing."""
        self._merged.add(claimed.cursor.id)
        # The cursor stands where it stood, between deltas; `seen` is what it and they share.
        cursor, here = claimed.cursor, Position(claimed.position.seen)
        checkpoint = Next(claimed.n + 1, new_token(), here)
        if self._exactly_once is not None:
            # The cursor's last run may be another owner's, committed to Kafka and not yet noted
            # here: it left their channels out up to where it came. A commit of our own shows that
            # there is none.
            self._exactly_once.commit_nothing(claimed, checkpoint)
        merged = merge(self._connection, cursor, self._relay, checkpoint)
        if self._exactly_once is not None:
            self._exactly_once.forget(claimed, merged)
        if merged:
            logger.info("channels_merged", subscription=cursor.subscription, number=len(merged))
        return Ran(progressed=True, exhausted=False)

    def _redrive(self, claimed: Claimed) -> Ran:
        """Sends redriven dead letters, and leaves the cursor where it stands."""
        connection, exactly_once, cursor = self._connection, self._exactly_once, claimed.cursor
        rows = redriven.read(connection, cursor)
        (outcome,) = self._sink.deliver(
            [Page(rows, ALONE)], [cursor.sink_settings], cursor_id=cursor.id
        )
        arrived = redriven.arrived_ids(rows, outcome)
        if self._span is not None:
            self._span.link(rows)
            self._span.send(len(arrived))
        checkpoint = None
        if exactly_once is not None and arrived:
            here = position_at(connection, cursor, claimed.n)
            checkpoint = Next(claimed.n + 1, new_token(), here, outcome.messages, outcome.bytes)
            exactly_once.commit(claimed, checkpoint, outcome, arrived)
        if exactly_once is not None and outcome.stopped is not None and outcome.stopped.stuck:
            exactly_once.rename(claimed)
        blocked = outcome.stopped.blocked if outcome.stopped else ()
        with connection.pipeline():
            if checkpoint is not None:
                write(connection, self._relay, [(cursor, checkpoint)])
            redriven.note_delivered(connection, cursor, arrived)
            for dead in outcome.dead:
                redriven.note_died_again(connection, cursor, dead)
            if blocked:
                redriven.postpone(connection, cursor, [one.channel for one in blocked])
            connection.execute("commit")
        self._take_note_back(claimed, outcome)
        self._count_dead(cursor, outcome)
        return Ran(progressed=bool(arrived or outcome.dead), exhausted=False)

    def _take_note_back(self, claimed: Claimed, outcome: Outcome) -> None:
        """Takes back that the cluster is out of reach, once a message has arrived there, or it has
        said of a topic that it takes none.
        """
        blocked = outcome.stopped is not None and outcome.stopped.blocked
        if claimed.noted and (outcome.messages or blocked):
            with transaction(self._connection):
                note_waiting(self._connection, claimed.cursor.subscription_id, None)

    def _count(self, end: End, outcome: Outcome, finished: Finished) -> None:
        subscription = end.cursor.subscription
        self._count_dead(end.cursor, outcome)
        if end.checkpoint is not None and finished.acknowledged_at is not None:
            self._telemetry.run_done(
                subscription,
                messages=outcome.messages,
                bytes=outcome.bytes,
                seconds=time.monotonic() - self._began_at,
                created_at=outcome.created_at,
                acknowledged_at=finished.acknowledged_at,
            )

    def _count_dead(self, cursor: Cursor, outcome: Outcome) -> None:
        for dead in outcome.dead:
            self._telemetry.dead(cursor.subscription, dead.reason)


def _goes_alone(outcome: Outcome) -> bool:
    """Whether what stopped it is to be settled in runs of its own."""
    stopped = outcome.stopped
    return stopped is not None and (stopped.alone or bool(stopped.blocked))
