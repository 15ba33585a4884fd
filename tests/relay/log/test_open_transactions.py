"""A transaction that goes on costs nobody the rows that it has written so far."""

from contextlib import ExitStack

import psycopg
import pytest

from relay.log.claim import POSITION, claim, give_up
from relay.log.probe import PROBE
from service.payments.live import updates
from tests.relay.conftest import Open
from tests.relay.plans import explain
from tests.relay.recording import Relay
from tests.sql.log import Session, cursor_id, one, publish

PRIORITIES = 5
QUIET = 5
ROWS = 30_000
FILL = """
    insert into outbox.message (channel, type, group_key, idempotency_key, payload, priority)
    select 'orders', 'event', 'g' || n %% 100, 'fill-' || n, '{}', %s
    from generate_series(1, %s) as n
"""
SUBSCRIBE = """
    insert into outbox.subscription (name) select 'more-' || n from generate_series(1, %s) as n
"""
# Of the rows that it sees a look takes a few: by each index that it uses, in each range.
FEW_ENTRIES = 100

HAS_UNREAD = "select outbox.has_unread(%(cursor)s, clock_timestamp() + interval '1 minute')"
LOOKS = [
    pytest.param(PROBE, {"subscription": None, "waiting": False}, id="probe"),
    pytest.param(POSITION, {}, id="position"),
    pytest.param("select * from outbox.unread(%(cursor)s, 1000)", {}, id="unread"),
    pytest.param(HAS_UNREAD, {}, id="has-unread"),
]


@pytest.fixture
def writer(open_session: Open) -> Session:
    """In the middle of a transaction that wrote much, in a priority that nobody else uses."""
    session = open_session()
    session.execute("begin")
    session.execute(FILL, [QUIET, ROWS])
    return session


@pytest.mark.parametrize("published", [False, True], ids=["quiet", "published"])
@pytest.mark.parametrize(("look", "parameters"), LOOKS)
def test_its_rows_are_walked_by_no_look(
    db: Session,
    writer: Session,
    look: str,
    parameters: dict[str, object],
    published: bool,
) -> None:
    """Where its priority is quiet, and where somebody else has just published there."""
    publish(db, priority=QUIET if published else 3)
    cursor = {"cursor": cursor_id(db, QUIET)} if "%(cursor)s" in look else {}
    assert explain(db, look, parameters | cursor).entries < FEW_ENTRIES


def test_a_probe_looks_into_the_log_once_for_all_cursors_of_a_priority(
    db: Session, writer: Session
) -> None:
    for priority in range(1, PRIORITIES + 1):
        publish(db, priority=priority)
    db.execute(SUBSCRIBE, [40])
    plan = explain(db, PROBE, {"subscription": None, "waiting": False})
    assert plan.nodes[0].rows == PRIORITIES
    assert plan.entries < FEW_ENTRIES


def test_live_updates_walk_none_of_its_rows(db: Session, open_session: Open) -> None:
    seen = one(db, "select pg_current_snapshot()::text")
    session = open_session()
    session.execute("begin")
    session.execute(FILL, [1, ROWS])
    publish(db, priority=1)
    assert explain(db, updates.READ, {"seen": seen}).entries < FEW_ENTRIES


def test_its_rows_come_when_it_commits_and_the_others_before(
    db: Session, writer: Session, relay: Relay
) -> None:
    first = publish(db, priority=QUIET)
    assert relay.drain() == [first]
    writer.execute("commit")
    assert len(relay.drain(limit=100_000)) == ROWS


def test_nothing_is_missed_between_many_transactions(
    db: Session, database_url: str, relay: Relay
) -> None:
    """Every second one of them is over, and the newest too."""
    others = 40
    with ExitStack() as open_ones:
        sessions = [open_ones.enter_context(psycopg.connect(database_url)) for _ in range(others)]
        ids = [publish(session, f"g{n}", priority=QUIET) for n, session in enumerate(sessions)]
        for session in sessions[1::2]:
            session.commit()
        newest = publish(db, priority=QUIET)
        assert sorted(relay.drain()) == [*ids[1::2], newest]
        for session in sessions[::2]:
            session.commit()
        assert sorted(relay.drain()) == ids[::2]


def test_the_position_of_a_delta_spans_what_is_late_and_what_is_fresh(
    db: Session, open_session: Open, relay: Relay
) -> None:
    late, later = open_session(), open_session()
    late.execute("begin")
    first_late = publish(late)
    publish(db)
    later.execute("begin")
    publish(later)
    relay.drain()
    last_late = publish(late)
    fresh = publish(db)
    highest = publish(late)
    late.execute("commit")
    (cursor,) = relay.probe()
    claimed = claim(relay.connection, cursor, relay.settings.name, 60)
    give_up(relay.connection)
    assert claimed is not None
    delta = claimed.position.delta
    assert delta is not None
    assert first_late < last_late < fresh < highest
    assert (delta.after_id, delta.fresh_id, delta.upto_id) == (
        first_late - 1,
        fresh,
        highest,
    )
