"""Each statement of the protocol stays on its one index, whatever the planner believes."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql

from relay.log.claim import POSITION
from relay.log.probe import PROBE
from relay.log.reading import READ_LATE, READ_RANGE
from tests.conftest import PostgresServer
from tests.eventually import eventually
from tests.relay.plans import Mode, Plan, explain
from tests.servers import TEMPLATE
from tests.sql.log import Session, cursor_id, one, pass_everything, publish, turn

ROWS = 300_000
PRIORITIES = 5

# Many transactions, as in life.
FILL = """
create procedure fill_log(messages integer) language plpgsql as $$
begin
    for part in 0 .. 99 loop
        insert into outbox.message (channel, type, group_key, idempotency_key, payload)
        select 'orders', 'event', 'g' || n % 1000, 'fill', '{}'
        from generate_series(1, messages / 100) as n;
        commit;
    end loop;
end
$$
"""
TABLES = """
    select inhrelid::regclass::text from pg_inherits where inhparent = 'outbox.message'::regclass
"""
# Whether the planner has statistics must not depend on the moment.
NO_AUTOVACUUM = sql.SQL("alter table {} set (autovacuum_enabled = off)")


class Retained(NamedTuple):
    """A database whose log every cursor has passed."""

    db: Session
    partitions: int


@pytest.fixture(scope="module", params=[3, 40], ids=["3-partitions", "40-partitions"])
def partitions(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(scope="module")
def filled(postgres_server: PostgresServer, partitions: int) -> Iterator[str]:
    """The name of a database that retains many messages and has no statistics of them."""
    with postgres_server.clone() as url:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(FILL)
            # One is made ahead.
            share = ROWS // (partitions - 1)
            divide(db, partitions, lambda: db.execute("call fill_log(%s)", [share]))
            assert one(db, "select count(*) from outbox.message") >= ROWS * 0.98
        yield url.rpartition("/")[2]


@pytest.fixture(scope="module", params=["empty", "bare", "vacuumed"])
def retained(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, partitions: int, filled: str
) -> Iterator[Retained]:
    template = TEMPLATE if request.param == "empty" else filled
    with (
        postgres_server.clone(template) as url,
        psycopg.connect(url, autocommit=True) as db,
    ):
        if request.param == "empty":
            divide(db, partitions)
        if request.param == "vacuumed":
            db.execute("vacuum (analyze) outbox.message")
        pass_everything(db)
        yield Retained(db, partitions)


def divide(db: Session, partitions: int, fill: Callable[[], object] = lambda: None) -> None:
    """Makes so many partitions of the log, each filled but the one ahead."""
    no_autovacuum(db)
    for _ in range(partitions - 2):
        fill()
        turn(db)
        no_autovacuum(db)
    fill()
    count = "select count(*) from outbox.known_partition where parent = 'outbox.message'"
    assert one(db, count) == partitions


@pytest.fixture(params=["force_generic_plan", "force_custom_plan"], ids=["generic", "custom"])
def mode(request: pytest.FixtureRequest) -> Mode:
    plan_mode: Mode = request.param
    return plan_mode


def index_ranges(retained: Retained, ranges: int) -> int:
    """The most pages that so many empty or short index ranges touch in every partition."""
    return ranges * (retained.partitions + 1) * 4


def range_of(db: Session, messages: int) -> dict[str, object]:
    """The parameters of the range that just these new messages are in."""
    seen, before = one(db, "select pg_current_snapshot()::text"), publish(db)
    for _ in range(messages - 1):
        last = publish(db)
    return {
        "priority": 3,
        "seen": seen,
        "target": one(db, "select pg_current_snapshot()::text"),
        "after": before - 1,
        "upto": last,
        "every_channel": True,
        "channels": [],
        "types": None,
        "cursor": 3,
        "replaying": False,
        "blocking": False,
        "later": ["3:3:"],
        "subscription": 1,
        "channel": None,
        "shards": 1,
        "shard": 0,
        "limit": 20_000,
    }


def assert_on_indexes(plan: Plan) -> None:
    assert plan.sequential() == []


def test_an_idle_probe_reads_a_few_pages_of_each_partition(retained: Retained, mode: Mode) -> None:
    def look() -> None:
        pass_everything(retained.db)
        plan = explain(retained.db, PROBE, {"subscription": None, "waiting": False}, mode)
        assert_on_indexes(plan)
        # Five classes in every partition, and what names the cursors besides.
        ranges = PRIORITIES * (1 + plan.in_progress)
        assert plan.buffers <= index_ranges(retained, ranges) + 60

    # Other tests' transactions come and go between the count of them and the statement.
    eventually(look, 30)


def test_the_start_of_a_delta_reads_a_few_pages_of_each_partition(
    retained: Retained, mode: Mode
) -> None:
    def look() -> None:
        pass_everything(retained.db)
        for _ in range(100):
            publish(retained.db)
        plan = explain(
            retained.db, POSITION, {"cursors": [cursor_id(retained.db)], "known": []}, mode
        )
        assert_on_indexes(plan)
        # The transactions in progress, not the messages.
        assert plan.sorted_rows() <= 50 + 2 * plan.in_progress
        assert plan.buffers <= index_ranges(retained, 2 + plan.in_progress) + 40

    eventually(look, 30)


@pytest.mark.long
@pytest.mark.parametrize("messages", [2, 200])
def test_the_range_reads_its_own_rows_in_the_order_of_the_index(
    retained: Retained, mode: Mode, messages: int
) -> None:
    parameters = range_of(retained.db, messages)
    plan = explain(retained.db, READ_RANGE, parameters, mode)
    assert_on_indexes(plan)
    assert plan.sorted_rows() == 0
    assert plan.nodes[0].rows == messages
    assert plan.buffers <= index_ranges(retained, 1) + 2 * messages


def test_late_messages_are_found_by_their_transaction(retained: Retained, mode: Mode) -> None:
    """Two of them, with the whole retained log between their ids and the newest."""
    db = retained.db
    slow = psycopg.connect(db.info.dsn, autocommit=True)
    with slow:
        slow.execute("begin")
        late = [publish(slow), publish(slow)]
        # A later transaction's end makes the first one count as one in progress.
        publish(db)
        seen = one(db, "select pg_current_snapshot()::text")
        slow.execute("commit")
    parameters = range_of(db, 2) | {"seen": seen, "after": 0, "upto": late[-1]}
    plan = explain(db, READ_LATE, parameters, mode)
    assert_on_indexes(plan)
    assert plan.nodes[0].rows == 2
    assert plan.sorted_rows() <= 4
    assert plan.buffers <= index_ranges(retained, 1) + 20


BULK = """
    insert into outbox.message (channel, type, group_key, idempotency_key, payload)
    select 'orders', 'event', 'g' || n %% 1000, 'bulk', '{}' from generate_series(1, %s) as n
"""
BULK_ROWS = 30_000


def pass_with_one_in_flight(db: Session) -> None:
    """Every cursor has passed everything but one transaction that was in progress."""
    with psycopg.connect(db.info.dsn) as slow:
        slow.execute("select pg_current_xact_id()")
        db.execute("select pg_current_xact_id()")
        pass_everything(db)


def no_autovacuum(db: Session) -> None:
    for (table,) in db.execute(TABLES).fetchall():
        db.execute(NO_AUTOVACUUM.format(sql.Identifier(*table.split("."))))


def statements(db: Session) -> list[tuple[str, dict[str, object]]]:
    """What every poll and every run asks first."""
    return [
        (PROBE, {"subscription": None, "waiting": False}),
        (POSITION, {"cursors": [cursor_id(db)], "known": []}),
    ]


@pytest.mark.parametrize("statement", [0, 1], ids=["probe", "position"])
def test_a_plan_that_was_made_on_an_empty_log_serves_when_it_has_grown(
    database_url: str, statement: int
) -> None:
    with (
        psycopg.connect(database_url, autocommit=True) as relay,
        psycopg.connect(database_url, autocommit=True) as db,
    ):
        no_autovacuum(db)

        def grow() -> None:
            db.execute(BULK, [BULK_ROWS])
            pass_with_one_in_flight(db)

        text, parameters = statements(db)[statement]
        plan = explain(relay, text, parameters, meanwhile=grow)
    assert plan.buffers < 250


@pytest.mark.parametrize("statement", [0, 1], ids=["probe", "position"])
def test_statistics_of_one_large_transaction_mislead_no_plan(
    database_url: str, statement: int
) -> None:
    """They say that any transaction wrote the whole log."""
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute(BULK, [BULK_ROWS])
        db.execute("vacuum (analyze) outbox.message")
        pass_with_one_in_flight(db)
        plan = explain(db, *statements(db)[statement])
    assert plan.buffers < 250


TRACE = "select * from outbox.trace(%(id)s)"
CHECKPOINTS = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select k.cursor_id, k.n + ahead, k.seen, 'test'
    from generate_series(1, 20000) as ahead
    cross join (select cursor_id, n, seen from outbox.checkpoint
                where cursor_id = %s order by n desc limit 1) as k
"""


@pytest.mark.long
def test_a_trace_looks_into_indexes_whatever_the_log_and_the_checkpoints_retain(
    retained: Retained, mode: Mode
) -> None:
    db, mine = retained.db, cursor_id(retained.db)
    with db.transaction(force_rollback=True):
        db.execute(CHECKPOINTS, [mine])
        with psycopg.connect(db.info.dsn, autocommit=True) as writer:
            message_id = publish(writer)
        pass_everything(db)
        db.execute(CHECKPOINTS, [mine])
        plan = explain(db, TRACE, {"id": message_id}, mode)
    # The other tests read the latest checkpoint past none of these.
    db.execute("vacuum (index_cleanup on) outbox.checkpoint")
    # The message itself, by its class in its partition.
    assert plan.entries <= 2
    # Forty looks at checkpoints, and as many at the catalogue as there are partitions.
    assert plan.buffers <= index_ranges(retained, PRIORITIES) + 800
