"""No query of the relay walks the rows that an open transaction has written so far."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from local.postgres import Postgres
from relay.log.claim import POSITION, claim, give_up
from relay.log.probe import PROBE
from service.payments.live import updates
from tests.relay.conftest import Open
from tests.relay.plans import explain
from tests.relay.recording import Relay
from tests.servers import TEMPLATE, make_template
from tests.sql.log import (
    Session,
    begin_delta,
    cursor_id,
    let_days_pass,
    one,
    pass_everything,
    publish,
    turn,
)

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
# In `outbox.finished_ranges` so many transactions in progress are left out at most.
LEFT_OUT = 100
# Of the rows that it sees a look takes a few: by each index that it uses, in each range.
FEW_ENTRIES = 100

HAS_UNREAD = "select outbox.has_unread(%(cursor)s, clock_timestamp() + interval '1 minute')"
LOOKS = [
    pytest.param(PROBE, {"subscription": None, "waiting": False}, id="probe"),
    pytest.param(POSITION, {}, id="position"),
    pytest.param("select * from outbox.unread(%(cursor)s, 1000)", {}, id="unread"),
    pytest.param(HAS_UNREAD, {}, id="has-unread"),
]


PREPARE = sql.SQL("prepare transaction {}")
COMMIT = sql.SQL("commit prepared {}")


@pytest.fixture
def writer(open_session: Open) -> Session:
    """In the middle of a transaction that wrote much, in a priority that no other writer uses."""
    session = open_session()
    session.execute("begin")
    session.execute(FILL, [QUIET, ROWS])
    return session


def quiet_cursor(db: Session, look: str) -> dict[str, object]:
    """The parameter of a look at one cursor, or at several."""
    cursor = cursor_id(db, QUIET)
    of = {"cursor": cursor, "cursors": [cursor], "known": []}
    return {name: of[name] for name in of if f"%({name})s" in look}


def late_writer(db: Session, open_session: Open) -> None:
    """One that all cursors know to be in progress, and that wrote much since."""
    session = open_session()
    session.execute("begin")
    session.execute("select pg_current_xact_id()")
    db.execute("select pg_current_xact_id()")
    pass_everything(db)
    session.execute(FILL, [QUIET, ROWS])


@pytest.mark.parametrize("published", [False, True], ids=["quiet", "published"])
@pytest.mark.parametrize(("look", "parameters"), LOOKS)
def test_its_rows_are_walked_by_no_look(
    db: Session,
    writer: Session,
    look: str,
    parameters: dict[str, object],
    published: bool,
) -> None:
    """Where its priority is quiet, and where another writer has just published there."""
    publish(db, priority=QUIET if published else 3)
    assert explain(db, look, parameters | quiet_cursor(db, look)).entries < FEW_ENTRIES


@pytest.mark.parametrize(("look", "parameters"), LOOKS)
def test_it_may_have_begun_before_the_cursors_moved_on(
    db: Session, open_session: Open, look: str, parameters: dict[str, object]
) -> None:
    late_writer(db, open_session)
    assert explain(db, look, parameters | quiet_cursor(db, look)).entries < FEW_ENTRIES


@pytest.mark.parametrize(("look", "parameters"), LOOKS[2:])
def test_it_may_have_begun_before_the_delta_that_is_under_way(
    db: Session, open_session: Open, look: str, parameters: dict[str, object]
) -> None:
    late_writer(db, open_session)
    publish(db, priority=QUIET)
    cursor = cursor_id(db, QUIET)
    begin_delta(db, cursor, after_id=0)
    assert explain(db, look, parameters | {"cursor": cursor}).entries < FEW_ENTRIES


@pytest.mark.parametrize("published", [False, True], ids=["quiet", "published"])
@pytest.mark.parametrize(("look", "parameters"), LOOKS)
def test_it_may_be_the_latest_of_many(
    db: Session,
    open_session: Open,
    look: str,
    parameters: dict[str, object],
    published: bool,
) -> None:
    for _ in range(20):
        decoy = open_session()
        decoy.execute("begin")
        publish(decoy)
        db.execute("select pg_current_xact_id()")
    session = open_session()
    session.execute("begin")
    session.execute(FILL, [QUIET, ROWS])
    publish(db, priority=QUIET if published else 3)
    # Each of the twenty is a range more.
    assert explain(db, look, parameters | quiet_cursor(db, look)).entries < 10 * FEW_ENTRIES


NEEDED_BY = "select outbox.partition_needed_by(%(partition)s)"
PARTITION_STATE = "select * from outbox.partition_state(%(days)s)"


@pytest.mark.parametrize("late", [False, True], ids=["fresh", "late"])
def test_retention_walks_its_rows_for_no_cursor(
    db: Session, open_session: Open, late: bool
) -> None:
    db.execute(SUBSCRIBE, [20])
    if late:
        late_writer(db, open_session)
    else:
        session = open_session()
        session.execute("begin")
        session.execute(FILL, [QUIET, ROWS])
    turn(db)
    let_days_pass(db, 30)
    assert explain(db, NEEDED_BY, {"partition": "message_0"}).entries < FEW_ENTRIES


def test_within_retention_no_query_asks_who_needs_a_partition(db: Session) -> None:
    publish(db)
    assert explain(db, PARTITION_STATE, {"days": 7}).entries == 0


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


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[str]:
    """A database on a server of the test's own, which takes many prepared transactions."""
    settings = {"max_prepared_transactions": str(3 * LEFT_OUT)}
    with Postgres.start(tmp_path / "postgres", settings=settings) as server:
        make_template(server)
        yield server.dsn(TEMPLATE)


def test_nothing_is_missed_between_more_transactions_than_are_left_out(crowded: str) -> None:
    """Every second one of them is over, and the newest too."""
    begun = 2 * LEFT_OUT + 20
    with psycopg.connect(crowded, autocommit=True) as db, Relay(crowded) as relay:
        ids = []
        for number in range(begun):
            with db.transaction():
                ids.append(publish(db, f"g{number}", priority=QUIET))
                db.execute(PREPARE.format(str(number)))
        for number in range(1, begun, 2):
            db.execute(COMMIT.format(str(number)))
        newest = publish(db, priority=QUIET)
        assert sorted(relay.drain()) == [*ids[1::2], newest]
        for number in range(0, begun, 2):
            db.execute(COMMIT.format(str(number)))
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
    (claimed,) = claim(relay.connection, [cursor], relay.settings.name, 60)
    give_up(relay.connection)
    delta = claimed.position.delta
    assert delta is not None
    assert first_late < last_late < fresh < highest
    assert (delta.after_id, delta.fresh_id, delta.upto_id) == (
        first_late - 1,
        fresh,
        highest,
    )
