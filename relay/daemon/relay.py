"""The relay process: probe, hand out, wait; the workers do the work."""

import threading
import time
from itertools import groupby
from operator import itemgetter

import psycopg
import structlog

from relay import migrations
from relay.daemon import frozen_relays, retention
from relay.daemon.probe_pace import ProbePace
from relay.daemon.retry import until_stopped
from relay.daemon.sessions import Sessions
from relay.daemon.sources import Sources
from relay.daemon.workers import Workers
from relay.database import Connection, EncodingError, connect, transaction
from relay.kafka.runs import MAX_TOLD
from relay.log.cluster import foreign_cluster
from relay.log.cursor import Cursor
from relay.log.news import News
from relay.log.path import OwnPath
from relay.log.probe import probe
from relay.log.run import frozen_after_seconds
from relay.monitoring.status import TIMEOUT
from relay.monitoring.telemetry import Telemetry
from relay.process.interval import WAITING_SECONDS, Interval
from relay.settings import Settings

logger = structlog.get_logger()

# Between two looks for news: a sixtieth of the time since something last went, so that a stream of
# messages is followed closely and an idle relay costs next to nothing.
MIN_POLL_SECONDS = 0.002
MAX_POLL_SECONDS = 0.1
PATIENCE = 1 / 60
# `--once`: how long nothing at all may go before what is left counts as stuck.
STUCK_SECONDS = 3.0
STOP_SECONDS = 7.5
# While all workers follow the log they claim for themselves; how often it is looked for what is
# more urgent, or another's.
BUSY_POLL_SECONDS = 0.02
# Between two looks for relays that froze, and for subscriptions that came and went.
FROZEN_LOOK_SECONDS = 2.0
# How often the log names the channels that wait.
REMIND_SECONDS = 60.0


NAMES = "select name from outbox.subscription"
NEEDS_KAFKA = """
select from outbox.subscription
where kind = 'kafka' and outbox.other_cluster(settings) = '' and not paused limit 1
"""
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


class Relay:
    """The probe over all cursors, and the workers that work them off."""

    def __init__(self, settings: Settings, telemetry: Telemetry, stop: threading.Event) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._stop = stop
        # Set by each worker as it becomes idle.
        self._turned = threading.Event()
        path = OwnPath()
        self._sessions = Sessions(settings, telemetry, stop, path)
        self._workers = Workers(settings, telemetry, self._sessions, self._turned.set)
        self._sources = Sources(settings, telemetry, path)
        self._maintenance: threading.Thread | None = None
        self._away = False
        self._pace = ProbePace()
        self._probed_at = float("-inf")
        # Since the last probe.
        self._has_news = False
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
            self._update(connection)
            moved_at, progress = time.monotonic(), -1
            while not self._stop.is_set():
                self._telemetry.turned()
                self._turned.clear()
                self._workers.replace_stuck()
                # In this order: no worker at work brings requests into flight, none in flight makes
                # a row due, and then the look finds all that can go.
                entering = self._sources.busy
                busy = self._workers.busy
                in_flight = not busy and self._in_flight(connection)
                pending = self._look(connection, waiting=True)
                if not pending and not busy and not in_flight and not entering:
                    return self._left_behind(connection)
                before, progress = progress, self._workers.progress + self._sources.progress
                at_work = self._sources.at_work or any(worker.at_work for worker in busy)
                if progress != before or at_work:
                    moved_at = time.monotonic()
                elif time.monotonic() - moved_at > STUCK_SECONDS:
                    self._complain(pending)
                    return 1 if pending or self._sources.behind else 0
                self._wait(progress, time.monotonic() - moved_at)
        return 0

    def close(self) -> None:
        """Stops the workers: each finishes or gives up its run."""
        self._stop.set()
        deadline = time.monotonic() + STOP_SECONDS
        self._workers.stop()
        self._sources.stop()
        self._sessions.stop()
        self._workers.join(deadline)
        self._sources.join(deadline)
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
            self._update(connection)
            news = News(connection, self._settings.name)
            progress, went_at, looked_at = -1, time.monotonic(), time.monotonic()
            while not self._stop.is_set():
                self._telemetry.turned()
                if time.monotonic() - looked_at > FROZEN_LOOK_SECONDS:
                    looked_at = time.monotonic()
                    frozen_relays.terminate(connection, frozen_after_seconds(self._settings))
                    self._update(connection)
                    self._workers.replace_stuck()
                if self._turned.is_set():
                    # One that became idle may have refused an offer just before.
                    self._has_news = True
                    self._turned.clear()
                self._ask(connection, news)
                before, progress = progress, self._workers.progress
                if progress != before:
                    went_at = time.monotonic()
                self._wait(progress, time.monotonic() - went_at)

    def _update(self, connection: Connection) -> None:
        self._workers.update(connection)
        self._sources.update(connection, self._workers.relays)

    def _connect(self) -> Connection:
        try:
            return connect(self._settings)
        except EncodingError as fault:
            raise Refused(str(fault)) from fault

    def _wait(self, progress: int, quiet_seconds: float) -> None:
        """Until the next probe; `progress` is what the workers had made at the last one."""
        if self._workers.all_busy:
            # All are at work and claim for themselves; a probe would only take time from them. What
            # came meanwhile waits no longer.
            needed = self._workers.need_offers
            seconds = BUSY_POLL_SECONDS if needed else MAX_POLL_SECONDS
            self._turned.wait(seconds)
            if self._workers.progress != progress:
                return
        poll_seconds = max(quiet_seconds * PATIENCE, MIN_POLL_SECONDS)
        self._stop.wait(min(poll_seconds, MAX_POLL_SECONDS))

    def _ask(self, connection: Connection, news: News) -> None:
        """Lets those that follow the log know of new messages; now and then probes for all."""
        told = news.look()
        self._workers.follow(told)
        if told:
            self._has_news = True
        seconds = self._pace.interval_seconds(has_news=self._has_news)
        if time.monotonic() >= self._probed_at + seconds:
            self._has_news = False
            self._look(connection, waiting=self._waiting.begin_if_over())

    def _look(self, connection: Connection, *, waiting: bool) -> list[Cursor]:
        """Probes and hands out what it finds; what is `waiting` for topics is tried again, too."""
        asked_at = time.monotonic()
        pending = probe(connection, self._settings.name, waiting=waiting)
        self._pace.note(time.monotonic() - asked_at)
        if waiting:
            self._remind([cursor for cursor in pending if cursor.waits])
        self._probed_at = time.monotonic()
        self._workers.offer(pending)
        return pending

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
        faults = self._sources.faults
        for connector, fault in faults.items():
            logger.error("cannot_read", connector=connector, fault=fault)
        return 1 if left or faults else 0

    def _check(self, connection: Connection) -> None:
        with transaction(connection):
            connection.execute(TIMEOUT)
            newer = migrations.check(connection)
            needs_kafka = connection.execute(NEEDS_KAFKA).fetchone() is not None
            reason = foreign_cluster(connection)
        if reason is not None:
            self._telemetry.refused(reason)
            raise Refused(reason)
        if newer:
            logger.info("schema_is_newer", migrations=[str(one) for one in newer])
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
        for connector in self._sources.behind:
            fault = self._sources.faults.get(connector)
            logger.error("cannot_read", connector=connector, fault=fault)
        for cursor in pending:
            logger.error(
                "cannot_go",
                subscription=cursor.subscription,
                priority=cursor.priority,
                shard=cursor.shard,
                channel=cursor.channel,
                fault=self._workers.fault(cursor),
            )
