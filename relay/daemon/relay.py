"""The relay process: probe, hand out, wait; one worker for each subscription does the work."""

import threading
import time
from itertools import groupby
from operator import attrgetter, itemgetter

import psycopg
import structlog

from relay import migrations
from relay.daemon import frozen_relays, retention
from relay.daemon.retry import until_stopped
from relay.daemon.sessions import Sessions
from relay.daemon.worker import SubscriptionWorker
from relay.database import Connection, EncodingError, connect, transaction
from relay.kafka.runs import MAX_TOLD
from relay.log.cluster import foreign_cluster
from relay.log.cursor import Cursor
from relay.log.probe import probe
from relay.log.run import frozen_after_seconds
from relay.monitoring.status import TIMEOUT
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Watch
from relay.process.interval import WAITING_SECONDS, Interval
from relay.settings import Settings

logger = structlog.get_logger()

# Between two probes: a twentieth of the time since something last went, so that a stream of
# messages is followed closely and an idle relay costs next to nothing.
SHORTEST_POLL_SECONDS = 0.002
LONGEST_POLL_SECONDS = 0.1
PATIENCE = 1 / 20
# A probe over many subscriptions takes its time: Postgres does other things for the greater part.
PROBE_SHARE = 1 / 3
# `--once`: how long nothing at all may go before what is left counts as stuck.
STUCK_SECONDS = 3.0
STOP_SECONDS = 7.5
# Between two looks for relays that froze.
FROZEN_LOOK_SECONDS = 2.0
# A call that takes longer than the barrier and its slack, and than every other deadline, will not
# return. So many threads are left standing in such calls; with one more the process ends.
LEAST_STUCK_SECONDS = 15.0
MAX_ABANDONED = 3
# How often the log names the channels that wait.
REMIND_SECONDS = 60.0


SUBSCRIPTIONS = "select id from outbox.subscription"
NAMES = "select name from outbox.subscription"
NEEDS_KAFKA = "select from outbox.subscription where kind = 'kafka' and not paused limit 1"
# What `--once` waits for: requests that outlived their run.
IN_FLIGHT = """
select exists (select from outbox.delivery
               where token is not null and due_at > (select clock_timestamp()))
"""
LEFT_BEHIND = """
select waiting.name, waiting.rows, waiting.is_open
from (
    select s.id, s.name, b.opened_at is not null as is_open,
           (select count(*) from outbox.delivery d
            join outbox.cursor c on c.id = d.cursor_id
            where c.subscription_id = s.id) as rows
    from outbox.subscription s
    left join outbox.breaker b on b.subscription_id = s.id
    where not s.paused
) waiting
where waiting.rows > 0
   or (waiting.is_open and exists (
           select from outbox.cursor c
           cross join lateral outbox.unread(c.id, 100001) behind
           where c.subscription_id = waiting.id and behind.wanted))
order by waiting.name
"""


class Refused(Exception):
    """The relay must not run on this database; the message names the command that repairs it."""


def run(settings: Settings, telemetry: Telemetry, stop: threading.Event, once: bool) -> int:
    """Relays until `stop` is set; with `once`, until nothing more can go now.

    Returns 0, or 1 where `once` leaves something behind that can't go. Raises
    migrations.MigrationError or Refused where the relay must not run on this database, and with
    `once` also psycopg.OperationalError.
    """
    relay = Relay(settings, telemetry, stop)
    try:
        return relay.once() if once else relay.serve()
    finally:
        relay.close()


class StuckError(Exception):
    """Too many threads stand in calls that do not return."""


class Relay:
    """The probe over all cursors, and the workers that work them off."""

    def __init__(self, settings: Settings, telemetry: Telemetry, stop: threading.Event) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._stop = stop
        # Set by each worker as it becomes idle.
        self._turned = threading.Event()
        self._workers: dict[int, SubscriptionWorker] = {}
        # Those whose threads stand in calls that do not return.
        self._abandoned: list[SubscriptionWorker] = []
        self._sessions = Sessions(settings, telemetry, stop)
        self._watch = Watch()
        self._stuck_after_seconds = max(frozen_after_seconds(settings), LEAST_STUCK_SECONDS)
        self._maintenance: threading.Thread | None = None
        self._away = False
        self._probe_seconds = 0.0
        self._waiting = Interval(WAITING_SECONDS)
        self._reminding = Interval(REMIND_SECONDS)

    def serve(self) -> int:
        """Relays until it is stopped. Returns 0."""
        until_stopped(self._session, self._stop, psycopg.Error, self._failed)
        return 0

    def once(self) -> int:
        """Works off what can go. Exit status as `run` says."""
        with self._connect() as connection:
            self._check(connection)
            retention.maintain(connection, self._settings, self._telemetry)
            moved_at, progress = time.monotonic(), -1
            while not self._stop.is_set():
                self._telemetry.turned()
                self._turned.clear()
                self._replace_stuck()
                # In this order: no worker at work brings requests into flight, none in flight makes
                # a row due, and then the look finds all that can go.
                busy = [worker for worker in self._workers.values() if not worker.idle]
                in_flight = not busy and self._in_flight(connection)
                pending = self._look(connection, waiting=True)
                if not pending and not busy and not in_flight:
                    return self._left_behind(connection)
                before, progress = progress, self._progress()
                if progress != before or any(worker.at_work for worker in busy):
                    moved_at = time.monotonic()
                elif time.monotonic() - moved_at > STUCK_SECONDS:
                    self._complain(pending)
                    return 1 if pending else 0
                self._wait(progress, time.monotonic() - moved_at)
        return 0

    def close(self) -> None:
        """Stops the workers: each finishes or gives up its run."""
        self._stop.set()
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self._workers.values():
            worker.stop()
        self._sessions.stop()
        for worker in self._workers.values():
            worker.join(max(deadline - time.monotonic(), 0.0))
        self._sessions.close(max(deadline - time.monotonic(), 0.5))

    def _session(self) -> None:
        with self._connect() as connection:
            self._check(connection)
            self._telemetry.refused(None)
            if self._away:
                self._away = False
                logger.info("database_back", database=self._settings.database)
            if self._maintenance is None:
                # Not before the check: a foreign cluster's log is not to be touched.
                self._maintenance = threading.Thread(
                    target=self._maintain, name="maintenance", daemon=True
                )
                self._maintenance.start()
            progress, went_at, looked_at = -1, time.monotonic(), time.monotonic()
            while not self._stop.is_set():
                self._telemetry.turned()
                if time.monotonic() - looked_at > FROZEN_LOOK_SECONDS:
                    looked_at = time.monotonic()
                    frozen_relays.terminate(connection, frozen_after_seconds(self._settings))
                    self._forget_deleted(connection)
                    self._replace_stuck()
                self._turned.clear()
                self._look(connection, waiting=self._waiting.begin_if_over())
                before, progress = progress, self._progress()
                if progress != before:
                    went_at = time.monotonic()
                self._wait(progress, time.monotonic() - went_at)

    def _connect(self) -> Connection:
        try:
            return connect(self._settings)
        except EncodingError as fault:
            raise Refused(str(fault)) from fault

    def _progress(self) -> int:
        return sum(worker.progress for worker in self._workers.values())

    def _wait(self, progress: int, quiet_seconds: float) -> None:
        """Until the next probe; `progress` is what the workers had made at the last one."""
        if self._workers and not any(worker.idle for worker in self._workers.values()):
            # All are at work and look for themselves; a probe would only take time from them. What
            # came meanwhile waits no longer.
            self._turned.wait(LONGEST_POLL_SECONDS)
            if self._progress() != progress:
                return
        shortest = max(SHORTEST_POLL_SECONDS, self._probe_seconds / PROBE_SHARE)
        poll_seconds = min(max(quiet_seconds * PATIENCE, shortest), LONGEST_POLL_SECONDS)
        self._stop.wait(poll_seconds)

    def _look(self, connection: Connection, *, waiting: bool) -> list[Cursor]:
        """Probes and hands out what it finds; what is `waiting` for topics is tried again, too."""
        asked_at = time.monotonic()
        pending = probe(connection, self._settings.name, waiting=waiting)
        if waiting:
            self._remind([cursor for cursor in pending if cursor.waits])
        else:
            self._probe_seconds = time.monotonic() - asked_at
        pending.sort(key=attrgetter("subscription_id"))
        for subscription_id, cursors in groupby(pending, attrgetter("subscription_id")):
            offered = list(cursors)
            worker = self._workers.get(subscription_id)
            if worker is None:
                worker = self._workers[subscription_id] = self._worker(offered[0])
            worker.offer(offered)
        return pending

    def _worker(self, cursor: Cursor) -> SubscriptionWorker:
        return SubscriptionWorker(
            cursor.subscription,
            cursor.subscription_id,
            telemetry=self._telemetry,
            sessions=self._sessions.open,
            turned=self._turned.set,
        )

    def _remind(self, waiting: list[Cursor]) -> None:
        """Tells which channels wait, of each subscription once a minute."""
        seconds: dict[tuple[str, str], float] = {}
        for cursor in waiting:
            key = (cursor.subscription, str(cursor.channel))
            seconds[key] = max(cursor.waiting_seconds or 0.0, seconds.get(key, 0.0))
        self._telemetry.waiting(seconds)
        if not waiting or not self._reminding.begin_if_over():
            return
        for subscription, group in groupby(sorted(seconds), itemgetter(0)):
            channels = [channel for _, channel in group]
            logger.warning(
                "channels_still_wait",
                subscription=subscription,
                channels=channels[:MAX_TOLD],
                number=len(channels),
                hint="outbox-relay channels list",
            )

    def _in_flight(self, connection: Connection) -> bool:
        with transaction(connection):
            row = connection.execute(IN_FLIGHT).fetchone()
        return bool(row and row[0])

    def _left_behind(self, connection: Connection) -> int:
        """Tells what waits for its time, for a breaker or for an operator. Exit status as `run`."""
        with transaction(connection):
            left = connection.execute(LEFT_BEHIND).fetchall()
        for subscription, rows, is_open in left:
            logger.error(
                "cannot_go_yet", subscription=subscription, rows=rows, breaker_is_open=is_open
            )
        return 1 if left else 0

    def _forget_deleted(self, connection: Connection) -> None:
        """Ends the workers of subscriptions that were deleted."""
        with transaction(connection):
            found = connection.execute(SUBSCRIPTIONS).fetchall()
        there = {subscription_id for (subscription_id,) in found}
        for subscription_id in self._workers.keys() - there:
            self._workers.pop(subscription_id).stop()
            self._sessions.forget(subscription_id)

    def _replace_stuck(self) -> None:
        """Another worker takes the place of one that stands in a call which should have returned.

        Raises StuckError where too many do: only the process's end gets rid of a thread.
        """
        self._watch.look()
        for subscription_id, worker in list(self._workers.items()):
            still_seconds = self._watch.still_seconds(worker.still_seconds)
            if still_seconds < self._stuck_after_seconds:
                continue
            del self._workers[subscription_id]
            self._abandoned.append(worker)
            self._telemetry.fault(worker.subscription, "stuck")
            logger.error(
                "call_does_not_return",
                subscription=worker.subscription,
                seconds=round(still_seconds, 1),
                effect="its thread is given up, and another takes its place",
            )
            worker.abandon()
        self._abandoned = [worker for worker in self._abandoned if worker.alive]
        self._telemetry.abandoned_threads = len(self._abandoned)
        if len(self._abandoned) > MAX_ABANDONED:
            raise StuckError(
                f"{len(self._abandoned)} threads stand in calls to Kafka that do not return; the "
                "relay ends, and has to be started anew"
            )

    def _check(self, connection: Connection) -> None:
        with transaction(connection):
            connection.execute(TIMEOUT)
            migrations.check(connection)
            needs_kafka = connection.execute(NEEDS_KAFKA).fetchone() is not None
            reason = foreign_cluster(connection)
        if reason is not None:
            self._telemetry.refused(reason)
            raise Refused(reason)
        if needs_kafka:
            self._settings.require_kafka()

    def _failed(self, fault: BaseException) -> None:
        self._telemetry.turned()
        self._telemetry.fault("", "database")
        self._away = True
        logger.warning("database_away", database=self._settings.database, fault=str(fault))

    def _maintain(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._settings) as connection:
                    names = connection.execute(NAMES).fetchall()
                    # At first, since a round may take its time or fail.
                    self._telemetry.keep({name for (name,) in names})
                    retention.maintain(connection, self._settings, self._telemetry)
            except psycopg.Error as fault:
                logger.warning("maintenance_failed", fault=str(fault))
            self._stop.wait(retention.ROUND_SECONDS)

    def _complain(self, pending: list[Cursor]) -> None:
        for cursor in pending:
            worker = self._workers.get(cursor.subscription_id)
            logger.error(
                "cannot_go",
                subscription=cursor.subscription,
                priority=cursor.priority,
                shard=cursor.shard,
                channel=cursor.channel,
                fault=worker.fault if worker else None,
            )
