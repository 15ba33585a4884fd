"""Whose an exactly-once cursor is: others leave it alone for as long as its owner gets on."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from random import Random

import psycopg
import pytest

from relay.kafka.exactly_once import take_over
from relay.kafka.exactly_once.ownership import ExactlyOnce
from relay.kafka.exactly_once.record import Record, encode
from relay.log.cursor import Cursor
from relay.log.message import CHANNEL, ID, Row
from relay.log.run import Ran
from relay.log.sink import Blocked, Outcome, SinkAway, Stopped
from tests.relay.kafka.exactly_once.cluster import Cluster, TransactionalSink
from tests.relay.recording import Relay
from tests.sql.log import Session, publish

LATEST = """
select n, relay, seen::text, target::text, after_id, fresh_id, upto_id from outbox.checkpoint
where cursor_id = %s order by n desc limit 1
"""

# What a note has to name to follow the latest checkpoint.
CLAIMED_AT = """
select n, token, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
from outbox.checkpoint where cursor_id = %s order by n desc limit 1
"""


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class LookingSink(TransactionalSink):
    """Looks topics up in its first run after each fence, and sends nothing until the next."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.looked_at_fence = 0

    def take(self, rows: Iterable[Row]) -> Outcome:
        if self.looked_at_fence == self.transactions.fences:
            return super().take(rows)
        self.looked_at_fence = self.transactions.fences
        found = list(rows)
        missing = self.missing & {row[CHANNEL].decode() for row in found}
        blocked = tuple(Blocked(channel, self.reason) for channel in sorted(missing))
        return Outcome(0, 0, [], [], Stopped(found[0][ID], blocked))


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
    """It has delivered three messages of five, and stands in the middle of a delta."""
    db.execute("update outbox.subscription set delivery = 'exactly_once'")
    with Relay(database_url, TransactionalSink(cluster)) as relay:
        publish(db)
        relay.drain()
        for _ in range(4):
            publish(db)
        relay.run(cursor_of(relay), limit=2)
        yield relay


@pytest.fixture
def second(database_url: str, cluster: Cluster) -> Iterator[Relay]:
    with Relay(database_url, LookingSink(cluster)) as relay:
        yield relay


def cursor_of(relay: Relay) -> Cursor:
    (cursor,) = relay.probe()
    return cursor


def take(relay: Relay, clock: Clock) -> Cursor:
    """The relay fences the owner, whose work has waited for long enough, and looks topics up."""
    cursor = cursor_of(relay)
    assert relay.run(cursor) is None
    clock.now += take_over.TAKE_OVER_SECONDS + 0.01
    assert relay.run(cursor) == Ran(exhausted=False)
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
    assert first.run(cursor_of(first)) is None
    assert cluster.owners[name] is second.sink.transactions
    second.run(cursor)
    assert len(cluster.arrivals) == 5
    assert first.probe() == []


def test_a_cursor_that_is_taken_over_stands_where_it_stood(
    db: Session, first: Relay, second: Relay, clock: Clock, cluster: Cluster
) -> None:
    cursor = cursor_of(first)
    before = db.execute(LATEST, [cursor.id]).fetchone()
    assert before is not None
    assert before[3] is not None, "it is in the middle of a delta"
    take(second, clock)
    after = db.execute(LATEST, [cursor.id]).fetchone()
    assert after == (before[0] + 1, second.settings.name, *before[2:])
    second.drain()
    ids = [one.id for one in cluster.arrivals]
    assert ids == sorted(set(ids))
    assert len(ids) == 5


def test_what_a_cluster_makes_up_about_a_run_is_not_written_down(
    db: Session, first: Relay, second: Relay, clock: Clock, cluster: Cluster
) -> None:
    """Whoever keeps it knows all former notes: it could name messages that the subscription never
    gets as its dead letters, all that the log holds, or move the cursor.
    """
    secret = publish(db, "secret", channel="bank")
    (name,) = cluster.owners
    ((n, token, timeline),) = db.execute(CLAIMED_AT, [cursor_of(first).id]).fetchall()
    made_up = Record(timeline, n, token, 1, 0, 0, None, dead=(("made up", (secret,)),))
    cluster.notes[name] = encode(made_up, b"theirs")
    take(second, clock)
    second.drain()
    assert db.execute("select message_id from outbox.dead_letter").fetchall() == []
    assert len(cluster.arrivals) == 6


def test_relays_do_not_fence_each_other_in_turn_over_work_that_cannot_go(
    db: Session,
    first: Relay,
    second: Relay,
    clock: Clock,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ExactlyOnce, "check_snapshots_fit", lambda *_: False)
    cursor = cursor_of(first)
    before, fences = db.execute(LATEST, [cursor.id]).fetchone(), cluster.fences
    for _ in range(100):
        for relay in (first, second):
            ran = relay.run(cursor_of(relay))
            assert ran is None or not ran.progressed
        clock.now += 0.3
    assert db.execute(LATEST, [cursor.id]).fetchone() == before
    assert cluster.fences == fences + 1


def test_an_owner_that_fences_itself_anew_and_sends_writes_one_checkpoint(
    db: Session, first: Relay, cluster: Cluster
) -> None:
    cursor = cursor_of(first)
    assert isinstance(first.sink, TransactionalSink)
    # As after a lost connection.
    first.sink.transactions.own(-1)
    assert first.run(cursor) is not None
    assert len(cluster.arrivals) == 5
    (n, *_) = db.execute(LATEST, [cursor.id]).fetchone() or [0]
    assert n == cursor.n + 1


def origin_of(relay: Relay) -> Cursor:
    (cursor,) = [cursor for cursor in relay.probe() if cursor.channel is None]
    return cursor


def test_a_former_owner_that_looks_topics_up_contradicts_no_run_that_is_in_doubt(
    database_url: str, db: Session, clock: Clock, cluster: Cluster
) -> None:
    db.execute("update outbox.subscription set delivery = 'exactly_once'")
    written = [publish(db, channel=channel) for channel in ("orders", "parcels")]
    former, dying = LookingSink(cluster), LookingSink(cluster)
    former.missing = dying.missing = {"parcels"}
    with Relay(database_url, former) as first:
        # It fences, and notes that a run may be in doubt from now on.
        first.run(origin_of(first))
        with Relay(database_url, dying) as second:
            second.run(origin_of(second))
            dying.transactions.dies = True
            with pytest.raises(psycopg.OperationalError):
                second.run(origin_of(second))
        for _ in range(6):
            with suppress(SinkAway):
                for cursor in first.probe():
                    if cursor.channel is None:
                        first.run(cursor)
    assert [one.id for one in cluster.arrivals] == written[:1]


def test_three_relays_that_die_and_take_over_from_each_other_send_each_message_once_in_order(
    database_url: str, db: Session, clock: Clock, cluster: Cluster
) -> None:
    db.execute("update outbox.subscription set delivery = 'exactly_once'")
    random, written = Random(5), list[int]()

    def run(relay: Relay, limit: int = 100) -> bool:
        """Whether it has survived."""
        with suppress(SinkAway):
            try:
                for cursor in relay.probe():
                    relay.run(cursor, limit)
            except psycopg.OperationalError:
                relay.connection.close()
                return False
        return True

    with ExitStack() as stack:

        def begin() -> Relay:
            return stack.enter_context(Relay(database_url, LookingSink(cluster)))

        relays = [begin() for _ in range(3)]
        for _ in range(300):
            if random.random() < 0.3:
                written.append(publish(db, f"g{random.randrange(3)}"))
            place = random.randrange(3)
            sink = relays[place].sink
            assert isinstance(sink, LookingSink)
            sink.transactions.dies |= random.random() < 0.1
            if not run(relays[place], random.choice([1, 2, 100])):
                relays[place] = begin()
            clock.now += random.random()
        last = begin()
        for _ in range(5):
            run(last)
            clock.now += take_over.TAKE_OVER_SECONDS + 0.01
    assert [one.id for one in cluster.arrivals] == written
