"""What push costs the database: statements, rows, WAL, and pages that are touched."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from relay.log.reading import PAGE_BEGINS, PAGE_BYTES, PAGE_ENDS, READ_RANGE
from relay.push.state.rows import DELETE, LOAD, PROMOTE
from tests.conftest import PostgresServer
from tests.eventually import eventually
from tests.receiver import Receiver, respond
from tests.relay.plans import explain
from tests.relay.push.stage import LATER, PushRelay, PushStage
from tests.sql.log import one

# What one round trip of a test's run may cost: the claim, the looks, two pages, and the end.
MAX_STATEMENTS = 20
ROWS = 20_000


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that are executed meanwhile, by whatever connection."""
    executed: list[str] = []
    execute = psycopg.Cursor.execute

    def note(self, query, *arguments, **options):  # type: ignore[no-untyped-def]
        executed.append(str(query))
        return execute(self, query, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", note)
        yield executed


# A row that is inserted fails, also one that would be taken away again.
NO_ROWS = "alter table outbox.delivery add constraint none check (false) not valid"
ROWS_AGAIN = "alter table outbox.delivery drop constraint none"


def test_where_everything_is_acknowledged_no_row_is_ever_made(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.db.execute(NO_ROWS)
    try:
        stage.subscribe()
        stage.publish(*(f"g{number % 20}:{number}" for number in range(300)))
        relay.drain()
        assert len(stage.keys()) == 300
    finally:
        stage.db.execute(ROWS_AGAIN)


def test_a_run_is_a_few_statements_however_many_messages_it_sends(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe()
    counts = {}
    for messages in (1, 100):
        stage.publish(*(f"g{messages}-{number}:1" for number in range(messages)))
        (cursor,) = relay.probe()
        with counted(monkeypatch) as executed:
            relay.run(cursor)
        counts[messages] = len(executed)
    assert len(stage.keys()) == 101
    assert 0 < counts[1] <= counts[100] <= MAX_STATEMENTS


def test_a_probe_that_finds_retries_that_are_not_due_writes_no_wal(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = respond(500)
    stage.publish("a:1", "a:2")
    relay.drain()
    wal = "select coalesce(sum(wal_bytes), 0) from pg_stat_get_backend_wal(%s)"
    pid = relay.connection.info.backend_pid

    def written() -> int:
        relay.connection.execute("select pg_stat_force_next_flush()")
        bytes_: int = one(stage.db, wal, pid)
        return bytes_

    def probed_for_nothing() -> None:
        before = written()
        for _ in range(20):
            assert relay.probe() == []
        assert written() == before

    # The first session to read a page may prune it, and that is logged; once.
    eventually(probed_for_nothing, 10)


FILL = """
insert into outbox.message (channel, type, group_key, payload)
select 'orders', 'order.paid', 'g' || n, convert_to('{}', 'UTF8')
from generate_series(1, %s) as n
"""
# Each group's message has failed, and a second one of it waits: the message of the next group. The
# highest ids are due first: what goes by ids has a long way to them.
WAIT = """
insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at)
select c.id, m.id, m.group_key, 1, clock_timestamp() - interval '1 second' - m.id * interval '1 ms'
from outbox.message m, outbox.cursor c where c.priority = 3 and m.id % 2 = 0
"""
BEHIND = """
insert into outbox.delivery (cursor_id, message_id, group_key, due_at)
select d.cursor_id, d.message_id + 1, d.group_key, null from outbox.delivery d
"""


class Filled:
    """A log of ROWS messages, all of them with rows in outbox.delivery: half heads, half behind."""

    def __init__(self, stage: PushStage) -> None:
        self.db = stage.db
        self.subscription = stage.subscribe()
        stage.db.execute(FILL, [ROWS])
        stage.db.execute(WAIT)
        stage.db.execute(BEHIND)
        stage.db.execute("analyze outbox.message, outbox.delivery")
        self.cursor = one(stage.db, "select id from outbox.cursor where priority = 3")
        self.first = one(stage.db, "select min(id) from outbox.message")


@pytest.fixture(scope="module")
def filled(postgres_server: PostgresServer) -> Iterator[Filled]:
    with (
        postgres_server.clone() as url,
        psycopg.connect(url, autocommit=True) as db,
        Receiver() as receiver,
    ):
        db.execute("delete from outbox.subscription")
        db.execute("alter table outbox.delivery set (autovacuum_enabled = off)")
        yield Filled(PushStage(url, db, receiver))


def test_loading_what_is_due_touches_pages_by_what_it_loads(filled: Filled) -> None:
    values = {"cursor": filled.cursor, "priority": 3, "heads": 32}
    plan = explain(filled.db, LOAD, values)
    assert plan.sequential() == []
    # A few pages each for the head, its follower, and the messages of both.
    assert plan.buffers <= 64 * 30


# Every second message is one head that is due; all the others wait behind one message.
LONG_GROUP = """
insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at)
select c.id, m.id, head.key, head.attempts, head.due_at
from outbox.message m
join outbox.cursor c on c.priority = 3
cross join lateral (
    select case when m.id % 2 = 0 then 'one' end as key, (m.id % 2)::integer as attempts,
           case when m.id % 2 = 1 then clock_timestamp() - m.id * interval '1 ms' end as due_at
) head
"""


def test_loading_what_is_due_does_not_touch_what_waits_behind_another(
    postgres_server: PostgresServer,
) -> None:
    with (
        postgres_server.clone() as url,
        psycopg.connect(url, autocommit=True) as db,
        Receiver() as receiver,
    ):
        db.execute("delete from outbox.subscription")
        PushStage(url, db, receiver).subscribe()
        db.execute(FILL, [ROWS])
        db.execute(LONG_GROUP)
        db.execute("analyze outbox.message, outbox.delivery")
        cursor = one(db, "select id from outbox.cursor where priority = 3")
        plan = explain(db, LOAD, {"cursor": cursor, "priority": 3, "heads": 32})
    assert plan.sequential() == []
    assert plan.buffers <= 32 * 15


def test_reading_the_log_with_blocked_groups_touches_pages_by_what_it_reads(
    filled: Filled,
) -> None:
    target = one(filled.db, "select pg_current_snapshot()::text")
    values = {
        "cursor": filled.cursor, "replaying": False, "blocking": True, "later": None, "types": None,
        "priority": 3, "seen": "3:3:", "target": target,
        "every_channel": False, "channels": ["orders"],
        "subscription": filled.subscription, "channel": None, "shards": 1, "shard": 0,
        "after": filled.first + 1000,
        "upto": filled.first + ROWS, "limit": 128, "bytes": PAGE_BYTES,
    }  # fmt: skip
    plan = explain(filled.db, PAGE_BEGINS + READ_RANGE + PAGE_ENDS, values)
    assert plan.sequential() == []
    assert plan.sorted_rows() == 0
    assert plan.buffers <= 128 * 10


def test_promoting_touches_pages_by_its_groups(filled: Filled) -> None:
    groups = [f"g{number}" for number in range(1000, 1040, 2)]
    taken = "delete from outbox.delivery where group_key = any (%s) and due_at is not null"
    with filled.db.transaction(force_rollback=True):
        filled.db.execute(taken, [groups])
        before = one(filled.db, TOUCHED)
        filled.db.execute(PROMOTE, [filled.cursor, groups])
        assert one(filled.db, TOUCHED) - before <= len(groups) * 60


def test_deleting_what_arrived_touches_pages_by_its_rows(filled: Filled) -> None:
    messages = [filled.first + number for number in range(1000, 1020)]
    plan = explain(filled.db, DELETE, {"cursor": filled.cursor, "messages": messages, "made": 1})
    assert plan.sequential() == []
    assert plan.buffers <= len(messages) * 40


# Pages that this session has touched of the rows' table and of its indexes, in this transaction.
TOUCHED = """
select sum(pg_stat_get_xact_blocks_fetched(c.oid)) from pg_class c
where c.oid = 'outbox.delivery'::regclass
   or c.oid in (select indexrelid from pg_index where indrelid = 'outbox.delivery'::regclass)
"""
