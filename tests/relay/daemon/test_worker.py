"""A subscription worker obeys what its subscription says now, and says when it is idle."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import cast

import pytest
from msgspec.structs import replace

from relay.daemon import relay as daemon
from relay.daemon import retry
from relay.daemon.relay import MAX_POLL_SECONDS
from relay.daemon.subscription_worker import SubscriptionWorker
from relay.database import connect
from relay.kafka.runs import KafkaRuns
from relay.log.cursor import Cursor, SinkSettings
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat
from tests.eventually import eventually
from tests.relay.operating import settings
from tests.relay.recording import RecordingSink, Relay
from tests.sql.log import Session, one, publish

FILL = """
    insert into outbox.message (channel, type, group_key, payload)
    select 'orders', 'event', 'g' || n %% 10, '{}' from generate_series(1, %s) as n
"""
# More than a run takes within its time.
MESSAGES = 100_001
CHANGE = """update outbox.subscription set settings = '{"topic_prefix": "later."}'"""


@contextmanager
def session(database_url: str, sink: RecordingSink) -> Iterator[KafkaRuns]:
    """As the relay's, into a sink that remembers."""
    operating = settings(database_url, RELAY_NAME="worker")
    with connect(operating) as connection:
        yield KafkaRuns(connection, sink, operating, Telemetry())


OpenWorker = Callable[
    [Callable[[SinkSettings], RecordingSink], Callable[[], None]], SubscriptionWorker
]


@pytest.fixture
def open_worker(database_url: str, db: Session) -> Iterator[OpenWorker]:
    """Opens a worker of subscription `kafka` with these sinks, which tells that it got on."""
    workers: list[SubscriptionWorker] = []

    def open_one(
        sink: Callable[[SinkSettings], RecordingSink], turned: Callable[[], None]
    ) -> SubscriptionWorker:
        worker = SubscriptionWorker(
            "kafka",
            one(db, "select id from outbox.subscription"),
            telemetry=Telemetry(),
            sessions=lambda cursors, _: session(database_url, sink(cursors[0].sink_settings)),
            turned=turned,
        )
        workers.append(worker)
        return worker

    yield open_one
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join(10)


def worked_off(worker: SubscriptionWorker, relay: Relay) -> None:
    """Offers what there is. Raises AssertionError while there is something."""
    pending = relay.probe()
    worker.offer(pending)
    assert pending == []


def test_terms_that_change_in_the_middle_of_a_backlog_hold_from_the_next_run_on(
    db: Session, relay: Relay, open_worker: OpenWorker
) -> None:
    sinks: dict[str, RecordingSink] = {}

    def change() -> None:
        db.execute(CHANGE)

    def sink(sink_settings: SinkSettings) -> RecordingSink:
        made = sinks[sink_settings.topic_prefix] = RecordingSink()
        if not sink_settings.topic_prefix:
            made.delivered = change
        return made

    db.execute(FILL, [MESSAGES])
    worker = open_worker(sink, lambda: None)
    eventually(lambda: worked_off(worker, relay), 30)
    assert len(sinks[""].runs) == 1
    assert len(sinks[""].ids) + len(sinks["later."].ids) == MESSAGES


def test_a_delivery_that_changes_while_it_is_idle_has_a_session_of_its_own(
    db: Session, relay: Relay, open_worker: OpenWorker
) -> None:
    """The former session's sink would go on without transactions."""
    sinks: dict[str, RecordingSink] = {}

    def sink(sink_settings: SinkSettings) -> RecordingSink:
        return sinks.setdefault(sink_settings.delivery, RecordingSink())

    worker = open_worker(sink, lambda: None)
    publish(db)
    eventually(lambda: worked_off(worker, relay), 30)
    db.execute("update outbox.subscription set delivery = 'exactly_once'")
    publish(db)

    def has_another() -> None:
        worker.offer(relay.probe())
        # The sink in memory has no transactions: that it was asked for is enough.
        assert sinks.keys() == {"at_least_once", "exactly_once"}

    eventually(has_another, 30)


def test_an_offer_of_former_and_new_settings_together_is_dropped(
    db: Session, relay: Relay, open_worker: OpenWorker
) -> None:
    """It is offered again; kept, no session would ever be the right one."""
    publish(db)
    publish(db, priority=1)
    first, second = relay.probe()
    changed = SinkSettings(topic_prefix="later.")
    worker = open_worker(lambda _: RecordingSink(), lambda: None)
    worker.offer([first, replace(second, sink_settings=changed)])

    def is_idle() -> None:
        assert worker.idle

    eventually(is_idle, 30)
    eventually(lambda: worked_off(worker, relay), 30)


def test_a_worker_says_when_it_is_idle_again_though_nothing_could_go(
    db: Session, relay: Relay, open_worker: OpenWorker
) -> None:
    sink, turns = RecordingSink(), []
    sink.missing = {"orders"}
    publish(db, "a")
    relay.sink.missing = {"orders"}
    relay.drain()
    worker = open_worker(lambda _: sink, lambda: turns.append(1))
    worker.offer(relay.probe())

    def has_tried() -> None:
        assert worker.idle
        assert sink.asked == ["orders"]
        assert turns == [1]

    eventually(has_tried, 10)


class Waits(threading.Event):
    """Writes down for how long it was to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return True


class Busy:
    idle = False
    progress = 7


@pytest.mark.parametrize(("progress_before", "waited"), [(6, []), (7, [MAX_POLL_SECONDS])])
def test_a_worker_that_got_on_is_looked_after_at_once_and_another_after_the_usual_wait(
    database_url: str, progress_before: int, waited: list[float]
) -> None:
    """Else one that has nothing but blocked channels would be offered them without end."""
    stop = Waits()
    relay = daemon.Relay(settings(database_url), Telemetry(), stop)
    relay._workers._of_subscription[1] = cast("SubscriptionWorker", Busy())
    relay._turned.set()
    relay._wait(progress_before, quiet_seconds=60)
    assert stop.seconds == waited


FAR = SinkSettings(cluster="far")
CURSOR = Cursor(1, 1, "kafka", "kafka", 0, 3, None, 1, "", None, None, FAR)


Tries = tuple[SubscriptionWorker, list[str]]


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tries]:
    """A worker whose sessions can't be had, and the clusters that it tried.

    Its first wait is as long as it may be at most.
    """
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 600.0)
    tried: list[str] = []

    def session(cursors: Sequence[Cursor], _: Heartbeat) -> AbstractContextManager[KafkaRuns]:
        tried.append(cursors[0].sink_settings.cluster)
        raise SinkAway("no answer")

    worker = SubscriptionWorker(
        "kafka", 1, telemetry=Telemetry(), sessions=session, turned=lambda: None
    )
    yield worker, tried
    worker.stop()
    worker.join(10)
    assert not worker.alive


def test_a_connectors_cluster_that_is_away_is_left_alone_until_the_settings_change(
    tries: Tries,
) -> None:
    worker, tried = tries

    def has_tried(*clusters: str) -> None:
        # As probes do, time and again.
        worker.offer([replace(CURSOR, sink_settings=SinkSettings(cluster=clusters[-1]))])
        assert tried == list(clusters)

    eventually(lambda: has_tried("far"), 10)
    eventually(lambda: has_tried("far", "corrected"), 10)
    eventually(lambda: has_tried("far", "corrected", "again"), 10)


def test_the_environments_cluster_is_tried_again_in_a_moment(tries: Tries) -> None:
    worker, tried = tries
    worker.offer([replace(CURSOR, sink_settings=SinkSettings())])

    def has_tried() -> None:
        assert len(tried) >= 3

    eventually(has_tried, 10)
