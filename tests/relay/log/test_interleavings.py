"""Whatever the interleaving: nothing lost, nothing out of order, nothing that was rolled back."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.eventually import eventually
from tests.relay.nasty_writers import Writers, committed, inversions
from tests.relay.recording import Arrival, RecordingSink, Relay, repeats
from tests.sql.log import Session, one

pytestmark = pytest.mark.long

# Mostly small, so that runs end in the middle of everything.
LIMITS = (3, 7, 7, 200)
SEED = 20_260_517


class Crash(Exception):
    """The relay dies here."""


class Fleet:
    """Relays in threads of their own, into one list of arrivals.

    `crashes` is the probability that a run ends before its checkpoint: half of these in the
    middle of its messages, half when all are there and the connection is lost.
    """

    def __init__(self, database_url: str, *, count: int, crashes: float = 0.0) -> None:
        # list.append is atomic, and no two relays hold one group at a time.
        self.arrivals: list[Arrival] = []
        self.faults: list[BaseException] = []
        self.crashed = 0
        self._url = database_url
        self._crashes = crashes
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._live, args=[random.Random(f"{SEED}/relay/{number}")])
            for number in range(count)
        ]

    @contextmanager
    def working(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(30)

    def _live(self, chance: random.Random) -> None:
        while not self._stop.is_set():
            try:
                with Relay(self._url, RecordingSink(self.arrivals)) as relay:
                    while not self._stop.is_set():
                        self._round(relay, chance)
            except (Crash, psycopg.OperationalError):
                self.crashed += 1
            except BaseException as fault:
                self.faults.append(fault)
                return

    def _round(self, relay: Relay, chance: random.Random) -> None:
        cursors = relay.probe()
        if not cursors:
            self._stop.wait(0.002)
        for cursor in chance.sample(cursors, len(cursors)):
            if chance.random() < self._crashes:
                self._doom(relay, chance)
            relay.run(cursor, chance.choice(LIMITS))

    def _doom(self, relay: Relay, chance: random.Random) -> None:
        left = chance.randrange(min(LIMITS))

        def die(_: Arrival) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash

        if chance.random() < 0.5:
            relay.sink.taking = die
        else:
            relay.sink.delivered = relay.connection.close


def campaign(database_url: str, db: Session, fleet: Fleet, *, commits: int) -> None:
    """Twelve nasty writers against the fleet, until all that they committed is through."""
    db.execute("delete from outbox.subscription")
    db.execute("insert into outbox.subscription (name, shards) values ('two', 2)")
    writers = Writers(database_url, count=12, commits=commits // 12 + 1)

    def through() -> None:
        assert fleet.faults == []
        assert writers.done
        with Relay(database_url) as relay:
            assert relay.probe() == []

    with fleet.working(), writers:
        eventually(through, timeout_seconds=150)
    assert writers.faults == []


LOST_IDS = "select max(id) - count(*) from outbox.message"


@pytest.mark.timeout(180)
def test_10_000_transactions_through_three_relays_arrive_once_each_group_in_order(
    database_url: str, db: Session
) -> None:
    fleet = Fleet(database_url, count=3)
    campaign(database_url, db, fleet, commits=10_000)
    arrived = [arrival.idempotency_key for arrival in fleet.arrivals]
    assert inversions(arrived) == []
    assert set(arrived) == committed(db)
    assert repeats(fleet.arrivals) == 0
    rolled_back = one(db, LOST_IDS)
    assert len(arrived) > 10_000
    assert rolled_back > 1_000


@pytest.mark.timeout(120)
def test_relays_that_die_between_sending_and_their_checkpoint_only_repeat(
    database_url: str, db: Session
) -> None:
    fleet = Fleet(database_url, count=3, crashes=0.4)
    campaign(database_url, db, fleet, commits=2_000)
    arrived = [arrival.idempotency_key for arrival in fleet.arrivals]
    assert inversions(arrived) == []
    assert set(arrived) == committed(db)
    assert fleet.crashed > 20
    assert 0 < repeats(fleet.arrivals) <= fleet.crashed * max(LIMITS)
