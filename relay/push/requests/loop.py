"""What all push subscriptions of one relay share: an event loop, its HTTP client, and the writer of
outcomes that come after their run.
"""

import asyncio
import gc
import threading
from collections.abc import Callable
from contextlib import suppress

import structlog
import uvloop

from relay.log.data_schemas import DataSchemas
from relay.log.path import NOWHERE, OwnPath
from relay.monitoring.telemetry import Telemetry
from relay.process import heap
from relay.process.descriptors import raise_limit
from relay.push.fair_turns import Owner, Turns
from relay.push.http.client import MAX_CONNECTIONS, Client
from relay.push.http.guard import Guard
from relay.push.http.proxy import Proxy
from relay.push.http.resolver import MAX_LOOK_UPS
from relay.push.item import Item
from relay.push.policy.settings import Connected, Endpoint, Receiver, Topic
from relay.push.policy.verdict import Failures
from relay.push.pubsub.session import Session as TopicSession
from relay.push.requests.capacity import Room
from relay.push.requests.headers import Headers
from relay.push.requests.posts import Posts
from relay.push.requests.published import Published
from relay.push.requests.queued import Queued
from relay.push.requests.slots import Slots
from relay.push.requests.transport import Transport
from relay.push.requests.usual_time import UsualTime
from relay.push.sqs.session import Session as QueueSession
from relay.push.state.late_outcomes import Late
from relay.push.state.writer import Writer
from relay.push.target import Target
from relay.settings import Settings

logger = structlog.get_logger()

Session = QueueSession | TopicSession

# After a stop, requests in flight get so long to be answered and written down.
STOP_SECONDS = 3.0
# How often the loop looks at its own delay, and what is too much of it.
BEAT_SECONDS = 0.02
BEHIND_SECONDS = 0.04
# So much of a delay still counts at the next look.
LATE_LEFT = 0.9

# An API key's many runs would have every core of Postgres, and this process's interpreter, at once;
# so many of them claim or write meanwhile, and others' have to wait for these alone. (What they
# read is as much as their endpoints take.)
WORKING_OF_A_KEY = 2

# What is no connection to an endpoint: to Kafka's brokers, files, the database's besides those of
# runs, and the sockets of look-ups; and of connections to endpoints, what is too few to work with.
OTHER_DESCRIPTORS = 128 + MAX_LOOK_UPS
MIN_CONNECTIONS = 16
# How often a relay that has no more connections or room says so.
TELL_SECONDS = 10.0


class RequestLoop:
    """A thread with the loop, and a writer of what comes late."""

    def __init__(self, settings: Settings, telemetry: Telemetry, path: OwnPath = NOWHERE) -> None:
        self.loop = uvloop.new_event_loop()
        # Of messages to queues; to endpoints nothing goes that could come in.
        self._path = path
        self._schemas = DataSchemas(settings.event_types_url)
        self.headers = Headers(settings.event_source, self._schemas)
        self._settings = settings
        self._telemetry = telemetry
        self.spans = telemetry.spans
        # The loop does not get round in time: more requests would only wait for each other.
        self.is_behind = False
        # How late it came lately at the most.
        self.late_seconds = 0.0
        self.usual = UsualTime()
        # Whether a shared run is under way, from its claim to its end.
        self.has_shared_run = False
        self._tells_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        # When the attempts were made that came to nothing and that no run has judged yet, and
        # whether they were refused; by subscription.
        self._lock = threading.Lock()
        self._late_failures: dict[int, list[tuple[float, bool]]] = {}
        # Of runs alone: who holds a connection; and who works with it, and waits for no answers.
        self.turns = Turns(settings.push_connections)
        self.working = Turns(settings.push_connections, of_a_key=WORKING_OF_A_KEY)
        most_connections = _most_connections(settings)
        self._room = Room(most_connections, settings.push_in_flight_bytes, self.loop.call_soon)
        self._slots: dict[int, Slots] = {}
        self._sessions: dict[int, Session] = {}
        self._loop_thread = threading.Thread(target=self._turn, name="request loop", daemon=True)
        self._loop_thread.start()
        opening = self._open(settings, most_connections)
        self.client = asyncio.run_coroutine_threadsafe(opening, self.loop).result()
        self._writer = Writer(settings, telemetry)
        # What is here by now never goes, and need not be looked through.
        gc.freeze()
        heap.collect_seldom()
        heap.map_what_is_large()

    def slots(self, subscription_id: int, owner: Owner = None) -> Slots:
        """Those of one subscription, for as long as the relay runs; `owner` counts at first."""
        with self._lock:
            slots = self._slots.get(subscription_id)
            if slots is None:
                capacity = Receiver().concurrency
                slots = self._slots[subscription_id] = Slots(capacity, self._room, owner)
            return slots

    def forget(self, subscription_id: int) -> None:
        """The subscription is gone; what is still in flight for it ends by itself."""
        self._slots.pop(subscription_id, None)
        if (session := self._sessions.pop(subscription_id, None)) is not None:
            session.close()
        self.usual.forget(subscription_id)
        self.take_late_failures(subscription_id, 0.0)

    def session(self, subscription_id: int, to: Connected) -> Session:
        """Of one subscription to a queue or topic, as long as that is the same; opened or not."""
        with self._lock:
            known = self._sessions.get(subscription_id)
            if known is not None and known.to == to:
                return known
            made: Session = (
                TopicSession(self.loop, self._settings, to)
                if isinstance(to, Topic)
                else QueueSession(self.loop, self._settings, to)
            )
            self._sessions[subscription_id] = made
        if known is not None:
            known.close()
        return made

    def transport(self, target: Target, cursor_id: int, owner: Owner) -> Transport:
        """How one cursor's messages leave in one run."""
        to = target.endpoint
        source = self._settings.event_source
        if isinstance(to, Connected):
            session = self.session(target.subscription_id, to)
            if isinstance(session, TopicSession):
                return Published(session, source, self._path, self._schemas)
            return Queued(session, source, self._path, self._schemas, target, cursor_id)
        assert isinstance(to, Endpoint)
        return Posts(self.client, self.headers, to, target, owner)

    def begin(self) -> None:
        """Requests are under way; on the loop only."""
        if self._idle.is_set():
            self._idle.clear()
            self._beat_after(self.loop.time())

    def _beat_after(self, due_at: float) -> None:
        """Looks how late it is, for as long as there are requests."""
        late_seconds = max(self.loop.time() - due_at, self.client.late_seconds)
        self.is_behind = late_seconds > BEHIND_SECONDS
        self.late_seconds = max(late_seconds, self.late_seconds * LATE_LEFT)
        if self._room.use.requests:
            due_at = self.loop.time() + BEAT_SECONDS
            self.loop.call_at(due_at, self._beat_after, due_at)
        else:
            self._idle.set()

    def after_what_has_come(self, callback: Callable[[], object]) -> None:
        """Calls it when the answers are read that are there by now; on the loop only.

        A loop that comes late has timers before it has answers, whose time was not over.
        """
        # It reads between its next turn and the one after that.
        self.loop.call_soon(self.loop.call_soon, callback)

    def tell_waits(self, target: Target, why: str) -> None:
        """This relay lacked what it needs to send; on the loop only."""
        self._telemetry.fault(target.subscription, "connections")
        if self.loop.time() >= self._tells_at:
            self._tells_at = self.loop.time() + TELL_SECONDS
            logger.error("endpoints_wait", subscription=target.subscription, fault=why)

    def late(self, target: Target, cursor_id: int, item: Item) -> None:
        """An outcome that came after its run; on the loop only."""
        failed = item.verdict is not None and item.verdict.kind in ("retry", "dead")
        is_known = item.refused and item.attempts > 0
        if failed and not is_known and not target.probing:
            self.count_later(target, item)
        self._writer.put(Late(target, cursor_id, item))

    def count_later(self, target: Target, item: Item) -> None:
        """An attempt that came to nothing is for the next run to judge."""
        with self._lock:
            made = self._late_failures.setdefault(target.subscription_id, [])
            made.append((target.clock + item.sent_at, item.refused))

    def has_late_failures(self, subscription_id: int) -> bool:
        """Whether there are any that no run has judged."""
        return subscription_id in self._late_failures

    def take_late_failures(self, subscription_id: int, since: float) -> Failures:
        """The attempts that came to nothing after their runs, since the last time.

        Of those that were made after `since`, by the database's clock: seconds since 1970.
        """
        with self._lock:
            made = self._late_failures.pop(subscription_id, [])
        refused = [refused for made_at, refused in made if made_at > since]
        return Failures(refused.count(False), refused.count(True))

    def close(self, within_seconds: float = 2 * STOP_SECONDS) -> None:
        """Waits a little for what is in flight, writes it down, and ends both threads."""
        patience = min(STOP_SECONDS, within_seconds / 2)
        with suppress(TimeoutError):
            closing = asyncio.run_coroutine_threadsafe(self._close(patience), self.loop)
            closing.result(patience + 0.5)
        for session in self._sessions.values():
            session.close()
        self._writer.close(patience)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._loop_thread.join(0.5)

    def _turn(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _open(self, settings: Settings, most_connections: int) -> Client:
        proxy = settings.proxy
        return Client(
            Guard.of(settings),
            proxy=Proxy(proxy) if proxy is not None else None,
            most_connections=most_connections,
        )

    async def _close(self, patience_seconds: float) -> None:
        """What is answered by then has its outcome; the rest has none, as after a kill."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), patience_seconds)
        await self.client.close()


def _most_connections(settings: Settings) -> int:
    """So many that something is left of what this process may have open."""
    ours = OTHER_DESCRIPTORS + settings.push_connections
    return min(max(raise_limit() - ours, MIN_CONNECTIONS), MAX_CONNECTIONS)
