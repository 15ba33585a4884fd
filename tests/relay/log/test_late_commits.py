"""What commits late costs what it is, and a new or wider subscription misses nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from relay.log.claim import POSITION, claim, give_up
from relay.log.cursor import Cursor
from relay.log.position import Position
from relay.log.probe import PROBE
from relay.log.reading import READ_LATE, SPAN_IDS
from relay.log.run import Ran
from tests.relay.conftest import Open
from tests.relay.plans import explain
from tests.relay.recording import Relay
from tests.sql.log import Session, cursor_id, one, pass_everything, publish

FILL = """
    insert into outbox.message (channel, type, group_key, idempotency_key, payload)
    select 'orders', 'event', 'g' || n %% 100, 'fill-' || n, '{}' from generate_series(1, %s) as n
"""
ROWS = 60_000
# A late row is found through its transaction id.
FEW_ENTRIES = 100


@contextmanager
def in_flight(session: Session) -> Iterator[None]:
    """A transaction that stays open for the block and then commits."""
    session.execute("begin")
    yield
    session.execute("commit")


def position_of(relay: Relay, cursor: Cursor) -> Position:
    """The delta that a run of this cursor would begin or go on with."""
    (claimed,) = claim(relay.connection, [cursor], relay.settings.name, 60)
    give_up(relay.connection)
    return claimed.position


def late_parameters(position: Position, upto: int, limit: int = 20_000) -> dict[str, object]:
    assert position.delta is not None
    return {
        "priority": 3,
        "seen": position.seen,
        "target": position.delta.target,
        "after": position.delta.after_id,
        "upto": upto,
        "every_channel": True,
        "channels": [],
        "types": None,
        "cursor": 3,
        "replaying": False,
        "blocking": False,
        "later": None,
        "subscription": 1,
        "channel": None,
        "shards": 1,
        "shard": 0,
        "limit": limit,
    }


def test_a_late_commit_behind_many_newer_rows_reads_few_pages(
    open_session: Open, db: Session, relay: Relay
) -> None:
    slow = open_session()
    with in_flight(slow):
        late = publish(slow, "a")
        db.execute(FILL, [ROWS])
        relay.drain()
    newest = publish(db, "b")
    (cursor,) = relay.probe()
    probing = explain(db, PROBE, {"subscription": None, "waiting": False})
    placing = explain(db, POSITION, {"cursors": [cursor.id], "known": []})
    position = position_of(relay, cursor)
    reading = explain(db, READ_LATE, late_parameters(position, late + SPAN_IDS))
    assert max(probing.entries, placing.entries, reading.entries) < FEW_ENTRIES
    assert relay.drain() == [late, newest]


def test_uncommitted_messages_of_a_long_transaction_cost_the_others_nothing(
    open_session: Open, db: Session, relay: Relay
) -> None:
    """The readers know its transaction as one in progress, and need not look at its rows."""
    slow = open_session()
    with in_flight(slow):
        slow.execute(FILL, [ROWS])
        assert relay.drain() == []
        first = publish(db, "b")
        assert relay.drain() == [first]
        probing = explain(db, PROBE, {"subscription": None, "waiting": False})
        placing = explain(db, POSITION, {"cursors": [cursor_id(db)], "known": []})
        assert max(probing.entries, placing.entries) < FEW_ENTRIES


def test_many_rows_that_committed_late_are_read_in_proportion(
    open_session: Open, db: Session, relay: Relay
) -> None:
    """Each run of a long delta reads its own rows and not all that are left."""
    slow = open_session()
    with in_flight(slow):
        slow.execute(FILL, [ROWS])
        publish(db, "b")
        relay.drain()
    (cursor,) = relay.probe()
    position = position_of(relay, cursor)
    delta = position.delta
    assert delta is not None
    assert delta.fresh_id > delta.after_id + ROWS
    upto = delta.after_id + 1000
    reading = explain(db, READ_LATE, late_parameters(position, upto, limit=1000))
    assert reading.buffers < 4 * 1000
    assert len(relay.drain(limit=20_000)) == ROWS


def test_a_filter_that_is_widened_while_messages_come_loses_none(
    open_session: Open, db: Session, relay: Relay
) -> None:
    """What commits after the filter's commit arrives, whatever was under way then."""
    db.execute("update outbox.subscription set channels = '{orders}'")
    slow = open_session()
    with in_flight(slow):
        late = publish(slow, "a", channel="parcels")
        before = [publish(db, "b"), publish(db, "b"), publish(db, "b")]
        (cursor,) = relay.probe()
        ran = relay.run(cursor, limit=1)
        assert ran == Ran(progressed=True, exhausted=False)
        db.execute("update outbox.subscription set channels = '{orders,parcels}'")
        after = publish(db, "a", channel="parcels")
    arrived = relay.drain(limit=1)
    assert sorted(arrived) == sorted([late, *before[1:], after])
    assert arrived.index(late) < arrived.index(after)


def test_a_filter_is_read_at_the_moment_where_a_delta_begins(
    open_session: Open, db: Session, relay: Relay
) -> None:
    """A filter that commits between two messages leaves out the first and takes the second."""
    db.execute("update outbox.subscription set channels = '{orders}'")
    publish(db, "a", channel="parcels")
    relay.drain()
    assert relay.probe() == []
    db.execute("update outbox.subscription set channels = '{parcels}'")
    second = publish(db, "a", channel="parcels")
    assert relay.drain() == [second]


SUBSCRIBE = "insert into outbox.subscription (name) values ('late') returning id"


def test_a_new_subscription_gets_all_that_commits_after_it(
    open_session: Open, db: Session, relay: Relay
) -> None:
    """Also from transactions that had written before it was made, or while it was."""
    publish(db, "past")
    early, between, maker = open_session(), open_session(), open_session()
    with in_flight(early):
        expected = [publish(early, "a")]
        with in_flight(between), in_flight(maker):
            subscription = one(maker, SUBSCRIBE)
            expected.append(publish(between, "b"))
            expected.append(publish(db, "c"))
    expected.append(publish(db, "d"))
    for cursor in relay.probe(subscription):
        while relay.run(cursor, limit=1) == Ran(progressed=True, exhausted=False):
            pass
    assert sorted(relay.sink.ids) == expected


def test_a_new_subscription_gets_what_its_own_transaction_publishes(
    db: Session, open_session: Open, relay: Relay
) -> None:
    """Whatever other transactions did meanwhile: the message commits together with it."""
    maker = open_session()
    with in_flight(maker):
        maker.execute("select pg_current_xact_id()")
        publish(db, "other")
        subscription = one(maker, SUBSCRIBE)
        message = publish(maker, "a")
    for cursor in relay.probe(subscription):
        relay.run(cursor)
    assert relay.sink.ids == [message]


def test_a_subscription_without_news_is_no_work(db: Session, relay: Relay) -> None:
    publish(db, "a")
    pass_everything(db)
    assert relay.probe() == []
