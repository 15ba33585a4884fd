"""Which worker has which cursors: those that follow the log together, and those that go alone."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Set

import structlog

from relay.daemon.refused_connectors import RefusedConnectors
from relay.daemon.sessions import Sessions
from relay.daemon.shared_worker import SharedWorker
from relay.daemon.subscription_worker import SubscriptionWorker
from relay.database import Connection, transaction
from relay.log.cursor import Cursor, Target
from relay.log.filters import Filter
from relay.log.known_filters import KnownFilters
from relay.log.news import Told
from relay.log.run import frozen_after_seconds
from relay.log.session import relays_now
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Watch
from relay.process.interval import Interval
from relay.settings import Settings

logger = structlog.get_logger()

# A subscription that went alone joins the others when its runs were simple for so long; where it
# leaves again soon, after twice as long, since others wait for it each time.
SIMPLE_SECONDS = 1.0
MAX_SIMPLE_SECONDS = 300.0
SOON_SECONDS = 30.0
# Cursors whose subscriptions want nothing of what is new move on together, so often at the most:
# each move is a checkpoint, and what others want waits for it.
MOVE_SECONDS = 0.2
# A call that takes longer than the barrier and its slack, and than every other deadline, will not
# return. So many threads are left standing in such calls; with one more the process ends.
MIN_STUCK_SECONDS = 15.0
MAX_ABANDONED = 3

SUBSCRIPTIONS = """
select s.id, s.kind, outbox.other_cluster(s.settings), s.delivery, beyond.id is not null,
       s.xmin::text,
       case when known.version is null then s.channels end,
       case when known.version is null then s.types end
from outbox.subscription s
left join outbox.connector_beyond_quota as beyond on beyond.id = s.id
left join unnest(%s::text[]) as known (version) on known.version = s.id || ' ' || s.xmin
"""


class StuckError(Exception):
    """Too many threads stand in calls that do not return."""


class Workers:
    """All of one relay."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        sessions: Sessions,
        turned: Callable[[], None],
    ) -> None:
        self._telemetry = telemetry
        self._sessions = sessions
        self._turned = turned
        self._of_subscription: dict[int, SubscriptionWorker] = {}
        self._of_target: dict[Target, SharedWorker] = {}
        # The latest that was probed of each cursor that had work.
        self._following: dict[int, Cursor] = {}
        # How many may go with others, of each target; those that can't now; and what each wants.
        self._sharing: Counter[Target] = Counter()
        self._alone: set[int] = set()
        self._filters: dict[int, Filter] = {}
        self._known_filters = KnownFilters()
        self._connection: Connection | None = None
        self._moving = Interval(MOVE_SECONDS)
        # Of those that have left: for how long their runs have to be simple, and when they joined
        # the others again, by time.monotonic().
        self._simple_seconds: dict[int, float] = {}
        self._joined_at: dict[int, float] = {}
        # They end with the run that is under way; others stand in calls that do not return.
        self._ending: list[SharedWorker | SubscriptionWorker] = []
        self._abandoned: list[SharedWorker | SubscriptionWorker] = []
        self._refused = RefusedConnectors(settings.name)
        self._watch = Watch()
        # How many share the work on this database.
        self.relays = 1
        self._stuck_after_seconds = max(frozen_after_seconds(settings), MIN_STUCK_SECONDS)

    @property
    def _all(self) -> list[SharedWorker | SubscriptionWorker]:
        return [*self._of_target.values(), *self._of_subscription.values()]

    @property
    def busy(self) -> list[SharedWorker | SubscriptionWorker]:
        """Those that have something to do."""
        return [worker for worker in (*self._all, *self._ending) if not worker.idle]

    @property
    def all_busy(self) -> bool:
        """Whether there are any, and none is idle."""
        workers = self._all
        return bool(workers) and not any(worker.idle for worker in workers)

    @property
    def need_offers(self) -> bool:
        """Whether some do not look for more themselves while they are busy."""
        return bool(self._of_target)

    @property
    def progress(self) -> int:
        """How many runs got on."""
        return sum(worker.progress for worker in (*self._all, *self._ending))

    def fault(self, cursor: Cursor) -> str | None:
        """Why the last session of the worker of this cursor failed, or why it gets none."""
        alone = self._of_subscription.get(cursor.subscription_id)
        worker = alone or self._of_target.get(cursor.target)
        return worker.fault if worker is not None else self._refused.reason(cursor)

    def offer(self, pending: Iterable[Cursor]) -> None:
        """Hands out cursors that a probe has found, and remembers those that follow the log.

        Of one that follows it, `follow` has told already where it wants what is new.
        """
        found = list(pending)
        following = self._following.keys() & {cursor.id for cursor in found}
        for cursor in found:
            self._remember(cursor)
        self._hand_out(found, following)

    def _remember(self, cursor: Cursor) -> None:
        known = self._following.get(cursor.id)
        if known is not None and known.sink_settings != cursor.sink_settings:
            # What else is known of its subscription is of former settings as well.
            self._following = {
                one.id: one
                for one in self._following.values()
                if one.subscription_id != cursor.subscription_id
            }
        if cursor.channel is None and not cursor.sink_settings.exactly_once:
            self._following[cursor.id] = cursor

    def _hand_out(self, pending: Iterable[Cursor], moving: Set[int] = frozenset()) -> None:
        shared: dict[Target, list[Cursor]] = defaultdict(list)
        moved: dict[Target, list[Cursor]] = defaultdict(list)
        alone: dict[int, list[Cursor]] = defaultdict(list)
        for cursor in pending:
            if self._refused.refuses(cursor):
                continue
            if self._goes_alone(cursor):
                alone[cursor.subscription_id].append(cursor)
            elif cursor.id in moving:
                moved[cursor.target].append(cursor)
            else:
                shared[cursor.target].append(cursor)
        for cursors in shared.values():
            if (together := self._shared(cursors[0])) is not None:
                together.offer(cursors)
        for cursors in alone.values():
            if (single := self._single(cursors[0])) is not None:
                single.offer(cursors)
        if moved and self._moving.begin_if_over():
            for cursors in moved.values():
                if (together := self._shared(cursors[0])) is not None:
                    together.offer_to_move(cursors)

    def _single(self, cursor: Cursor) -> SubscriptionWorker | None:
        """The worker of its subscription alone; None where it may have none."""
        worker = self._of_subscription.get(cursor.subscription_id)
        if worker is None and not self._refused.refuses_to_begin(cursor):
            worker = self._of_subscription[cursor.subscription_id] = SubscriptionWorker(
                cursor.subscription,
                cursor.subscription_id,
                telemetry=self._telemetry,
                sessions=self._sessions.open,
                turned=self._turned,
            )
        return worker

    def _shared(self, cursor: Cursor) -> SharedWorker | None:
        """The worker of all that goes where it goes; None where there may be none."""
        worker = self._of_target.get(cursor.target)
        if worker is None and not self._refused.refuses_to_begin(cursor):
            worker = self._of_target[cursor.target] = SharedWorker(
                cursor.target,
                telemetry=self._telemetry,
                sessions=self._sessions.shared,
                turned=self._turned,
                leave=self._leave,
            )
        return worker

    def follow(self, told: Told) -> None:
        """Hands out those cursors that had work before, follow the log and want what is new.

        An exactly-once cursor is none: whether another relay has it is what a probe tells.
        """
        if told:
            wanted = _Wanted(told)
            self._hand_out(
                cursor
                for cursor in list(self._following.values())
                if wanted.of(cursor.priority, self._filters.get(cursor.subscription_id))
                and self._follows(cursor)
            )

    def _follows(self, cursor: Cursor) -> bool:
        worker = self._of_subscription.get(cursor.subscription_id)
        if worker is None:
            return cursor.subscription_id not in self._alone
        # Else it may wait, as for a breaker, and must not be claimed before its time.
        return worker.was_simple_for(0.0)

    def _goes_alone(self, cursor: Cursor) -> bool:
        subscription_id = cursor.subscription_id
        if cursor.channel is not None or subscription_id not in self._filters:
            # Its origin leaves the channel out, until the two are merged. And a subscription that
            # has just come has yet to show that no one will wait for it.
            self._alone.add(subscription_id)
        if cursor.sink_settings.exactly_once or self._sharing[cursor.target] < 2:
            return True
        worker = self._of_subscription.get(subscription_id)
        if subscription_id in self._alone:
            seconds = self._simple_seconds.get(subscription_id, SIMPLE_SECONDS)
            if worker is None or not worker.was_simple_for(seconds):
                return True
            self._alone.discard(subscription_id)
            self._joined_at[subscription_id] = time.monotonic()
        if worker is not None:
            self._end(self._of_subscription.pop(subscription_id))
        return False

    def _leave(self, subscription_id: int) -> None:
        if subscription_id in self._alone:
            return
        joined_at = self._joined_at.get(subscription_id, float("-inf"))
        seconds = SIMPLE_SECONDS
        if time.monotonic() < joined_at + SOON_SECONDS:
            before = self._simple_seconds.get(subscription_id, SIMPLE_SECONDS)
            seconds = min(2 * before, MAX_SIMPLE_SECONDS)
        self._simple_seconds[subscription_id] = seconds
        self._alone.add(subscription_id)

    def update(self, connection: Connection) -> None:
        """By what subscriptions and relays there are now."""
        if connection is not self._connection:
            self._connection, self._known_filters = connection, KnownFilters()
        with transaction(connection):
            known = self._known_filters.versions(self._filters)
            subscriptions = connection.execute(SUBSCRIPTIONS, [known]).fetchall()
            relays = relays_now(connection)
        existing = {found for found, *_ in subscriptions}
        beyond_quota = {found for found, _, _, _, is_beyond, *_ in subscriptions if is_beyond}
        served = [one for one in subscriptions if one[0] not in beyond_quota]
        self._refused.update(beyond_quota)
        targets = {(kind, cluster) for _, kind, cluster, *_ in served}
        for target in self._of_target.keys() - targets:
            self._end(self._of_target.pop(target))
        self._sharing = Counter(
            (kind, cluster)
            for _, kind, cluster, delivery, *_ in served
            if delivery == "at_least_once"
        )
        self._filters = {
            found: self._known_filters.filter(found, *version_and_filter)
            for found, _, _, _, _, *version_and_filter in subscriptions
        }
        for subscription_id in self._of_subscription.keys() - (existing - beyond_quota):
            self._end(self._of_subscription.pop(subscription_id))
            self._sessions.forget(subscription_id)
        self._alone &= existing
        self._following = {
            one.id: one for one in self._following.values() if one.subscription_id in existing
        }
        for times in (self._simple_seconds, self._joined_at):
            # A worker of many may add to it meanwhile: the list is made in one step.
            for subscription_id in list(times):
                if subscription_id not in existing:
                    del times[subscription_id]
        self.relays = relays
        for worker in self._of_target.values():
            worker.relays = self.relays
        self._ending = [worker for worker in self._ending if worker.alive]
        self._refused.tell(connection)

    def _end(self, worker: SharedWorker | SubscriptionWorker) -> None:
        worker.stop()
        self._ending.append(worker)
        if worker.cluster:
            self._refused.end(worker)

    def replace_stuck(self) -> None:
        """Another worker takes the place of one that stands in a call which should have returned.

        Raises StuckError where too many do: only the process's end gets rid of a thread. Those that
        stand in calls to other clusters do not count: who names these must not end a relay.
        """
        self._watch.look()
        for worker in (*self._all, *self._ending):
            still_seconds = self._watch.still_seconds(worker.still_seconds)
            if still_seconds >= self._stuck_after_seconds:
                self._abandon(worker, still_seconds)
        self._abandoned = [worker for worker in self._abandoned if worker.alive]
        self._telemetry.abandoned_threads = len(self._abandoned)
        self._telemetry.abandoned_connectors = self._refused.stuck
        if len(self._abandoned) > MAX_ABANDONED:
            raise StuckError(
                f"{len(self._abandoned)} threads stand in calls to Kafka that do not return; the "
                "relay ends, and has to be started anew"
            )

    def _abandon(self, worker: SharedWorker | SubscriptionWorker, still_seconds: float) -> None:
        if worker in self._ending:
            self._ending.remove(worker)
        elif isinstance(worker, SubscriptionWorker):
            del self._of_subscription[worker.subscription_id]
        else:
            del self._of_target[worker.target]
        elsewhere = bool(worker.cluster)
        if elsewhere:
            self._refused.abandon(worker)
        else:
            self._abandoned.append(worker)
        for subscription in worker.subscriptions:
            self._telemetry.fault(subscription, "stuck")
        logger.error(
            "call_does_not_return",
            subscription=worker.name,
            seconds=round(still_seconds, 1),
            effect="its thread is given up, and "
            + ("its connectors wait" if elsewhere else "another takes its place"),
        )
        worker.abandon()

    def stop(self) -> None:
        """Each finishes or gives up its run."""
        for worker in self._all:
            worker.stop()

    def join(self, deadline: float) -> None:
        """Waits for their ends, until `deadline` by time.monotonic()."""
        for worker in (*self._all, *self._ending):
            worker.join(max(deadline - time.monotonic(), 0.0))


class _Wanted:
    """Whether anything that is new is wanted; each filter is asked once."""

    def __init__(self, told: Told) -> None:
        self._told = {priority: _by_channel(kinds) for priority, kinds in told.items()}
        self._known: dict[tuple[int, Filter], bool] = {}

    def of(self, priority: int, one: Filter | None) -> bool:
        """By a filter, at this priority. Of a subscription whose filter is not known yet: yes."""
        if priority not in self._told:
            return False
        kinds = self._told[priority]
        if kinds is None or one is None:
            return True
        key = priority, one
        if key not in self._known:
            self._known[key] = one.wants_any(kinds)
        return self._known[key]


def _by_channel(kinds: Set[tuple[bytes, bytes]] | None) -> Mapping[str, Set[str]] | None:
    if kinds is None:
        return None
    types: dict[str, set[str]] = defaultdict(set)
    for channel, type_ in kinds:
        types[channel.decode()].add(type_.decode())
    return types
