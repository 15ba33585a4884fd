"""One cursor's requests in a run: which goes when, and what is still in flight at the end.

A group's messages go one after the other; what comes behind one that failed stays behind it.
"""

import random
import secrets
import time
from asyncio import Handle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import structlog

from relay.log import encoding
from relay.log.message import ID, Row
from relay.push.fair_turns import Owner
from relay.push.http.answer import Answer, unanswered
from relay.push.item import Item, fresh
from relay.push.lease import Lease
from relay.push.policy.settings import Endpoint
from relay.push.policy.verdict import AWAY, GONE, HELD, Verdict, by_schedule, judge
from relay.push.requests.loop import RequestLoop
from relay.push.requests.queue import Waiting
from relay.push.requests.result import BatchResult
from relay.push.requests.slots import Slots
from relay.push.requests.traced import trace
from relay.push.target import Target

logger = structlog.get_logger()

# Messages that a run puts behind a blocked group, and that fail in it: more stay in the log.
MAX_BEHIND = 2000
MAX_FAILED = 1000
NO_ROOM = "its owner's share of open requests or of RELAY_PUSH_IN_FLIGHT_BYTES is taken"


class Sender(Protocol):
    """The run that a batch is of."""

    @property
    def request_loop(self) -> RequestLoop:
        """Over which its requests go."""

    @property
    def lease(self) -> Lease:
        """Until when they may."""

    @property
    def is_shared(self) -> bool:
        """Whether others than its cursors may wait for its end."""

    def tail_ends_at(self, sent_at: float) -> float:
        """Until when a request that was sent last at this moment is waited for at the end."""

    def held_seconds(self) -> float:
        """How long others have waited by now for a batch that is not over."""

    def count_dead_letter(self, owner: Owner, size: int) -> bool:
        """Counts a dead letter that the end of the run writes; False: it is too large for that."""

    def fed(self) -> None:
        """A batch has room for another page, or wants no more."""

    def answered(self, seconds: float) -> None:
        """A request was, after so long."""

    def over(self) -> None:
        """A batch has its result."""


class RequestBatch:
    """The requests of one cursor in one run. All of it happens on the request loop.

    `result` is there once the sender was told that it is over.
    """

    def __init__(
        self,
        sender: Sender,
        target: Target,
        cursor_id: int,
        slots: Slots,
        window: int | None = None,
    ) -> None:
        self.result: BatchResult | None = None
        self._sender = sender
        self._request_loop = sender.request_loop
        self._loop = sender.request_loop.loop
        self._target = target
        self.cursor_id = cursor_id
        self._slots = slots
        self._left = target.most
        self._transport = sender.request_loop.transport(target, cursor_id, slots.owner)
        self._few = self._transport.few
        self._trace: Callable[[Item, Answer], None] | None = None
        spans, to = sender.request_loop.spans, target.endpoint
        if spans is not None and isinstance(to, Endpoint):
            self._trace = partial(trace, spans, target, to.endpoint)
        self._is_fed = True
        self._waiting = Waiting(slots, target.most, retrying=target.retrying, window=window)
        # It does not say when it is due: of what is due at once uvloop makes no timer.
        self._tail: Handle | None = None
        self._tail_due = 0.0
        self._sending = True
        # Rows may come; and whether their end was the log's.
        self._more = True
        self._closed = False
        self._exhausted = False
        self._read_upto = 0
        # Pages that came when it sent no more: they stay in the log.
        self._missed = 0
        self._in_flight: dict[Item, float] = {}
        self._settled: list[Item] = []
        self._acked = 0
        # Of those that were sent; `refused` are no failures.
        self._failed = 0
        self._refused = 0
        self._sent = 0
        self._gone: str | None = None
        self._unable = False
        self._away: str | None = None
        self._left_dead_letter = False
        # Outcomes that come after the result, or that the end of the run is not to write, wait for
        # its commit: their rows are not there.
        self._committed: bool | None = None
        self._late: list[Item] = []

    @property
    def settled(self) -> int:
        """How many have their outcome."""
        return len(self._settled)

    @property
    def is_idle(self) -> bool:
        """Whether all that it has got so far has its outcome; False where it got nothing."""
        has_outcomes = bool(self._settled or self._late)
        return has_outcomes and not self._in_flight and not self._waiting.has_ready

    @property
    def reads(self) -> bool:
        """Whether it may want another page."""
        return self._more and self.can_send

    @property
    def waits_for_room(self) -> bool:
        """Whether it has not said yet that it can take another page."""
        return not self._is_fed

    def load(self, due: Sequence[Item]) -> None:
        """What is due goes before the log's."""
        self._slots.enter(self._resume)
        for item in due:
            self._waiting.add(item)
        self._pump()

    def feed(self, page: Sequence[Row]) -> None:
        """The log's next messages; the sender is told when there is room for more."""
        if self._missed or not self.reads:
            self._missed += 1
            self._sender.fed()
            return
        self._slots.enter(self._resume)
        self._is_fed = False
        for row in page:
            self._waiting.add(fresh(row))
        self._read_upto = page[-1][ID]
        self._resume()

    def close(self, read_upto: int, *, exhausted: bool) -> None:
        """There is no more: the log was read up to there, or (`exhausted`) as far as it goes."""
        self._more = False
        self._closed = True
        if not self._missed:
            self._read_upto, self._exhausted = read_upto, exhausted
        self._pump()

    def end_sending(self) -> None:
        """What was not sent by now stays in the log."""
        self._sending = False
        self._resume()

    def release(self, *, committed: bool) -> None:
        """The run is over: outcomes that come late find their rows, or never will."""
        self._sending = False
        self._committed = committed
        self._slots.leave(self._resume)
        late, self._late = self._late, []
        for item in late:
            self._come_late(item)

    def _resume(self) -> None:
        self._pump()
        if self._is_fed:
            return
        if len(self._waiting.behind) >= MAX_BEHIND or self._failed + self._refused >= MAX_FAILED:
            self._more = False
        if not (self._more and self.can_send and self._waiting.is_full):
            self._tell()

    def _tell(self) -> None:
        if not self._is_fed:
            self._is_fed = True
            self._sender.fed()

    @property
    def can_send(self) -> bool:
        """Whether more requests may be made."""
        return self._sending and self._left > 0

    def _pump(self) -> None:
        while self._sending and self._left > 0:
            if len(self._in_flight) >= self._few and self._gives_way:
                break
            self._waiting.admit(len(self._in_flight))
            item = self._waiting.take(fresh_come=self._more)
            if item is None:
                break
            self._left -= 1
            self._launch(item)
        self.check()

    @property
    def _gives_way(self) -> bool:
        """Whether others need the loop more. (Each answer to what is in flight asks again.)

        The owners that fill it give way, and none besides, but for the few that the transport may
        have in flight all the same: where it is behind, and with what goes alone to a shared run.
        """
        request_loop = self._request_loop
        if not self._slots.owner_is_large:
            return False
        alone = request_loop.has_shared_run and not self._sender.is_shared
        quick = alone and not request_loop.usual.is_slow(self._target.subscription_id)
        return request_loop.is_behind or quick

    def _launch(self, item: Item) -> None:
        assert item.row is not None
        limit = self._target.endpoint.max_payload_bytes
        if item.payload_bytes > limit:
            detail = f"{item.payload_bytes} bytes, and max_payload_bytes is {limit}"
            self._give_up(item, "payload_too_large", detail)
            return
        try:
            encoded = self._transport.encode(item.row, replayed=item.replayed)
        except Exception as wrong:
            self._give_up(item, encoding.reason(wrong), encoding.fault(wrong))
            return
        self._sent += 1
        item.sent_at = self._in_flight[item] = time.monotonic()
        self._slots.take(item.held_bytes, retry=not item.fresh)
        self._request_loop.begin()
        answered = partial(self._answered, item)
        try:
            ends_at = self._sender.lease.ends_at
            self._transport.send(item.row, encoded, item.sent_at, ends_at, answered)
        except Exception as fault:
            self._loop.call_soon(answered, self._mistake(fault))

    def _give_up(self, item: Item, reason: str, detail: str) -> None:
        """It can never be sent, and no request is made for it."""
        behind = self._waiting.behind
        if (
            self._target.probing
            and item.fresh
            and behind
            and behind[0].message_id < item.message_id
        ):
            # Its dead letter would cost a row for each before it: the probe is the next in the log.
            self._left += 1
            self._waiting.put_behind(item)
            return
        if not self._sender.count_dead_letter(self._target.owner, item.held_bytes):
            self._left += 1
            self._left_dead_letter = True
            self._sending = False
            self._waiting.put_back(item)
            return
        item.answer = Answer(None, reason, detail, b"", None, None, 0.0)
        item.verdict = Verdict("dead", item.attempts)
        item.let_go()
        self._settle(item)

    def _answered(self, item: Item, answer: Answer) -> None:
        if self._trace is not None:
            self._trace(item, answer)
        item.let_go()
        self._slots.give_back(item.held_bytes, retry=not item.fresh)
        self._judge(item, answer)
        if self.result is not None:
            self._come_late(item)
        else:
            del self._in_flight[item]
            self._sender.answered(answer.seconds)
            self._settle_or_leave(item)
            self._resume()
        self._slots.resume_others(self._resume)

    def _judge(self, item: Item, answer: Answer) -> None:
        target = self._target
        item.answer = answer
        try:
            item.verdict = judge(
                target.endpoint,
                item.attempts,
                answer,
                probing=target.probe_token is not None,
                now=target.clock + item.sent_at + answer.seconds,
                random=random.random,
            )
        except Exception as fault:
            item.answer = self._mistake(fault)
            item.verdict = by_schedule(target.endpoint, item.attempts, random.random)
            return
        if answer.error in HELD:
            self._hold(item, answer)

    def _hold(self, item: Item, answer: Answer) -> None:
        """It is as if it had not been tried."""
        item.sent_at = 0.0
        if answer.error == "no_connection":
            self._unable = True
            self._sending = False
            self._request_loop.tell_waits(self._target, answer.detail)
        elif answer.error in AWAY:
            self._away = f"{answer.error}: {answer.detail}"
            self._sending = False

    def _mistake(self, fault: Exception) -> Answer:
        """Of the relay's: it is tried again by its schedule, and its slot is free."""
        logger.error("request_failed", subscription=self._target.subscription, exc_info=fault)
        return unanswered("fault", type(fault).__name__, 0.0)

    def _settle_or_leave(self, item: Item) -> None:
        """Where its dead letter is too large for others to wait for, the outcome goes to its row as
        if it had come late; a run of its own writes the dead letter.
        """
        is_dead = item.verdict is not None and item.verdict.kind == "dead"
        if is_dead and not self._sender.count_dead_letter(self._target.owner, item.held_bytes):
            self._late.append(item)
            self._sending = False
        else:
            self._settle(item)

    def _settle(self, item: Item) -> None:
        assert item.verdict is not None
        self._settled.append(item)
        if item.verdict.kind == "acked":
            self._acked += 1
            if item.group_key is not None:
                self._waiting.go_on(item.group_key)
            return
        if item.refused:
            self._refused += 1
        else:
            self._failed += item.sent_at > 0
        if item.group_key is not None:
            self._waiting.hold(item.group_key)
        if item.answer is not None and item.answer.status == GONE:
            self._gone = item.answer.detail
            self._sending = False
        if self._sender.is_shared:
            # What becomes of it is written while others wait: it goes on in runs of its own.
            self._sending = False
        limits = self._target.endpoint.breaker
        if self._failed >= limits.minimum and self._failed >= limits.threshold * (
            self._failed + self._acked
        ):
            # The database has the whole window, and decides; until then nothing more is risked.
            self._sending = False

    def check(self) -> None:
        """Gives the result once nothing can be sent and what is in flight has had its tail."""
        if self.result is not None:
            return
        if self.can_send and (self._more or self._waiting.has_ready):
            return
        if not self._closed:
            # The run reads no further; it may still be on its way to the next page.
            self._more = False
            self._tell()
            return
        if self._in_flight:
            ends_at = self._sender.tail_ends_at(next(reversed(self._in_flight.values())))
            if time.monotonic() < ends_at:
                self._look_again_at(ends_at)
                return
        self.result = self._sum_up()
        if self.result.mean_seconds:
            self._request_loop.usual.note(self._target.subscription_id, self.result.mean_seconds)
        self._sender.over()

    def _look_again_at(self, moment: float) -> None:
        if moment == float("inf"):
            # The sender asks again.
            return
        if self._tail is not None:
            if self._tail_due <= moment:
                return
            self._tail.cancel()
        self._tail_due = moment
        after = self._request_loop.after_what_has_come
        self._tail = self._loop.call_at(moment, after, self._end_of_tail)

    def _end_of_tail(self) -> None:
        self._tail = None
        self.check()

    def _sum_up(self) -> BatchResult:
        self._sending = False
        if self._tail is not None:
            self._tail.cancel()
        self._slots.leave(self._resume)
        if self._slots.lacks_room and self._waiting.has_ready:
            self._request_loop.tell_waits(self._target, NO_ROOM)
        in_flight = [*self._in_flight, *self._late]
        for item in in_flight:
            item.token = self._target.probe_token or secrets.randbits(63)
        held = [i for i in self._settled if i.verdict is not None and i.verdict.kind == "held"]
        unsent = [*self._waiting.unsent(), *(item for item in held if item.fresh)]
        behind, done_id = self._pass(in_flight, sorted(unsent, key=_id))
        for item in unsent:
            # It stays in the log, or gets a row: what it carries is read again.
            item.let_go()
        return BatchResult(
            self._settled,
            in_flight,
            behind,
            done_id,
            self._sent,
            self._gone,
            self._unable,
            self._away,
            self._request_loop.usual.slow_seconds,
            len(unsent),
            self._sender.held_seconds() if self._sent else 0.0,
            self._left_dead_letter,
        )

    def _pass(self, in_flight: list[Item], unsent: list[Item]) -> tuple[list[Item], int | None]:
        """Which messages of the log get a row, and up to which one the run has come.

        It comes to the last message that was attempted, or to the one before the first that was
        not; what was read beyond stays in the log.
        """
        behind = self._waiting.behind
        attempted = [
            item.message_id
            for item in (*self._settled, *in_flight)
            if item.fresh and (item.verdict is None or item.verdict.kind != "held")
        ]
        done_id = max(attempted, default=0)
        is_stuck = not done_id and not self._target.has_heads
        if self._target.probing and (done_id or behind or unsent) and not is_stuck:
            # While the breaker is open nothing gets a row but the probe, and what of the log that
            # has to pass. Where none was sent all stays in the log, unless no row will ever be due,
            # as behind a dead letter that is parked: then the probe is further on.
            return [one for one in behind if one.message_id <= done_id], done_id
        if not unsent and self._exhausted:
            return behind, None
        done_id = max(done_id, unsent[0].message_id - 1 if unsent else self._read_upto)
        passed = [one for one in (*behind, *unsent) if one.message_id <= done_id]
        return passed, done_id

    def _come_late(self, item: Item) -> None:
        if self._committed:
            self._request_loop.late(self._target, self.cursor_id, item)
        elif self._committed is None:
            self._late.append(item)


def _id(item: Item) -> int:
    return item.message_id
