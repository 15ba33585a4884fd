"""A run's own transaction is in progress where its cursors go: what it writes is still to come."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from relay.log import claim
from relay.log.cursor import Cursor
from tests.eventually import eventually
from tests.relay.conftest import OpenRelay
from tests.relay.log.together import SharedSink, follow, subscribe
from tests.relay.recording import Relay
from tests.sql.log import Session, publish

GATE = 7
# The relay's own, with a wait behind it.
LATER_CLAIM = """
with held as materialized (
    select c.id from outbox.cursor c
    where c.id = any (%(cursors)s::bigint[])
    for no key update of c skip locked
)
select id from held where pg_advisory_xact_lock_shared(7) is not null
"""
WAITING = """
select count(*) from pg_locks
where locktype = 'advisory' and objid = %s and not granted
  and database = (select oid from pg_database where datname = current_database())
"""
ClaimLater = Callable[[Relay, Sequence[Cursor], Callable[[], object]], None]


@pytest.fixture
def sink() -> SharedSink:
    return SharedSink()


@pytest.fixture
def together(db: Session, open_relay: OpenRelay, sink: SharedSink) -> Relay:
    """A relay of two cursors, of which one wants the platform's events."""
    db.execute("delete from outbox.subscription")
    relay = open_relay(sink)
    subscribe(db, "p", channels=["orders"])
    subscribe(db, "q", channels=["orders", "outbox.events"])
    follow(db, relay, sink)
    return relay


@pytest.fixture
def claim_later(db: Session, database_url: str, monkeypatch: pytest.MonkeyPatch) -> ClaimLater:
    """Runs cursors, and does something between their claim and the look where they stand."""

    def run(relay: Relay, cursors: Sequence[Cursor], meanwhile: Callable[[], object]) -> None:
        def waits() -> None:
            assert db.execute(WAITING, [GATE]).fetchone() == (1,)

        with (
            psycopg.connect(database_url, autocommit=True) as gate,
            ThreadPoolExecutor(1) as thread,
        ):
            gate.execute("select pg_advisory_lock(%s)", [GATE])
            with monkeypatch.context() as patched:
                patched.setattr(claim, "CLAIM", LATER_CLAIM)
                running = thread.submit(relay.run_together, cursors)
                eventually(waits)
            meanwhile()
            gate.execute("select pg_advisory_unlock(%s)", [GATE])
            running.result(30)

    return run


def drain(relay: Relay) -> None:
    while cursors := relay.probe():
        relay.run_together(cursors)


def event_of_run(relay: Relay, told: list[int]) -> Callable[[], None]:
    """Writes an event in the transaction of the run under way, once."""

    def write() -> None:
        if not told:
            row = relay.connection.execute(
                "select outbox.publish_own('outbox.events', 'event', '{}')"
            ).fetchone()
            assert row is not None
            told.append(row[0])

    return write


def test_an_event_that_a_run_writes_reaches_the_cursors_of_that_run(
    db: Session, together: Relay, sink: SharedSink, claim_later: ClaimLater
) -> None:
    told = list[int]()
    publish(db)
    sink.delivered = event_of_run(together, told)
    # One with a higher number is over when the run's own is not.
    claim_later(together, together.probe(), lambda: publish(db))
    drain(together)
    assert sink.taken["q"].count(told[0]) == 1


def test_an_event_that_a_run_writes_reaches_the_cursors_of_another_relays_run(
    db: Session,
    together: Relay,
    sink: SharedSink,
    open_relay: OpenRelay,
    claim_later: ClaimLater,
) -> None:
    rivals_sink, told = SharedSink(), list[int]()
    rival = open_relay(rivals_sink)
    publish(db)
    cursors = {cursor.subscription: cursor for cursor in together.probe()}
    write = event_of_run(together, told)

    def delivered() -> None:
        if not told:
            publish(db)
            rival.run_together([cursors["q"]])
            write()

    sink.delivered = delivered
    claim_later(together, [cursors["p"]], lambda: publish(db))
    publish(db)
    drain(together)
    assert (sink.taken["q"] + rivals_sink.taken["q"]).count(told[0]) == 1


def test_a_late_message_reaches_cursors_that_two_relays_claimed_before_and_after_its_commit(
    db: Session,
    database_url: str,
    together: Relay,
    sink: SharedSink,
    open_relay: OpenRelay,
    claim_later: ClaimLater,
) -> None:
    rivals_sink = SharedSink()
    rival = open_relay(rivals_sink)
    with psycopg.connect(database_url) as writer:
        written = [publish(writer, "w"), publish(db)]
        cursors = {cursor.subscription: cursor for cursor in together.probe()}

        def commit() -> None:
            if not rivals_sink.taken:
                writer.commit()
                rival.run_together([cursors["q"]])

        sink.delivered = commit
        claim_later(together, [cursors["p"]], lambda: written.append(publish(db)))
    written.append(publish(db))
    drain(together)
    for name in ("p", "q"):
        assert sorted(sink.taken[name] + rivals_sink.taken[name]) == sorted(written), name
