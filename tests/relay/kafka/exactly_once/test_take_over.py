"""Whose an exactly-once cursor is: others leave it alone for as long as its owner gets on."""

from collections.abc import Iterable, Iterator

import pytest

from relay.kafka.exactly_once import take_over
from relay.log.cursor import Cursor
from relay.log.message import ID, Row
from relay.log.run import Ran
from relay.log.sink import Outcome, Stopped
from tests.relay.kafka.exactly_once.cluster import Cluster, TransactionalSink
from tests.relay.recording import Relay
from tests.sql.log import Session, publish

STANDS = """
select seen::text, target::text, after_id from outbox.checkpoint
where cursor_id = %s order by n desc limit 1
"""


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class LookingSink(TransactionalSink):
    """Looks topics up in its first run, and sends nothing until the next."""

    looked = False

    def take(self, rows: Iterable[Row]) -> Outcome:
        if self.looked:
            return super().take(rows)
        self.looked = True
        first = next(iter(rows))
        return Outcome(0, 0, [], [], Stopped(first[ID]))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(take_over, "time", clock)
    return clock


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def first(database_url: str, db: Session, cluster: Cluster) -> Iterator[Relay]:
    """It has delivered a message, and there is another one."""
    db.execute("update outbox.subscription set delivery = 'exactly_once'")
    with Relay(database_url, TransactionalSink(cluster)) as relay:
        publish(db)
        relay.drain()
        publish(db)
        yield relay


@pytest.fixture
def second(database_url: str, cluster: Cluster) -> Iterator[Relay]:
    with Relay(database_url, LookingSink(cluster)) as relay:
        yield relay


def cursor_of(relay: Relay) -> Cursor:
    (cursor,) = relay.probe()
    return cursor


def take(relay: Relay, clock: Clock) -> Cursor:
    """The relay fences the owner, whose work has waited for long enough."""
    cursor = cursor_of(relay)
    assert relay.run(cursor) is None
    clock.now += take_over.TAKE_OVER_SECONDS + 0.01
    ran = relay.run(cursor)
    assert ran == Ran(progressed=True, exhausted=False)
    return cursor


def test_another_relay_leaves_a_cursor_to_its_owner_for_a_second(
    first: Relay, second: Relay, clock: Clock, cluster: Cluster
) -> None:
    (name,) = cluster.owners
    cursor = cursor_of(second)
    assert second.run(cursor) is None
    clock.now += take_over.TAKE_OVER_SECONDS - 0.01
    assert second.run(cursor) is None
    assert cluster.owners[name] is first.sink.transactions
    clock.now += 0.02
    assert second.run(cursor) is not None
    assert cluster.owners[name] is second.sink.transactions


def test_a_former_owner_does_not_take_a_cursor_back_before_the_new_one_has_sent_anything(
    first: Relay, second: Relay, clock: Clock, cluster: Cluster
) -> None:
    (name,) = cluster.owners
    cursor = take(second, clock)
    for _ in range(2):
        assert first.run(cursor_of(first)) is None
        assert cluster.owners[name] is second.sink.transactions
        # It looks topics up, and then it sends.
        second.run(cursor)
    assert len(cluster.arrivals) == 2
    assert first.probe() == []


def test_a_cursor_that_is_taken_over_stands_where_it_stood(
    db: Session, first: Relay, second: Relay, clock: Clock
) -> None:
    cursor = cursor_of(first)
    stood = db.execute(STANDS, [cursor.id]).fetchone()
    take(second, clock)
    assert db.execute(STANDS, [cursor.id]).fetchone() == stood


LATEST = "select max(n) from outbox.checkpoint where cursor_id = %s"


def test_an_owner_that_becomes_it_anew_writes_no_checkpoint_for_that(
    db: Session, first: Relay, cluster: Cluster
) -> None:
    cursor = cursor_of(first)
    assert isinstance(first.sink, TransactionalSink)
    # As after a lost connection.
    first.sink.transactions.own(-1)
    assert first.run(cursor) is not None
    assert len(cluster.arrivals) == 2
    assert db.execute(LATEST, [cursor.id]).fetchone() == (cursor.n + 1,)
