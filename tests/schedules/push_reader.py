"""This relay's push run as a reader: cursors and rows are real, its requests are answered here."""

import asyncio
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import cast

from relay.database import Connection, Pool, connect
from relay.log.cursor import Cursor
from relay.log.message import ID, IDEMPOTENCY_KEY, Row
from relay.log.probe import probe
from relay.log.sink import Page
from relay.monitoring.telemetry import Telemetry
from relay.push import runs, shared_runs
from relay.push.http.answer import Answer
from relay.push.http.client import Client, Destination
from relay.push.http.connection import Answered
from relay.push.http.lines import Lines
from relay.push.item import Item
from relay.push.requests.batch import RequestBatch
from relay.push.requests.loop import RequestLoop
from relay.push.requests.result import BatchResult
from relay.push.requests.sending import Sending
from relay.push.requests.slots import Slots
from relay.push.runs import PushRuns
from relay.push.target import Target
from tests.relay.operating import settings
from tests.relay.recording import Arrival
from tests.schedules.reader import Pause, Sent, await_death, no_pause
from tests.schedules.session import PATIENT
from tests.schedules.session import connect as watch
from tests.sql.log import Session

SUBSCRIBE = """
insert into outbox.subscription (name, kind, shards, channels, types, settings)
select name, 'http', %(shards)s, channels, types,
       jsonb_build_object('endpoint', 'http://receiver/' || name) || '{
    "attempts_log": "none",
    "breaker": {"minimum": 1000000, "window_seconds": 1},
    "timeout_seconds": 60,
    "retry": {"schedule_seconds": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "jitter": 0}}'
from jsonb_to_recordset(%(subscriptions)s) as one (name text, channels text[], types text[])
"""
# What becomes of the first attempts at a group's messages, in turn; group b begins one further, and
# so on. Every later attempt is acknowledged.
OUTCOMES = ("failed late", "acked late", "failed", "acked")
ACKED = Answer(200, None, "", b"", None, None, 0.0)
FAILED = Answer(500, "http_500", "refused", b"", None, None, 0.0)
IN_FLIGHT = """
select 1
from unnest(%s::text[], %s::bigint[]) as late (subscription, message_id)
join outbox.subscription s on s.name = late.subscription
join outbox.cursor c on c.subscription_id = s.id
join outbox.delivery d on d.cursor_id = c.id and d.message_id = late.message_id
where d.token is not null
limit 1
"""
KEY = re.compile(rb"idempotency-key: ([^\r\n]*)")
LATE_TIMEOUT_SECONDS = 300.0
LATE_INTERVAL_SECONDS = 0.001


class PushReaders:
    """The push runs of several relays, which deliver to one endpoint in memory."""

    def __init__(self, database_url: str) -> None:
        self.arrivals: dict[str, list[Arrival]] = defaultdict(list)
        self._url = database_url
        self._watcher = watch(database_url)
        self._attempted: set[tuple[str, str]] = set()
        self._firsts: Counter[str] = Counter()
        self._readers: list[PushReader] = []

    def begin(self) -> None:
        self.arrivals.clear()
        self._attempted.clear()
        self._firsts.clear()

    def open(self, limit: int, *, alone: bool = False) -> "PushReader":
        self._readers.append(PushReader(self._url, self._watcher, self, limit))
        return self._readers[-1]

    def answer(self) -> None:
        """All that is still in flight."""
        for reader in self._readers:
            reader.answer()
            reader.answer()

    def close(self) -> None:
        self._watcher.close()

    def outcome(self, subscription: str, key: str) -> str:
        """Of one attempt, which counts as made."""
        if (subscription, key) in self._attempted:
            return "acked"
        self._attempted.add((subscription, key))
        group = key.partition(":")[0]
        self._firsts[group] += 1
        return OUTCOMES[(ord(group[0]) - ord("a") + self._firsts[group] - 1) % len(OUTCOMES)]


class Endpoint:
    """In the place of the relay's client. What it takes has arrived, also where it answers late."""

    def __init__(self, client: Client, readers: PushReaders) -> None:
        self.ids: dict[str, int] = {}
        self.arrived: list[Sent] = []
        self._client = client
        self._readers = readers
        # What is late of the latest run, and of those before.
        self._late: dict[Sent, Callable[[], None]] = {}
        self._older: dict[Sent, Callable[[], None]] = {}
        # Called when one more is late.
        self.keeping: list[Callable[[], object]] = []

    @property
    def has_late(self) -> bool:
        """Whether it has an answer to give; while no run sends."""
        return bool(self._late or self._older)

    def keeps(self, sent: Iterable[Sent]) -> bool:
        """Whether it has all of these, and answers them late."""
        return all(one in self._late for one in sent)

    def note(self, row: Row) -> None:
        """Which message has this key."""
        self.ids[row[IDEMPOTENCY_KEY].decode()] = row[ID]

    def send(
        self, to: Destination, lines: Lines, body: bytes, _: float, answered: Answered
    ) -> None:
        key, subscription = KEY.findall(lines)[0].decode(), to.url.rpartition("/")[2]
        message_id, outcome = self.ids[key], self._readers.outcome(subscription, key)
        sent = subscription, message_id
        if acked := outcome.startswith("acked"):
            one = Arrival(message_id, "", None, key, len(body))
            self._readers.arrivals[subscription].append(one)
            self.arrived.append(sent)
        answer = partial(answered, ACKED if acked else FAILED)
        if outcome.endswith("late"):
            self._late[sent] = answer
            for keep in self.keeping:
                asyncio.get_running_loop().call_soon(keep)
        else:
            asyncio.get_running_loop().call_soon(answer)

    async def answer(self) -> list[Sent]:
        """Answers what is late of the runs before the latest; their messages."""
        answered, self._older, self._late = self._older, self._late, {}
        for answer in answered.values():
            answer()
        return list(answered)

    async def close(self) -> None:
        await self._client.close()


class StagedLoop(RequestLoop):
    """Whose batches stand still where their reader wants it."""

    def __init__(self, database_url: str, readers: PushReaders) -> None:
        super().__init__(settings(database_url, RELAY_NAME="push", **PATIENT), Telemetry())
        self.pause: Pause = no_pause
        self.endpoint = Endpoint(self.client, readers)
        self.client = cast(Client, self.endpoint)

    def _beat_after(self, due_at: float) -> None:
        """It is never behind: a busy machine sends no less. And its end waits for no request."""
        self._idle.set()


class StagedBatch(RequestBatch):
    """Whose tail lasts until the endpoint has answered all, or has what it answers late."""

    def check(self) -> None:
        request_loop = self._request_loop
        assert isinstance(request_loop, StagedLoop)
        name = self._target.subscription
        if request_loop.endpoint.keeps((name, item.message_id) for item in self._in_flight):
            super().check()


class StagedSending(Sending):
    """Pauses before the first message and behind the last one, and no time ends it: it sends all
    that it may. Where its loop is not staged it is as ever.
    """

    def add(self, target: Target, cursor_id: int, slots: Slots, window: int | None = None) -> None:
        if not isinstance(self.request_loop, StagedLoop):
            super().add(target, cursor_id, slots, window)
            return
        staged = StagedBatch(self, target, cursor_id, slots, window)
        if not self._batches:
            self.request_loop.endpoint.keeping.clear()
        self.request_loop.endpoint.keeping.append(staged.check)
        self._batches.append(staged)

    def send(
        self,
        due: Sequence[Item],
        turns: Generator[Sequence[Page]],
        read_upto: Callable[[], Sequence[int]],
    ) -> list[BatchResult]:
        if not isinstance(self.request_loop, StagedLoop):
            return super().send(due, turns, read_upto)
        self.request_loop.pause("claim")
        self.request_loop.pause("start")
        for item in due:
            if item.row is not None:
                self.request_loop.endpoint.note(item.row)
        results = super().send(due, self._noted(turns, self.request_loop.endpoint), read_upto)
        self.request_loop.pause("deliver")
        return results

    @staticmethod
    def _noted(turns: Generator[Sequence[Page]], endpoint: Endpoint) -> Generator[Sequence[Page]]:
        for pages in turns:
            for page in pages:
                for row in page.rows:
                    endpoint.note(row)
            yield pages

    def _start(self) -> None:
        if not isinstance(self.request_loop, StagedLoop):
            super()._start()

    def _be_patient(self, seconds: float) -> None:
        if not isinstance(self.request_loop, StagedLoop):
            super()._be_patient(seconds)

    def _begin_tail(self, seconds: float) -> None:
        if not isinstance(self.request_loop, StagedLoop):
            super()._begin_tail(seconds)

    def _end_tail(self) -> None:
        if not isinstance(self.request_loop, StagedLoop):
            super()._end_tail()

    def tail_ends_at(self, sent_at: float) -> float:
        staged = isinstance(self.request_loop, StagedLoop)
        return sent_at if staged else super().tail_ends_at(sent_at)


# Both kinds of runs make it by this name. For good: several stages play at once.
for made_by in (runs, shared_runs):
    assert vars(made_by)["Sending"] is Sending
    vars(made_by)["Sending"] = StagedSending


class Single:
    """In the place of a pool: a reader's one session, so that its waits can be seen."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def getconn(self) -> Connection:
        return self._connection

    def putconn(self, connection: Connection) -> None:
        assert connection is self._connection


class PushReader:
    """One relay's push runs. What is late is answered, and written, after its next round."""

    def __init__(
        self, database_url: str, watcher: Session, readers: PushReaders, limit: int
    ) -> None:
        self._settings = settings(database_url, RELAY_NAME="push", **PATIENT)
        self._watcher = watcher
        self._readers = readers
        self._limit = limit
        self.request_loop = StagedLoop(database_url, readers)
        self._open()

    @property
    def in_flight(self) -> list[Sent]:
        return self.request_loop.endpoint.arrived

    @in_flight.setter
    def in_flight(self, sent: list[Sent]) -> None:
        self.request_loop.endpoint.arrived = sent

    def pid(self) -> int:
        return self._pid

    def round(self, pause: Pause) -> None:
        if self._connection.closed:
            self._open()
        self.request_loop.pause = pause
        cursors = probe(self._connection, "push")
        pause("look")
        self._run(cursors)
        self.answer()

    def _run(self, cursors: Sequence[Cursor]) -> None:
        for cursor in cursors:
            if self._runs.run([cursor], self._limit, again=False):
                return

    def answer(self) -> None:
        """What is late of the runs before the latest is answered, and written where it has a row.

        Raises TimeoutError.
        """
        if not self.request_loop.endpoint.has_late:
            return
        answering = self.request_loop.endpoint.answer()
        late = asyncio.run_coroutine_threadsafe(answering, self.request_loop.loop).result()
        ends_at = time.monotonic() + LATE_TIMEOUT_SECONDS
        names, ids = [name for name, _ in late], [message_id for _, message_id in late]
        while late and self._watcher.execute(IN_FLIGHT, [names, ids]).fetchone():
            if time.monotonic() > ends_at:
                raise TimeoutError("what is in flight is never answered")
            time.sleep(LATE_INTERVAL_SECONDS)

    def die(self) -> None:
        self._connection.close()
        await_death(self._watcher, self._pid)
        # Its request loop lives on: what its last run but one had in flight has its outcome.
        self.answer()
        self.answer()

    def drain(self) -> None:
        self._readers.answer()
        self.request_loop.pause = no_pause
        while cursors := probe(self._connection, "push"):
            self._run(cursors)
            self._readers.answer()

    def close(self) -> None:
        self.answer()
        self.answer()
        self._connection.close()
        self.request_loop.close()

    def _open(self) -> None:
        self._connection = connect(self._settings)
        self._pid = self._connection.info.backend_pid
        pool = cast(Pool, Single(self._connection))
        self._runs = PushRuns(pool, self.request_loop, self._settings, Telemetry())
