"""Runs of several cursors whose claim, end or checkpoint another relay or a fault meets."""

from collections.abc import Generator
from contextlib import closing

import psycopg
import pytest
from psycopg import errors

from relay.log import shared
from relay.log.message import Row
from relay.log.reading import CHUNK_ROWS, Reading
from relay.log.run import Ran
from tests.relay.conftest import OpenRelay
from tests.relay.log.together import FILL, SharedSink, follow, run, subscribe
from tests.relay.recording import RecordingSink, Relay
from tests.sql.log import Session, publish


def test_of_a_run_that_fails_nothing_counts_for_any(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", "b")
    written = publish(db)

    def fail() -> None:
        raise RuntimeError("a mistake")

    sink.delivered = fail
    with pytest.raises(RuntimeError):
        run(together)
    sink.delivered = lambda: None
    run(together)
    assert sink.taken == {"a": [written], "b": [written]}


def test_channel_cursors_are_never_read_together(
    db: Session, together: Relay, sink: SharedSink, open_relay: OpenRelay
) -> None:
    """Two of one subscription stand at one place, and each reads a channel of its own."""
    subscribe(db, "a", "b")
    lacking = RecordingSink()
    lacking.missing = {"x", "y"}
    other = open_relay(lacking)
    written = [publish(db, channel="y") for _ in range(3)]
    written += [publish(db, channel="x") for _ in range(2)]
    for cursor in other.probe():
        if cursor.subscription == "a":
            other.run(cursor)
    for _ in range(5):
        cursors = together.probe()
        ran = together.run_together(cursors)
        assert all(ran[one.id].alone for one in cursors if one.channel is not None)
    assert sink.taken["a"] == []
    assert sink.taken["b"] == written
    other.sink.missing = set()
    other.drain()
    assert sorted(one.id for one in lacking.arrivals) == written


def test_what_another_relay_holds_is_left_out(
    db: Session, together: Relay, sink: SharedSink, open_relay: OpenRelay
) -> None:
    subscribe(db, "a", "b")
    written = publish(db)
    rival_sink = SharedSink()
    rival = open_relay(rival_sink)
    held = [cursor for cursor in together.probe() if cursor.subscription == "a"]
    others: dict[str, Ran] = {}
    sink.delivered = lambda: others.update(run(rival))
    assert together.run(held[0]) is not None
    assert others.keys() == {"b"}
    assert (sink.taken, rival_sink.taken) == ({"a": [written]}, {"b": [written]})


def test_one_of_two_equal_checkpoints_makes_the_whole_run_void(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", "b")
    written = publish(db)

    def overtake() -> None:
        db.execute(
            "insert into outbox.checkpoint (cursor_id, n, seen, relay)"
            " select cursor_id, n + 1, seen, 'zombie' from outbox.checkpoint k"
            " join outbox.cursor c on c.id = k.cursor_id"
            " join outbox.subscription s on s.id = c.subscription_id"
            " where s.name = 'a' and c.priority = 3 order by n desc limit 1"
        )

    sink.delivered = overtake
    with pytest.raises(errors.UniqueViolation):
        run(together)
    sink.delivered = lambda: None
    run(together)
    assert sink.taken["b"] == [written, written]


def test_the_next_run_begins_in_the_round_trip_of_the_last_ones_end(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", "b")
    first = publish(db)
    later: list[int] = []
    sink.delivered = lambda: later.append(publish(db))
    ran = run(together, again=True)
    assert all(one.begun for one in ran.values())
    # Held already: another relay finds them taken.
    with psycopg.connect(together.settings.database_url) as rival:
        free = rival.execute("select from outbox.cursor for no key update skip locked").rowcount
    assert free == 8
    sink.delivered = lambda: None
    ran = run(together, again=True)
    assert not any(one.begun for one in ran.values())
    assert sink.taken == {"a": [first, *later], "b": [first, *later]}
    assert together.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_what_was_claimed_ahead_is_given_back_where_no_run_follows(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", "b")
    publish(db)
    sink.delivered = lambda: publish(db)
    assert all(one.begun for one in run(together, again=True).values())
    together.rest()
    free = db.execute("select from outbox.cursor for no key update skip locked").rowcount
    assert free == 10


def test_a_run_that_is_cut_in_the_middle_of_a_stream_leaves_a_session_that_goes_on(
    db: Session, together: Relay, sink: SharedSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(db, "a", "b")
    follow(db, together, sink)
    db.execute(FILL, [10 * CHUNK_ROWS])
    # A run ends after its first turn, which is made here of one page that is read whole and of one
    # that comes in a stream.
    monkeypatch.setattr(shared, "RUN_SECONDS", 0.0)
    stream = Reading.stream

    def from_the_second_page(reading: Reading) -> Generator[list[Row]]:
        with closing(stream(reading)) as pages:
            yield next(pages) + next(pages)
            yield from pages

    monkeypatch.setattr(Reading, "stream", from_the_second_page)
    cursors = together.probe()
    together.run_together(cursors, again=True)
    assert len(sink.taken["a"]) == 2 * CHUNK_ROWS
    monkeypatch.undo()
    for _ in range(3):
        together.run_together(cursors, limit=CHUNK_ROWS, again=True)
    assert len(sink.taken["a"]) == 5 * CHUNK_ROWS
    assert sink.taken["a"] == sink.taken["b"]
