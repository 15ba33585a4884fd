"""Runs of an endpoint, a queue or a topic: claim, reading and checkpoint, requests in between."""

import random
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import structlog

from relay.database import Connection, Pool, borrowed, transaction
from relay.keyring import Keyring, Keys
from relay.log.claim import Claimed, claim, give_up, leave
from relay.log.cursor import Cursor
from relay.log.probe import pending, probe
from relay.log.reading import Reading
from relay.log.run import Ran, frozen_after_seconds
from relay.log.sink import Page
from relay.log.waiting_note import note_waiting
from relay.monitoring.telemetry import Telemetry
from relay.process.interval import Interval
from relay.push.away import Away
from relay.push.fair_turns import Owner
from relay.push.finish import Sent, finish
from relay.push.item import Item
from relay.push.lease import Lease
from relay.push.policy.schedule import most_attempts
from relay.push.policy.settings import Connected, Receiver
from relay.push.policy.verdict import Failures, Verdict
from relay.push.requests.loop import RequestLoop, Session
from relay.push.requests.sending import Sending
from relay.push.requests.slots import Slots
from relay.push.signing import Signing
from relay.push.state import breaker, rows
from relay.push.state.rate import Rate
from relay.push.subscription_state import STATE, SubscriptionState
from relay.push.target import Target
from relay.settings import Settings

if TYPE_CHECKING:
    from relay.monitoring.spans import RunSpan

logger = structlog.get_logger()

WAITS = Ran(blocked=True)
# Its queue or topic has to be opened first, without a connection to the database.
OPENS = Ran(exhausted=False)
# Heads that are due come so many at a time for each request that may be in flight.
HEADS_PER_SLOT = 4
# So many of a half-open breaker's probes are the log's next message, though heads are due. Such a
# probe that fails makes a row: rarely, since an endpoint may be down for days.
FRESH_PROBES = 1 / 8
# How often it is told that a run's time to send was over before its first request.
TELL_SECONDS = 10.0
# Where no request can be made, a run begins as soon as one can, if that is not longer.
SLOT_SECONDS = 0.25


# The first run of a subscription reads who owns it. Until then it belongs to an owner of this name,
# which no key has: all such subscriptions share that owner's turns.
NOT_KNOWN = ""


class PushRuns:
    """Runs of one subscription's cursors, over the relay's request loop.

    Each borrows a connection for as long as it lasts.
    """

    def __init__(
        self, connections: Pool, request_loop: RequestLoop, settings: Settings, telemetry: Telemetry
    ) -> None:
        self._connections = connections
        self._request_loop = request_loop
        self._settings = settings
        self._telemetry = telemetry
        self._rate = Rate()
        self._signing = Signing(Keyring(settings.secret_keys), telemetry)
        self._slots: Slots | None = None
        # With a queue or topic, once a run has read which.
        self._session: Session | None = None
        # Whose turns the run under way has.
        self._owner: Owner = NOT_KNOWN
        self._telling = Interval(TELL_SECONDS)
        # What came to nothing after its run, and no run's end has written yet.
        self._late = Failures()
        # Where the cursor stands in the order of a probe that sent a half-open breaker's message.
        self._probed_last = (0, 0, 0)
        # Until when a cursor's log holds no message for a half-open breaker, by time.monotonic().
        self._blocked_until: dict[int, float] = {}
        # The run under way, where it has one.
        self._span: RunSpan | None = None

    def probe(self, subscription_id: int) -> list[Cursor]:
        """The cursors of the subscription that have work."""
        with self._connection() as connection:
            if connection is None:
                return []
            return probe(connection, self._settings.name, subscription_id)

    def run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> dict[int, Ran]:
        """At most `limit` messages of the log, and what is due besides; see Runs.

        Raises psycopg.Error; the transaction is then over and nothing of it is written.
        """
        spans, first = self._telemetry.spans, cursors[0]
        if spans is None:
            return self._run_first(first, limit)
        with spans.run(first.kind, [first.subscription]) as self._span:
            return self._run_first(first, limit)

    def _run_first(self, first: Cursor, limit: int) -> dict[int, Ran]:
        ran = self._run(first, limit)
        if ran is OPENS:
            ran = self._run(first, limit)
        return {} if ran is None else {first.id: ran}

    def rest(self) -> None:
        """No run is begun ahead of its time."""

    def _run(self, cursor: Cursor, limit: int) -> Ran | None:
        if self._session is not None and not self._open(self._session, cursor):
            return WAITS
        if self._slots is not None and not self._slots.wait(SLOT_SECONDS):
            # Nothing could be sent: the backlog stays in the log.
            return WAITS
        with self._connection() as connection:
            if connection is None or self._signing.check_still_waiting(connection, cursor):
                return WAITS
            granted = self._rate.grant(connection, cursor.subscription_id)
            if granted == 0:
                return WAITS
            try:
                return self._claim(connection, cursor, limit, granted)
            except BaseException:
                give_up(connection)
                raise

    def _open(self, session: Session, cursor: Cursor) -> bool:
        """Whether its queue or topic may be sent to.

        Without a connection to the database: it takes time.
        """
        if session.is_open:
            return True
        if not session.is_due:
            return False
        try:
            session.open()
        except Away as away:
            self._telemetry.fault(cursor.subscription, "away")
            with self._connection() as connection:
                if connection is not None:
                    with transaction(connection):
                        self._note(connection, cursor, str(away))
            # What its subscription says by now is read before the next try.
            self._session = None
            return False
        return True

    def _note(self, connection: Connection, cursor: Cursor, why: str) -> None:
        reason = f"relay {self._settings.name}: {why}"
        note_waiting(connection, cursor.subscription_id, reason)

    @contextmanager
    def _connection(self) -> Iterator[Connection | None]:
        """In its owner's turn, which may take its time. None: the relay stops."""
        self._owner = NOT_KNOWN if self._slots is None else self._slots.owner
        with self._request_loop.turns.turn(self._owner) as granted:
            if not granted:
                yield None
                return
            with self._request_loop.working.turn(self._owner) as works:
                if not works:
                    yield None
                    return
                with borrowed(self._connections) as connection:
                    yield connection

    def _claim(
        self, connection: Connection, cursor: Cursor, limit: int, granted: int
    ) -> Ran | None:
        began_at = time.monotonic()
        frozen_after = frozen_after_seconds(self._settings)
        claims = claim(connection, [cursor], self._settings.name, frozen_after, STATE)
        if not claims:
            return None
        (claimed,) = claims
        state = SubscriptionState.of(claimed)
        if state.is_rescheduled:
            is_made = rows.reschedule(connection, cursor)
            connection.execute("commit")
            if is_made is None:
                return WAITS
            if not is_made:
                return Ran(progressed=True, exhausted=False)
            # Other rows are due by now.
            return self._claim(connection, cursor, limit, granted)
        if claimed.position.delta is None and not claimed.due:
            leave(connection)
            return Ran()
        if isinstance(state.endpoint, Connected):
            keys = Keys()
            self._session = self._request_loop.session(cursor.subscription_id, state.endpoint)
            if not self._session.is_open:
                leave(connection)
                return OPENS if self._session.is_due else WAITS
        else:
            signed = self._signing.keys(connection, cursor, state.secrets, waits=claimed.noted)
            if signed is None:
                connection.execute("commit")
                return WAITS
            keys = signed
        if self._rate.update(state.endpoint):
            leave(connection)
            return Ran(exhausted=False)
        slots = self._slots = self._request_loop.slots(cursor.subscription_id, state.made_by)
        slots.capacity = state.endpoint.concurrency
        if not state.is_open:
            self._blocked_until.pop(cursor.id, None)
        takes_fresh = slots.takes_fresh(retrying=state.retrying) and not self._is_blocked(cursor)
        has_room = claimed.due or takes_fresh
        target = self._target(connection, cursor, state, keys, granted) if has_room else None
        if target is None:
            leave(connection)
            return WAITS
        if not target.probing and self._judge_late_failures(connection, target, state):
            connection.execute("commit")
            return Ran(progressed=True, blocked=True)
        ran = self._deliver(connection, cursor, claimed, target, slots, limit, began_at)
        alone = ran.alone or not state.is_simple(claimed)
        return msgspec.structs.replace(ran, alone=alone)

    def _target(
        self,
        connection: Connection,
        cursor: Cursor,
        state: SubscriptionState,
        keys: Keys,
        granted: int,
    ) -> Target | None:
        """None while the breaker is open, or another relay has its one message."""
        endpoint, probe_token = state.endpoint, None
        if state.is_open:
            if not state.is_half_open or not self._is_in_turn(connection, cursor):
                return None
            cool_down, timeout = endpoint.breaker.cool_down_seconds, endpoint.timeout_seconds
            probe_token = breaker.take_probe_token(
                connection, cursor.subscription_id, cool_down, timeout
            )
            if probe_token is None:
                return None
            self._probed_last = _place(cursor)
        return Target(
            subscription_id=cursor.subscription_id,
            subscription=cursor.subscription,
            endpoint=endpoint,
            keys=keys,
            clock=state.now - time.monotonic(),
            most=granted if probe_token is None else 1,
            failing=state.failing,
            retrying=state.retrying,
            has_heads=state.has_heads,
            probe_token=probe_token,
            installation=state.installation,
            replays=state.replays,
            owner=state.made_by,
        )

    def _is_in_turn(self, connection: Connection, cursor: Cursor) -> bool:
        """Whether a half-open breaker's message is this cursor's, of all that have work.

        By turns: what is never answered in one of them would else keep the breaker open for all.
        """
        places = [
            _place(one)
            for one in pending(connection, cursor.subscription_id)
            if one.id == cursor.id or not self._is_blocked(one)
        ]
        later = [place for place in places if place > self._probed_last]
        return _place(cursor) == min(later or places, default=_place(cursor))

    def _is_blocked(self, cursor: Cursor) -> bool:
        return time.monotonic() < self._blocked_until.get(cursor.id, 0.0)

    def _judge_late_failures(
        self, connection: Connection, target: Target, state: SubscriptionState
    ) -> bool:
        """What was sent before the breaker closed, or before its window, does not open it again:
        another relay's runs may have followed.
        """
        since = max(state.closed_at, state.now - state.endpoint.breaker.window_seconds)
        more = self._request_loop.take_late_failures(target.subscription_id, since)
        former = self._late
        self._late = Failures(former.failed + more.failed, former.refused + more.refused)
        if not self._late.failed:
            return False
        opened = breaker.judge_run(connection, target, Failures(self._late.failed))
        if opened:
            self._late = Failures(0, self._late.refused)
        return opened

    def _deliver(
        self,
        connection: Connection,
        cursor: Cursor,
        claimed: Claimed,
        target: Target,
        slots: Slots,
        limit: int,
        began_at: float,
    ) -> Ran:
        cleared, due = 0, list[Item]()
        # Where heads are due again and again, a fresh message may close the breaker sooner.
        fresh_probe = claimed.position.delta is not None and random.random() < FRESH_PROBES
        fresh_probe = fresh_probe and target.probing and not self._is_blocked(cursor)
        if claimed.due and not fresh_probe:
            heads = 1 if target.probing else HEADS_PER_SLOT * target.endpoint.concurrency
            cleared, due = rows.load(connection, cursor, heads)
        finished = [item for item in due if _decide_without_request(item, target.endpoint, cursor)]
        # Their groups go on once that is committed.
        groups = {item.group_key for item in finished if item.group_key is not None}
        due = [item for item in due if item.verdict is None and item.group_key not in groups]
        reading = None
        # Where the probe is a row, the log is of no concern.
        if claimed.position.delta is not None and not (target.probing and due):
            look = None if self._span is None else self._span.see
            reading = Reading(connection, [claimed], limit, blocking=True, look=look)
        if self._span is not None:
            self._span.set_clock(target.clock)
            self._span.link(item.row for item in due if item.row is not None)
        lease = Lease(connection, frozen_after_seconds(self._settings), began_at)
        sending = Sending(self._request_loop, lease)
        sending.add(target, cursor.id, slots)
        with self._request_loop.working.rest(self._owner):
            (result,) = sending.send(
                due,
                _turns(reading),
                lambda: [reading.after_id if reading is not None else 0],
            )
        self._rate.used(result.sent)
        if self._span is not None:
            self._span.send(result.sent)
        sent = Sent(claimed, target, reading, result, finished, cleared, self._late)
        try:
            if result.away is not None:
                self._note(connection, cursor, result.away)
            elif claimed.noted and sent.acked:
                note_waiting(connection, cursor.subscription_id, None)
            (progressed,) = finish(
                connection, [sent], self._settings.name, self._telemetry, began_at
            )
        except BaseException:
            sending.end(committed=False)
            raise
        sending.end(committed=True)
        self._late = Failures()
        return self._ran(sent, began_at, progressed=progressed)

    def _ran(self, sent: Sent, began_at: float, *, progressed: bool) -> Ran:
        """How the run ended for the worker."""
        cursor, target, result, reading = sent.cursor, sent.target, sent.result, sent.reading
        if target.probing and not result.sent and (result.behind or result.done_id == 0):
            # All that was read has to wait: the log is read again when a cool-down is over.
            cool_down = target.endpoint.breaker.cool_down_seconds
            self._blocked_until[cursor.id] = time.monotonic() + cool_down
        read = reading is None or (result.done_id is None and reading.exhausted)
        exhausted = read and not sent.claimed.due
        # What was there found neither a slot nor room.
        stuck = not (result.sent or progressed or exhausted)
        waits = target.probing and not sent.is_next_probe_at_once
        if result.is_lease_over:
            self._tell_lease_over(cursor.subscription, time.monotonic() - began_at)
        blocked = stuck or waits or result.is_lease_over or result.unable
        blocked = blocked or result.gone is not None or result.away is not None
        return Ran(progressed, exhausted, blocked, alone=result.is_slow or not sent.is_simple)

    def _tell_lease_over(self, subscription: str, seconds: float) -> None:
        self._telemetry.fault(subscription, "lease_over")
        if self._telling.begin_if_over():
            logger.error(
                "lease_over",
                subscription=subscription,
                seconds=round(seconds, 1),
                fault="its time to send was over before its first request; nothing was sent",
                hint="Postgres or this machine is slow; RELAY_BARRIER_SECONDS makes runs longer",
            )


def _place(cursor: Cursor) -> tuple[int, int, int]:
    return cursor.priority, cursor.shard, cursor.id


def _decide_without_request(item: Item, endpoint: Receiver, cursor: Cursor) -> bool:
    """What came late, or a shorter schedule, has decided already."""
    exhausted = item.attempts >= most_attempts(endpoint.retry)
    if item.outcome == "acked":
        # It came since the others were cleared.
        item.verdict = Verdict("acked", item.attempts)
    elif item.row is None:
        logger.error("message_gone", cursor=cursor.id, message=item.message_id)
        item.verdict = Verdict("missing", item.attempts)
    elif item.outcome == "dead" or exhausted:
        limit = f"{item.attempts} attempts" if exhausted else None
        item.verdict = Verdict("dead", item.attempts, exhausted=limit)
    return item.verdict is not None


def _turns(reading: Reading | None) -> Generator[list[Page]]:
    if reading is not None:
        for rows in reading.pages():
            yield [Page(rows, (0,))]
