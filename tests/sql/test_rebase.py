"""A database that was moved to another cluster is refused, and rebased without a loss."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from local.postgres import Postgres
from tests.eventually import eventually
from tests.sql.conftest import Open
from tests.sql.log import (
    Session,
    begin_delta,
    cursor_id,
    dead_letter,
    one,
    pass_everything,
    pending,
    publish,
)
from tests.sql.programs import psql, run

BURN = "do $$ begin for i in 1..%d loop perform pg_current_xact_id(); commit; end loop; end $$"
XMAX = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
FOREIGN = "select outbox.foreign_cluster()"
SECOND_WAITING = "select message_id from outbox.pending(3) where place = 2"
CURSORS = "select id from outbox.cursor order by id"

Move = Callable[[str, str], Session]


@pytest.fixture
def move(tmp_path: Path) -> Iterator[Move]:
    """Dumps a database and restores it into a new cluster, `younger` or `older` than its own."""
    with ExitStack() as stack:

        def restore(url: str, age: str) -> Session:
            with psycopg.connect(url, autocommit=True) as source:
                version = source.info.server_version // 10_000
                source.execute((BURN % 2_000).encode())
                reached = one(source, XMAX)
            cluster = stack.enter_context(Postgres.start(tmp_path / "cluster", version=version))
            dump = tmp_path / "dump.sql"
            run("pg_dump", url, "--no-privileges", "-f", dump, version=version)
            psql(cluster.dsn(), "-f", dump, version=version)
            moved = stack.enter_context(psycopg.connect(cluster.dsn(), autocommit=True))
            if age == "older":
                moved.execute((BURN % (reached + 100)).encode())
            assert (one(moved, XMAX) > reached) == (age == "older")
            return moved

        yield restore


def leave_behind(db: Session, open_session: Open) -> dict[int, list[int]]:
    """Cursors that are done, waiting, and half-way through a delta; what is pending for each."""
    db.execute("insert into outbox.subscription (name) values ('audit')")
    for priority in (1, 2, 3, 4):
        publish(db, priority=priority)
    pass_everything(db)
    for priority in (2, 3, 3, 3, 3, 4):
        publish(db, priority=priority)
    # Half-way, with a late commit that the delta's target did not see.
    writer = open_session()
    with writer.transaction():
        publish(writer)
        begin_delta(db, cursor_id(db, 3), after_id=one(db, SECOND_WAITING))
    # Its one message below was done; a late one is far behind what it has seen.
    with writer.transaction():
        publish(writer, priority=4)
        publish(db, priority=4)
        pass_everything(db, cursor_id(db, 4))
    return {cursor: pending(db, cursor) for (cursor,) in db.execute(CURSORS).fetchall()}


@pytest.mark.long
@pytest.mark.parametrize("age", ["younger", "older"])
def test_a_restored_database_loses_nothing_that_was_pending(
    db: Session, open_session: Open, any_database_url: str, move: Move, age: str
) -> None:
    before = leave_behind(db, open_session)
    assert {len(waiting) for waiting in before.values()} >= {0, 1, 3}
    moved = move(any_database_url, age)
    assert "another cluster" in one(moved, FOREIGN)
    installation = moved.execute("select id, note_key from outbox.installation").fetchone()
    assert installation is not None

    started = {row[2]: row[3] for row in moved.execute("select * from outbox.rebase()").fetchall()}

    assert one(moved, FOREIGN) is None
    renewed = moved.execute("select id, note_key from outbox.installation").fetchone()
    assert renewed is not None
    # What is noted in Kafka under the former name and key is the former database's.
    assert all(now != former for now, former in zip(renewed, installation, strict=True))
    late = cursor_id(moved, 4)
    for cursor, waiting in before.items():
        after = pending(moved, cursor)
        assert after == sorted(after)
        assert started[cursor] == (waiting[0] if waiting else None)
        if cursor == late:
            # Transaction ids are gone, so what it had done beyond its lowest pending comes again.
            assert set(waiting) < set(after)
        else:
            assert after == waiting

    new = publish(moved, priority=1)
    assert new > max(max(waiting, default=0) for waiting in before.values())
    assert pending(moved, cursor_id(moved, 1)) == [*before[cursor_id(moved, 1)], new]


def test_rebasing_again_repeats_no_more_than_what_is_pending(db: Session) -> None:
    publish(db)
    pass_everything(db)
    waiting = [publish(db) for _ in range(4)]
    for _ in range(2):
        db.execute("select outbox.rebase()")
        assert pending(db, cursor_id(db)) == waiting
    half_way = "update outbox.checkpoint set after_id = %s where cursor_id = %s and n = 3"
    assert db.execute(half_way, [waiting[1], cursor_id(db)]).rowcount == 1
    db.execute("select outbox.rebase()")
    assert pending(db, cursor_id(db)) == waiting[2:]


def test_everything_since_a_time_comes_again(db: Session) -> None:
    messages = [publish(db) for _ in range(4)]
    publish(db, priority=5)
    pass_everything(db)
    since = one(db, "select created_at from outbox.message where id = %s", messages[2])
    db.execute("select outbox.rebase(%s)", [since])
    assert pending(db, cursor_id(db)) == messages[2:]
    assert len(pending(db, cursor_id(db, 5))) == 1
    db.execute("select outbox.rebase(clock_timestamp())")
    assert pending(db, cursor_id(db)) == messages[2:]


def test_a_copy_without_sequences_gives_no_id_twice(db: Session) -> None:
    dead_letter_id = dead_letter(db, publish(db))
    db.execute("update outbox.dead_letter set message_id = 5000")
    db.execute(
        "insert into outbox.api_key (name, hash, scopes) values ('a', sha256('a'), '{publish}')"
    )
    for table in ("message", "subscription", "cursor", "dead_letter", "api_key"):
        restart = "select setval(pg_get_serial_sequence('outbox.' || %s, 'id'), 1, false)"
        db.execute(restart, [table])
    db.execute("select outbox.rebase()")
    assert publish(db) == 5001
    assert dead_letter(db, publish(db)) == dead_letter_id + 1
    db.execute("insert into outbox.subscription (name) values ('audit')")
    assert cursor_id(db, 1, name="audit") == 6
    db.execute(
        "insert into outbox.api_key (name, hash, scopes) values ('b', sha256('b'), '{publish}')"
    )


# Tables of the platform whose ids are drawn. What follows a time is turned by its partitions.
DRAWN = """
    select attrelid::regclass::text from pg_attribute
    where attidentity <> '' and attrelid in (
        select oid from pg_class where relnamespace = 'outbox'::regnamespace and not relispartition)
      and attrelid::regclass::text not in (select parent from outbox.known_partition)
"""
REBASE_SOURCE = "select prosrc from pg_proc where oid = 'outbox.rebase'::regproc"


def test_rebase_leaves_no_table_with_drawn_ids_out(db: Session) -> None:
    source = one(db, REBASE_SOURCE)
    drawn = [table for (table,) in db.execute(DRAWN).fetchall()]
    assert len(drawn) > 8
    assert [table for table in drawn if f"advance_sequence('{table}'" not in source] == []


def test_rebase_lowers_no_sequence(db: Session) -> None:
    last = [publish(db) for _ in range(3)][-1]
    db.execute("truncate outbox.message")
    db.execute("select outbox.rebase()")
    assert publish(db) == last + 1


WAITS = "select count(*) > 0 from pg_locks where pid = %s and not granted"


def test_rebase_waits_for_who_makes_partitions_before_it_locks_the_log(
    db: Session, open_session: Open
) -> None:
    """Else each would wait for the other, and rebase would go on without its partition."""
    maker, rebasing = open_session(), open_session()
    with ThreadPoolExecutor(1) as pool, maker.transaction():
        maker.execute("select outbox.make_partitions()")
        done = pool.submit(rebasing.execute, "select outbox.rebase()")

        def it_waits() -> None:
            assert one(db, WAITS, rebasing.info.backend_pid)

        eventually(it_waits)
        db.execute("set lock_timeout = '1s'")
        publish(db)
    assert done.result(60).rowcount > 0


@pytest.mark.long
def test_rebase_refuses_while_a_writer_is_busy(db: Session, open_session: Open) -> None:
    writer = open_session()
    with writer.transaction():
        publish(writer)
        with pytest.raises(errors.LockNotAvailable, match="stop them, then rebase"):
            db.execute("select outbox.rebase()")
    assert one(db, "select count(*) from outbox.checkpoint") == 5


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("update outbox.installation set system_identifier = 1", "moved to another cluster"),
        ("update outbox.checkpoint set seen = '9000000000:9000000000:'", "Cursor 1 has seen"),
        ("update outbox.message set xid = '9000000000'", "Message 1 was written"),
    ],
)
def test_a_foreign_database_is_told_apart(db: Session, damage: str, sentence: str) -> None:
    publish(db)
    assert one(db, FOREIGN) is None
    db.execute(damage.encode())
    assert sentence in one(db, FOREIGN)


def test_a_writer_in_flight_is_not_foreign(db: Session, open_session: Open) -> None:
    early, late = open_session(), open_session()
    with early.transaction():
        publish(early)
        with late.transaction():
            publish(late)
        pass_everything(db)
        assert one(db, FOREIGN) is None
        assert one(early, FOREIGN) is None
