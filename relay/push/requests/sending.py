"""A run's requests, of one cursor or of several: feeds them and waits for the end of all.

The run's thread and the request loop meet here: one call for each page, and one result.
"""

import threading
import time
from asyncio import TimerHandle
from collections import Counter
from collections.abc import Callable, Generator, Sequence, Set
from concurrent.futures import Future

from relay.log.sink import Page
from relay.push.fair_turns import Owner
from relay.push.item import Item
from relay.push.lease import Lease
from relay.push.requests.batch import RequestBatch
from relay.push.requests.loop import RequestLoop
from relay.push.requests.result import BatchResult
from relay.push.requests.slots import Slots
from relay.push.target import Target

# A run sends for so long; then it waits for requests that are younger than the tail.
FEED_SECONDS = 0.5
TAIL_SECONDS = 0.05
# In a shared run others wait for the slowest endpoint: those that are done, once they are half of
# all, and those that have something to send and are not in it. From then on it sends for so long
# still, or as long again as that half took, which is this machine's time as well as the endpoints';
# and where no one waits, so long in all. Then what is in flight has to be answered soon.
SHARED_TAIL_SECONDS = 0.025
MAX_SHARED_TAIL_SECONDS = 0.25
# Many requests share one loop: with a hundred endpoints at work an answer takes its time. Soon is
# so many times what is usual.
SOON_SECONDS = 0.15
TAIL_ANSWERS = 3
# A dead letter is a copy of its message. Others wait for so many bytes of each owner's in a run,
# however many subscriptions it has; what is more is written alone.
MAX_DEAD_BYTES = 250_000
# A run that gets no answer for so long leaves its connection to one that waits for it.
GIVE_WAY_SECONDS = 0.1
# The loop has died where this is over.
RESULT_SECONDS = 30.0


class Sending:
    """Add the cursors, then `send`, then `end`; or `stop` at any time before the end."""

    def __init__(self, request_loop: RequestLoop, lease: Lease, *, shared: bool = False) -> None:
        """`shared`: others than these cursors may wait for the end of the run."""
        self.request_loop = request_loop
        self.lease = lease
        self.is_shared = shared
        self._loop = request_loop.loop
        self._batches: list[RequestBatch] = []
        # The run waits for this between two pages; it is told once a page.
        self._hungry = threading.Event()
        self._result: Future[list[BatchResult]] = Future()
        # There from the first message on.
        self._timers: list[TimerHandle] = []
        self._tails: list[TimerHandle] = []
        # How many have not said that they have room for another page, and since when.
        self._unfed = 0
        self._takers = 0
        self._fed_at = 0.0
        self._patience: TimerHandle | None = None
        # How many have their result.
        self._over = 0
        self._closed_at: float | None = None
        # Of a shared run: since when others wait for its end, and when it sends no more.
        self._is_awaited = False
        self._awaited_at: float | None = None
        self._tail_due = float("inf")
        self._tail_ends_at = float("inf")
        self._answers = 0
        self._answer_seconds = 0.0
        self._dead_bytes: Counter[Owner] = Counter()

    def add(self, target: Target, cursor_id: int, slots: Slots, window: int | None = None) -> None:
        """One more cursor; before `send`. `window`: see Waiting."""
        self._batches.append(RequestBatch(self, target, cursor_id, slots, window))

    # The run's side.

    def send(
        self,
        due: Sequence[Item],
        turns: Generator[Sequence[Page]],
        read_upto: Callable[[], Sequence[int]],
    ) -> list[BatchResult]:
        """Sends what is due and then the log's, until there is no more or the time is over.

        `due` is the first cursor's; a run of several has none. Pages come in turns: after each, the
        log was read for each cursor up to the id that `read_upto` says. The results are in the
        order in which the cursors were added.
        """
        call = self._loop.call_soon_threadsafe
        try:
            self.lease.renew()
            if due:
                call(self._begin, due)
            exhausted = False
            while any(batch.reads for batch in self._batches):
                pages = next(turns, None)
                if pages is None:
                    exhausted = True
                    break
                self.lease.renew()
                self._hungry.clear()
                call(self._feed, pages)
                self._hungry.wait(RESULT_SECONDS)
            call(self._close, read_upto(), exhausted)
            return self._result.result(RESULT_SECONDS)
        except BaseException:
            self.stop()
            raise

    def end(self, *, committed: bool) -> None:
        """The run is over: outcomes that come late find their rows, or never will."""
        self._loop.call_soon_threadsafe(self._release, committed)

    def give_way(self, cursor_ids: Set[int]) -> None:
        """These cursors have something to send; see SharedRuns."""
        self._loop.call_soon_threadsafe(self._let_wait, cursor_ids)

    def stop(self) -> None:
        """The run is given up: when this returns, nothing more of it is sent."""
        stopped = threading.Event()

        def abandon() -> None:
            self._release(False)
            stopped.set()

        self._loop.call_soon_threadsafe(abandon)
        stopped.wait(RESULT_SECONDS)

    # The loop's side.

    def _begin(self, due: Sequence[Item]) -> None:
        self._start()
        self._batches[0].load(due)

    def _feed(self, pages: Sequence[Page]) -> None:
        self._start()
        self._unfed = self._takers = sum(len(page.takers) for page in pages)
        self._fed_at = self._loop.time()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        for rows, takers in pages:
            for taker in takers:
                self._batches[taker].feed(rows)
        if not self._unfed:
            self._hungry.set()
        elif 2 * self._unfed < len(self._batches):
            # Most have nothing to wait for.
            self._be_patient(SHARED_TAIL_SECONDS)

    def _start(self) -> None:
        """With the first message: the way to it may be long, where a filter leaves most out."""
        if not self._timers:
            later = self._loop.call_later
            self._timers = [later(FEED_SECONDS, self._end_of_time)]
            if not self.is_shared:
                # A shared run has a connection of its own.
                self._timers.append(later(GIVE_WAY_SECONDS, self._give_way, 0))
            if self._is_awaited:
                self._begin_tail(SHARED_TAIL_SECONDS)

    def _close(self, read_upto: Sequence[int], exhausted: bool) -> None:
        self._closed_at = self._loop.time()
        if self.is_shared:
            self._tails.append(self._end_tail_in(MAX_SHARED_TAIL_SECONDS))
        for batch, upto in zip(self._batches, read_upto, strict=True):
            batch.close(upto, exhausted=exhausted)
        self._see_who_waits()

    def _end_of_time(self) -> None:
        for batch in self._batches:
            batch.end_sending()

    def _give_way(self, settled_before: int) -> None:
        if not any(batch.can_send for batch in self._batches):
            return
        settled = sum(batch.settled for batch in self._batches)
        if settled == settled_before and self.request_loop.turns.are_awaited:
            self._end_of_time()
        else:
            self._timers[1] = self._loop.call_later(GIVE_WAY_SECONDS, self._give_way, settled)

    def _release(self, committed: bool) -> None:
        # A batch knows its run: in a circle both would last, with all that they hold, until the
        # collector comes by.
        batches, self._batches = self._batches, []
        for batch in batches:
            batch.release(committed=committed)

    # The batches' side.

    def tail_ends_at(self, sent_at: float) -> float:
        """Where answers come soon, waiting for the last ones is cheaper than a row for each."""
        if self.is_shared:
            if time.monotonic() < self._tail_ends_at:
                return self._tail_ends_at
            return sent_at + max(SHARED_TAIL_SECONDS, self._soon_seconds)
        mean_seconds = self._answer_seconds / max(self._answers, 1)
        if mean_seconds > SOON_SECONDS:
            return sent_at + TAIL_SECONDS
        return sent_at + max(TAIL_SECONDS, TAIL_ANSWERS * mean_seconds)

    def held_seconds(self) -> float:
        """How long others have waited by now for what is not over yet, beyond what is usual.

        Not for the log to be read: that is no endpoint's fault.
        """
        if self._awaited_at is None or self._closed_at is None:
            return 0.0
        since = max(self._awaited_at, self._closed_at)
        return max(self._loop.time() - since - self._soon_seconds, 0.0)

    @property
    def _soon_seconds(self) -> float:
        loop = self.request_loop
        # Of a loop that comes late, a request waits for its turn, and its answer for another.
        return min(
            TAIL_ANSWERS * loop.usual.seconds + 2 * loop.late_seconds, MAX_SHARED_TAIL_SECONDS
        )

    def _let_wait(self, cursor_ids: Set[int]) -> None:
        """Those that are in this run wait for nothing as long as they have something to do."""
        busy = [batch for batch in self._batches if batch.result is None and not batch.is_idle]
        if cursor_ids - {batch.cursor_id for batch in busy}:
            self._is_awaited = True
            # The time to send begins with the first message: reading it may take longer.
            if self._timers:
                self._begin_tail(SHARED_TAIL_SECONDS)

    def _see_who_waits(self) -> None:
        """Once there is no more to read: half of the batches wait for the others."""
        if self._closed_at is None or not self.is_shared or len(self._batches) == 1:
            return
        if len(self._batches) - self._over <= len(self._batches) // 2:
            self._begin_tail(max(self._loop.time() - self._closed_at, SHARED_TAIL_SECONDS))

    def _begin_tail(self, seconds: float) -> None:
        if self._over == len(self._batches):
            return
        now = self._loop.time()
        if self._awaited_at is None:
            self._awaited_at = now
        if now + seconds < self._tail_due:
            self._tail_due = now + seconds
            self._tails.append(self._end_tail_in(seconds))

    def _end_tail_in(self, seconds: float) -> TimerHandle:
        after = self.request_loop.after_what_has_come
        return self._loop.call_later(seconds, after, self._end_tail)

    def _end_tail(self) -> None:
        self._tail_ends_at = time.monotonic()
        for batch in self._batches:
            # What waits for room is not waited for any longer either.
            batch.end_sending()
            batch.check()

    def answered(self, seconds: float) -> None:
        self._answers += 1
        self._answer_seconds += seconds

    def count_dead_letter(self, owner: Owner, size: int) -> bool:
        if not self.is_shared:
            return True
        dead_bytes = self._dead_bytes[owner] + size
        if dead_bytes > MAX_DEAD_BYTES:
            return False
        self._dead_bytes[owner] = dead_bytes
        return True

    def fed(self) -> None:
        self._unfed -= 1
        if self._unfed <= 0:
            self._hungry.set()
        elif 2 * self._unfed <= self._takers:
            # The slower half gets as long again as the faster one took.
            self._be_patient(max(self._loop.time() - self._fed_at, SHARED_TAIL_SECONDS))

    def _be_patient(self, seconds: float) -> None:
        if self._patience is None and self.is_shared and len(self._batches) > 1:
            self._patience = self._loop.call_later(seconds, self._leave_slow)

    def _leave_slow(self) -> None:
        """What has no room still gets no more in this run; the others go on."""
        self._patience = None
        for batch in self._batches:
            if batch.waits_for_room:
                batch.end_sending()

    def over(self) -> None:
        self._over += 1
        if self._over < len(self._batches):
            self._see_who_waits()
        elif not self._result.done():
            for timer in (*self._timers, *self._tails, self._patience):
                if timer is not None:
                    timer.cancel()
            results = [batch.result for batch in self._batches if batch.result is not None]
            self._result.set_result(results)
