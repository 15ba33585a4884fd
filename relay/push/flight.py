"""One run's requests: which message goes when, and what is still in the air at the end.

A group's messages go one after the other; what comes behind one that failed stays behind it.
"""

import heapq
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from relay.push.answer import Answer
from relay.push.client import Request
from relay.push.endpoint import Endpoint
from relay.push.item import Item, fresh
from relay.push.signature import sign
from relay.push.slots import Slots
from relay.push.verdict import Verdict, judge
from relay.sink import Row

if TYPE_CHECKING:
    from relay.push.courier import Courier

# A run sends for so long; then it waits for requests that are younger than the tail.
FEED_SECONDS = 0.5
TAIL_SECONDS = 0.05
# Many requests share one loop: with a hundred endpoints at work an answer takes its time.
SOON_SECONDS = 0.15
TAIL_ANSWERS = 3
# What each run may have in the air though the loop is behind, so that every subscription gets on.
FEW_IN_FLIGHT = 2
# What waits in memory for a slot or for its group: enough that no slot idles, and no more.
BATCH_ROWS = 64
MOST_WAITING = 512
MOST_WAITING_BYTES = 8_000_000
# Messages that a run puts behind a blocked group, and that fail in it: more stay in the log.
MOST_BEHIND = 2000
MOST_FAILED = 1000
# The loop has died where this is over.
LANDING_SECONDS = 30.0


class Target(msgspec.Struct, frozen=True):
    """Where a run's requests go.

    `clock` plus time.monotonic() is the database's, in seconds since 1970. `failing`: nothing has
    succeeded since a failure; `retrying`: some messages wait for another attempt.
    """

    subscription_id: int
    subscription: str
    endpoint: Endpoint
    keys: list[bytes]
    clock: float
    failing: bool = False
    retrying: bool = False
    probe_token: int | None = None

    def now(self) -> float:
        """By the database's clock, in seconds since 1970."""
        return self.clock + time.monotonic()

    @property
    def probing(self) -> bool:
        """The breaker is half-open: one message goes, and uses no attempt."""
        return self.probe_token is not None


class Landed(msgspec.Struct, frozen=True):
    """How a run's requests ended.

    `settled` have a verdict, `flying` a token and no verdict yet; `behind` are messages of the log
    that need a row because the run passes them. Of the log everything up to `done_id` is settled,
    flying or behind; None: everything that was read.
    """

    settled: list[Item]
    flying: list[Item]
    behind: list[Item]
    done_id: int | None
    sent: int
    gone: str | None


class Flight:
    """The requests of one run. `fly`, `end` and `stop` are the run's; the rest is the loop's."""

    def __init__(
        self,
        courier: "Courier",
        target: Target,
        cursor_id: int,
        slots: Slots,
        *,
        most: int,
        send_before: float,
    ) -> None:
        """At most `most` requests, none at or after `send_before` by the loop's clock."""
        self._courier = courier
        self._loop = courier.loop
        self._target = target
        self._cursor_id = cursor_id
        self._slots = slots
        self._left = most
        self._send_before = send_before
        self._hungry = threading.Event()
        self._landed: Future[Landed] = Future()
        self._sending = True
        self._more = True
        self._exhausted = False
        self._ready: list[tuple[int, Item]] = []
        self._retries: deque[Item] = deque()
        self._retried_last = False
        # Of few requests, as a rate limit leaves, retries get half.
        self._retries_left = max(most // 2, 1)
        self._followers: dict[bytes, deque[Item]] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._stuck_groups: set[bytes] = set()
        self._behind: list[Item] = []
        self._in_flight: dict[Item, float] = {}
        self._settled: list[Item] = []
        self._acked = 0
        self._failed = 0
        self._answer_seconds = 0.0
        self._sent = 0
        self._read_upto = 0
        self._gone: str | None = None
        # Outcomes that come after the landing wait for the run's commit: their rows are not there.
        self._committed: bool | None = None
        self._late: list[Item] = []

    # The run's side.

    def fly(self, due: Sequence[Item], rows: Iterator[Row]) -> Landed:
        """Sends what is due and then `rows`, until there is no more or the run's time is over."""
        call = self._loop.call_soon_threadsafe
        try:
            call(self._begin, list(due))
            exhausted = False
            while self._more and self._sending:
                batch = list(islice(rows, BATCH_ROWS))
                if not batch:
                    exhausted = True
                    break
                self._hungry.clear()
                call(self._feed, batch)
                self._hungry.wait(LANDING_SECONDS)
            call(self._close, exhausted)
            return self._landed.result(LANDING_SECONDS)
        except BaseException:
            self.stop()
            raise

    def end(self, *, committed: bool) -> None:
        """The run is over: outcomes that come late find their rows, or never will."""
        self._loop.call_soon_threadsafe(self._release, committed)

    def stop(self) -> None:
        """The run is given up: when this returns, nothing more of it is sent."""
        stopped = threading.Event()

        def abandon() -> None:
            self._sending = False
            self._release(False)
            stopped.set()

        self._loop.call_soon_threadsafe(abandon)
        stopped.wait(LANDING_SECONDS)

    # The loop's side.

    def _begin(self, due: Iterable[Item]) -> None:
        self._slots.resume = self._resume
        self._loop.call_later(FEED_SECONDS, self._end_of_time)
        for item in due:
            self._queue(item)
        self._pump()

    def _feed(self, rows: list[Row]) -> None:
        for row in rows:
            self._read_upto = row[0]
            self._queue(fresh(row))
        self._resume()

    def _resume(self) -> None:
        self._pump()
        self._ask_for_more()

    def _close(self, exhausted: bool) -> None:
        """There is no more; `exhausted`: because the log has been read to its end."""
        self._more = False
        self._exhausted = exhausted
        self._pump()

    def _end_of_time(self) -> None:
        self._sending = False
        self._hungry.set()
        self._check()

    def _queue(self, item: Item) -> None:
        group = item.group_key
        if item.blocked or (group is not None and group in self._stuck_groups):
            if item.fresh:
                self._behind.append(item)
            return
        self._waiting += 1
        self._waiting_bytes += _size(item)
        if group is None:
            self._enqueue(item)
        elif (followers := self._followers.get(group)) is not None:
            followers.append(item)
        else:
            self._followers[group] = deque()
            self._enqueue(item)

    def _enqueue(self, item: Item) -> None:
        if item.fresh:
            heapq.heappush(self._ready, (item.message_id, item))
        else:
            self._retries.append(item)

    def _ask_for_more(self) -> None:
        if len(self._behind) >= MOST_BEHIND or self._failed >= MOST_FAILED or not self._sending:
            self._more = False
            self._hungry.set()
        elif self._waiting < MOST_WAITING and self._waiting_bytes < MOST_WAITING_BYTES:
            self._hungry.set()

    def _pump(self) -> None:
        while self._sending and self._left > 0:
            item = self._next()
            if item is None:
                break
            self._left -= 1
            self._launch(item)
        self._check()

    def _next(self) -> Item | None:
        """Retries and first attempts in turn, as far as each has slots and the loop keeps up."""
        if self._courier.is_behind and len(self._in_flight) >= FEW_IN_FLIGHT:
            return None
        fresh_wait = bool(self._ready) or self._more
        retry = (
            bool(self._retries)
            and self._slots.takes_retry(fresh_wait=fresh_wait)
            and (self._retries_left > 0 or not fresh_wait)
        )
        first = bool(self._ready) and self._slots.takes_fresh(retrying=self._target.retrying)
        if retry and (not first or not self._retried_last):
            self._retried_last = True
            self._retries_left -= 1
            return self._retries.popleft()
        if first:
            self._retried_last = False
            return heapq.heappop(self._ready)[1]
        return None

    def _launch(self, item: Item) -> None:
        self._waiting -= 1
        self._waiting_bytes -= _size(item)
        assert item.row is not None
        if len(item.row[7]) > self._target.endpoint.max_payload_bytes:
            limit = self._target.endpoint.max_payload_bytes
            detail = f"{len(item.row[7])} bytes, and max_payload_bytes is {limit}"
            item.answer = Answer(None, "payload_too_large", detail, b"", None, None, 0.0)
            item.verdict = Verdict("dead", item.attempts)
            self._land(item)
            return
        self._sent += 1
        item.sent_at = time.monotonic()
        self._in_flight[item] = item.sent_at
        self._slots.take(retry=not item.fresh)
        self._courier.spawn(self._send(item, item.row))

    async def _send(self, item: Item, row: Row) -> None:
        target = self._target
        stamp = int(target.now())
        headers = self._courier.headers.of(row, replayed=item.replayed)
        headers["webhook-timestamp"] = str(stamp)
        headers["webhook-signature"] = sign(target.keys, row[4], stamp, row[7])
        request = Request(
            target.endpoint.endpoint,
            headers,
            row[7],
            target.endpoint.timeout_seconds,
            self._send_before,
        )
        item.answer = await self._courier.client.post(request)
        item.verdict = judge(
            target.endpoint,
            item.attempts,
            item.answer,
            probing=target.probing,
            now=target.now(),
            random=random.random,
        )
        self._slots.give_back(retry=not item.fresh)
        if self._landed.done():
            self._come_late(item)
            if self._slots.resume is not None:
                self._slots.resume()
            return
        del self._in_flight[item]
        self._answer_seconds += item.answer.seconds
        self._land(item)
        self._resume()

    def _land(self, item: Item) -> None:
        assert item.verdict is not None
        self._settled.append(item)
        group = item.group_key
        if item.verdict.kind == "acked":
            self._acked += 1
            if group is not None:
                followers = self._followers[group]
                if followers:
                    self._enqueue(followers.popleft())
                else:
                    del self._followers[group]
            return
        self._failed += item.sent_at > 0
        if item.answer is not None and item.answer.status == 410:
            self._gone = item.answer.detail
            self._sending = False
        if group is not None:
            # Also behind one that is given up: its group goes on once that is committed.
            self._stuck_groups.add(group)
            for follower in self._followers.pop(group):
                self._waiting -= 1
                self._waiting_bytes -= _size(follower)
                if follower.fresh:
                    self._behind.append(follower)
        limits = self._target.endpoint.breaker
        if self._failed >= limits.minimum and self._failed >= limits.threshold * (
            self._failed + self._acked
        ):
            # The database has the whole window, and decides; until then nothing more is risked.
            self._sending = False

    def _check(self) -> None:
        """Lands once nothing can be sent any more and what is in flight has had its tail."""
        if self._landed.done():
            return
        can_send = self._sending and self._left > 0
        if can_send and (self._more or self._ready or self._retries):
            return
        if self._in_flight:
            newest = next(reversed(self._in_flight.values()))
            rest = newest + self._tail_seconds() - time.monotonic()
            if rest > 0:
                self._loop.call_later(rest, self._check)
                return
        self._hungry.set()
        self._landed.set_result(self._result())

    def _tail_seconds(self) -> float:
        """Where answers come soon, waiting for the last ones is cheaper than a row for each."""
        mean_seconds = self._answer_seconds / max(self._acked + self._failed, 1)
        if mean_seconds > SOON_SECONDS:
            return TAIL_SECONDS
        return max(TAIL_SECONDS, TAIL_ANSWERS * mean_seconds)

    def _result(self) -> Landed:
        self._sending = False
        self._slots.resume = None
        flying = list(self._in_flight)
        for item in flying:
            item.token = self._target.probe_token or secrets.randbits(63)
        held = [i for i in self._settled if i.verdict is not None and i.verdict.kind == "held"]
        unsent = [item for _, item in self._ready]
        unsent += [item for followers in self._followers.values() for item in followers]
        unsent = [item for item in (*unsent, *held) if item.fresh]
        behind, done_id = self._pass(flying, unsent)
        return Landed(self._settled, flying, behind, done_id, self._sent, self._gone)

    def _pass(self, flying: list[Item], unsent: list[Item]) -> tuple[list[Item], int | None]:
        """Which messages of the log get a row, and up to which one the run has come.

        It comes to the last message that was attempted, or to the one before the first that was
        not; what was read beyond stays in the log.
        """
        waiting = sorted(unsent, key=_id)
        if not waiting and self._exhausted:
            return self._behind, None
        attempted = [
            item.message_id
            for item in (*self._settled, *flying)
            if item.fresh and (item.verdict is None or item.verdict.kind != "held")
        ]
        done_id = max(attempted, default=0)
        done_id = max(done_id, waiting[0].message_id - 1 if waiting else self._read_upto)
        passed = [one for one in (*self._behind, *waiting) if one.message_id <= done_id]
        return passed, done_id

    def _come_late(self, item: Item) -> None:
        if self._committed:
            self._courier.overdue(self._target, self._cursor_id, item)
        elif self._committed is None:
            self._late.append(item)

    def _release(self, committed: bool) -> None:
        self._committed = committed
        late, self._late = self._late, []
        for item in late:
            self._come_late(item)


def _size(item: Item) -> int:
    return len(item.row[7]) if item.row is not None else 0


def _id(item: Item) -> int:
    return item.message_id
