"""Two holders of a cursor, a lost connection, a lost answer: no message is lost."""

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import errors

from relay.log.checkpoint import End, finish, following
from relay.log.claim import claim, give_up
from relay.log.reading import Reading
from relay.log.sink import Outcome
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.relay.conftest import OpenRelay
from tests.relay.recording import Relay
from tests.sql.log import Session, cursor_id, one, publish

LATEST = "select max(n) from outbox.checkpoint where cursor_id = %s"


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(urlsplit(database_url).port or 5432) as between:
        yield between


def test_a_cursor_has_one_holder_at_a_time(
    db: Session, relay: Relay, open_relay: OpenRelay
) -> None:
    publish(db, "a")
    (cursor,) = relay.probe()
    assert claim(relay.connection, [cursor], relay.settings.name, 60)
    rival = open_relay()
    assert rival.run(cursor) is None
    give_up(relay.connection)
    ran = rival.run(cursor)
    assert ran is not None
    assert ran.progressed


def test_the_second_of_two_equal_checkpoints_is_refused_and_nothing_is_lost(
    db: Session, relay: Relay, open_relay: OpenRelay
) -> None:
    """A holder whose lock was lost, as a frozen relay's session is: the key fences it."""
    messages = [publish(db, "a") for _ in range(3)]
    (cursor,) = relay.probe()
    (claimed,) = claim(relay.connection, [cursor], relay.settings.name, 60)
    zombie = open_relay()
    reading = Reading(zombie.connection, [claimed], limit=2)
    give_up(relay.connection)
    assert relay.drain() == messages
    zombie.connection.execute("begin")
    zombie.connection.execute("savepoint reading")
    assert len([row for page in reading.stream() for row in page]) == 2
    checkpoint = following(reading, claimed, Outcome(2, 4, [0, 0], []))
    with pytest.raises(errors.UniqueViolation):
        finish(zombie.connection, [reading], zombie.settings.name, [End(claimed, checkpoint)])
    give_up(zombie.connection)
    last = publish(db, "a")
    assert zombie.drain() == [last]


def test_a_holder_whose_session_ends_leaves_the_cursor_to_the_next_at_once(
    db: Session, relay: Relay, open_relay: OpenRelay
) -> None:
    messages = [publish(db, "a") for _ in range(3)]
    (cursor,) = relay.probe()
    pid = relay.connection.info.backend_pid

    def lose_the_session() -> None:
        db.execute("select pg_terminate_backend(%s, 5000)", [pid])

    relay.sink.delivered = lose_the_session
    with pytest.raises(psycopg.OperationalError):
        relay.run(cursor)
    assert relay.sink.ids == messages
    assert open_relay().drain() == messages


def test_a_commit_that_was_cut_off_on_its_way_repeats_its_run(
    database_url: str, db: Session, proxy: Proxy
) -> None:
    messages = [publish(db, "a") for _ in range(3)]

    def cut_at_commit(data: bytes) -> None:
        if b"commit" in data:
            proxy.cut()

    with Relay(proxy.url(database_url)) as relay:
        (cursor,) = relay.probe()
        proxy.watch = cut_at_commit
        with pytest.raises(psycopg.OperationalError):
            relay.run(cursor)
    with Relay(database_url) as successor:
        assert successor.drain() == messages


def test_a_commit_whose_answer_is_lost_is_found_out_by_the_next_claim(
    database_url: str, db: Session, proxy: Proxy
) -> None:
    publish(db, "a")
    id_of_cursor = cursor_id(db)
    before = one(db, LATEST, id_of_cursor)

    def committed() -> None:
        assert one(db, LATEST, id_of_cursor) == before + 1

    with Relay(proxy.url(database_url)) as relay:
        (cursor,) = relay.probe()
        relay.sink.delivered = proxy.mute

        def cut_once_committed() -> None:
            eventually(committed)
            proxy.cut()
            proxy.flow()

        cutter = threading.Thread(target=cut_once_committed)
        cutter.start()
        with pytest.raises(psycopg.OperationalError):
            relay.run(cursor)
        cutter.join()
    with Relay(database_url) as successor:
        last = publish(db, "a")
        assert successor.drain() == [last]
