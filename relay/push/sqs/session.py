"""A session with one queue: fills batches on the request loop, sends them in threads.

botocore blocks, so that each request has a thread; its answers come back on the loop.
"""

import queue
import threading
import time
from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from relay.push.away import Away
from relay.push.http.answer import Answer, unanswered
from relay.push.policy.settings import Queue
from relay.push.sqs import codes
from relay.push.sqs.client import THREADS, Client
from relay.push.sqs.entry import MAX_BYTES, Entry
from relay.settings import Settings

MAX_ENTRIES = 10
# How long a queue that is away is left alone.
AWAY_SECONDS = 5.0
# A thread that has had nothing to send for so long ends.
IDLE_SECONDS = 10.0

Answered = Callable[[Answer], None]


class Batch:
    """Entries that go together, until their answers are there or their time is over."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.answered: list[Answered] = []
        self.size = 0
        self.made_at = time.monotonic()
        # By time.monotonic(): no request is begun from then on.
        self.before = float("inf")
        # A thread has it.
        self.is_begun = False
        self.timer: TimerHandle | None = None

    def takes(self, entry: Entry) -> bool:
        return len(self.entries) < MAX_ENTRIES and self.size + entry.size <= MAX_BYTES

    def add(self, entry: Entry, before: float, answered: Answered) -> None:
        self.entries.append(entry)
        self.answered.append(answered)
        self.size += entry.size
        self.before = min(self.before, before)

    def end(self, answers: Sequence[Answer]) -> None:
        """Hands out the answers, the first time."""
        if self.timer is not None:
            self.timer.cancel()
        handed, self.answered = self.answered, []
        for answered, answer in zip(handed, answers, strict=False):
            answered(answer)

    def end_alike(self, answer: Answer) -> None:
        """All of them have this answer."""
        self.end([answer] * len(self.entries))


class Session:
    """Opened and closed by any thread, used on the loop."""

    def __init__(self, loop: AbstractEventLoop, settings: Settings, of: Queue) -> None:
        self.to = of
        self.most_bytes = MAX_BYTES
        self._loop = loop
        self._settings = settings
        self._client: Client | None = None
        # What the queue said when it was let go.
        self._last = unanswered(codes.REFUSED, "it is not open", 0.0)
        self._due_at = 0.0
        self._limit_is_doubted = False
        # No request is begun for these yet; the last of them is filled.
        self._waiting: deque[Batch] = deque()
        self._begins = False
        self._at_work = 0
        self._work: queue.SimpleQueue[tuple[Client, Batch]] = queue.SimpleQueue()
        self._threads = 0
        # Held where work is given to threads and where one of them ends.
        self._counting = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._client is not None and not (self._limit_is_doubted and self.is_due)

    @property
    def is_due(self) -> bool:
        """Whether it may be tried by now."""
        return time.monotonic() >= self._due_at

    def open(self) -> None:
        """Reads the credential and the queue's limit anew. Raises Away. It may take its time."""
        self._due_at = time.monotonic() + AWAY_SECONDS
        self.close()
        try:
            client = Client(self.to, self._settings)
            self.most_bytes = client.most_bytes()
        except Away:
            raise
        except Exception as wrong:
            raise Away(f"no client can be made for it: {type(wrong).__name__}") from wrong
        self._limit_is_doubted = False
        self._client = client

    def close(self) -> None:
        """What is sent by now is answered; its threads end."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def doubt_limit(self) -> None:
        """A message is larger than the queue took when it was opened: it is asked again."""
        self._limit_is_doubted = True

    def put(self, entry: Entry, before: float, answered: Answered) -> None:
        """Sends it with what else comes until a thread is free; `answered` is called later.

        No request with it is begun at or after `before`, of time.monotonic().
        """
        if not self._waiting or not self._waiting[-1].takes(entry):
            self._waiting.append(self._new_batch())
        self._waiting[-1].add(entry, before, answered)
        self._begin_soon()

    def _new_batch(self) -> Batch:
        # Half of its time is for a request at least, and whatever becomes of its thread, there is
        # an answer in time.
        batch, half = Batch(), self.to.timeout_seconds / 2
        batch.before = batch.made_at + half
        batch.timer = self._loop.call_later(half, self._look_whether_begun, batch)
        return batch

    def _begin_soon(self) -> None:
        """In the loop's next turn: what comes in this one goes together."""
        if not self._begins:
            self._begins = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._begins = False
        while self._waiting:
            client = self._client
            if client is None:
                # It was let go a moment ago.
                self._waiting.popleft().end_alike(self._last)
            elif self._at_work < THREADS:
                self._give(client, self._waiting.popleft())
            else:
                break

    def _give(self, client: Client, batch: Batch) -> None:
        self._at_work += 1
        with self._counting:
            self._work.put((client, batch))
            if self._threads >= self._at_work:
                return
            self._threads += 1
        try:
            # A daemon: one that hangs keeps no process from its end.
            threading.Thread(target=self._work_off, name="queue", daemon=True).start()
        except RuntimeError:
            # There is none to be had. Another of them takes it, or it is not begun in time.
            with self._counting:
                self._threads -= 1

    def _look_whether_begun(self, batch: Batch) -> None:
        half = self.to.timeout_seconds / 2
        if batch.is_begun:
            batch.timer = self._loop.call_later(half, self._end_of_time, batch)
            return
        if batch in self._waiting:
            self._waiting.remove(batch)
        text = f"no request could be begun within {half:g} s, since others have no answer"
        batch.end_alike(unanswered("no_connection", text, 0.0))

    def _end_of_time(self, batch: Batch) -> None:
        seconds = self.to.timeout_seconds
        batch.end_alike(unanswered("timeout", f"no answer within {seconds:g} s", seconds))

    def _end(self, client: Client, batch: Batch, answers: Sequence[Answer]) -> None:
        self._at_work -= 1
        about_queue = [one for one in answers if one.error in codes.OF_QUEUE]
        if about_queue and client is self._client:
            # It is opened anew in a while, and asked for nothing until then.
            self._last = about_queue[0]
            self._due_at = time.monotonic() + AWAY_SECONDS
            self.close()
        batch.end(answers)
        self._begin_soon()

    def _work_off(self) -> None:
        while (work := self._next()) is not None:
            client, batch = work
            batch.is_begun = True
            try:
                answers = client.send(batch.entries, batch.before)
            except Exception as fault:
                seconds = time.monotonic() - batch.made_at
                answers = [unanswered("fault", type(fault).__name__, seconds)] * len(batch.entries)
            # The loop may have ended.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end, client, batch, answers)
            del work, client, batch, answers

    def _next(self) -> tuple[Client, Batch] | None:
        """None where there was nothing for long, and its thread ends."""
        while True:
            try:
                return self._work.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._counting:
                    if self._work.empty():
                        self._threads -= 1
                        return None
