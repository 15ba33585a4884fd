"""Partitions are made ahead of time, and what landed in the default partition finds its day."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise

import psycopg
import pytest
from psycopg import errors, sql

from tests.eventually import eventually
from tests.sql.conftest import Open
from tests.sql.log import Session, one, publish, publish_at

DAYS = "select partition, from_time, upto_time from outbox.partition_state() order by from_time"
TODAY = "select 'message_' || to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDD')"
WHERE_ROWS_ARE = "select tableoid::regclass::text, id, xid::text from outbox.message order by id"


def drop_today(db: Session) -> str:
    """Leaves today without a partition; returns the partition's name."""
    today: str = one(db, TODAY)
    db.execute(sql.SQL("drop table outbox.{}").format(sql.Identifier(today)))
    return today


def waits_for_lock(db: Session, pid: int) -> bool:
    """Whether a session is waiting for somebody's lock."""
    waits: bool = one(db, "select cardinality(pg_blocking_pids(%s)) > 0", pid)
    return waits


def test_today_and_seven_days_are_made_by_the_migration(db: Session) -> None:
    days = db.execute(DAYS).fetchall()
    assert len(days) == 8
    assert days[0][0] == one(db, TODAY)
    for (_, _, upto_time), (_, from_time, _) in pairwise(days):
        assert upto_time == from_time


@pytest.mark.parametrize("zone", ["America/Santiago", "Pacific/Kiritimati"])
def test_a_day_is_a_day_of_utc_in_any_time_zone(db: Session, zone: str) -> None:
    db.execute("select set_config('timezone', %s, false)", [zone])
    # In Santiago this day has no midnight: summer time begins.
    publish_at(db, "2025-09-07 12:00+00")
    assert one(db, "select outbox.make_partitions()") == 1
    db.execute("set timezone = 'UTC'")
    first = db.execute(DAYS + " limit 1").fetchone()
    assert first == (
        "message_20250907",
        datetime(2025, 9, 7, tzinfo=UTC),
        datetime(2025, 9, 8, tzinfo=UTC),
    )


def test_a_partition_keeps_the_checks_and_defaults_of_the_log(db: Session) -> None:
    db.execute("select outbox.make_partitions(9)")
    message_id = publish_at(db, one(db, "select clock_timestamp() + interval '9 days'"))
    assert message_id == one(db, "select id from outbox.message")
    with pytest.raises(errors.CheckViolation):
        publish_at(db, one(db, "select clock_timestamp() + interval '9 days'"), priority=6)


def test_rows_of_the_default_partition_move_with_id_and_xid(db: Session) -> None:
    today = drop_today(db)
    publish(db)
    publish(db)
    late_id = publish_at(db, "2026-01-31 23:59:59.999999+00")
    before = db.execute(WHERE_ROWS_ARE).fetchall()
    assert {where for where, _, _ in before} == {"outbox.message_default"}

    assert one(db, "select outbox.make_partitions()") == 2

    after = db.execute(WHERE_ROWS_ARE).fetchall()
    assert [row[1:] for row in after] == [row[1:] for row in before]
    assert {where for where, _, _ in after} == {f"outbox.{today}", "outbox.message_20260131"}
    assert after[-1][:2] == ("outbox.message_20260131", late_id)


def test_an_insert_never_fails_for_want_of_a_partition(db: Session, open_session: Open) -> None:
    """Not even one that waits while today's is made: routed before, it would be refused."""
    drop_today(db)
    publish(db)
    writer = open_session()
    with ThreadPoolExecutor() as threads:
        with db.transaction():
            db.execute("select outbox.make_partitions()")
            written = threads.submit(publish, writer)
            eventually(lambda: _assert(waits_for_lock(db, writer.info.backend_pid)))
        written.result(timeout=10)
    assert one(db, "select count(*) from outbox.message") == 2
    assert one(db, "select count(*) from outbox.message_default") == 0


def test_a_reader_that_waits_sees_the_rows_that_moved(db: Session, open_session: Open) -> None:
    """Planned before the new partition was there, it would find its day in neither place."""
    drop_today(db)
    publish(db)
    reader = open_session()
    with ThreadPoolExecutor() as threads:
        with db.transaction():
            db.execute("select outbox.make_partitions()")
            count = threads.submit(one, reader, "select count(*) from outbox.message")
            eventually(lambda: _assert(waits_for_lock(db, reader.info.backend_pid)))
        assert count.result(timeout=10) == 1


def test_days_ahead_are_made_beside_an_open_writer(db: Session, open_session: Open) -> None:
    writer = open_session()
    with writer.transaction():
        publish(writer)
        assert one(db, "select outbox.make_partitions(10)") == 3


def test_a_day_that_is_locked_is_left_for_the_next_call(db: Session, open_session: Open) -> None:
    today = drop_today(db)
    writer = open_session()
    with writer.transaction():
        publish(writer)
        # Its row sits in the default partition, which every new day needs for a moment.
        assert one(db, "select outbox.make_partitions(10)") == 0
    assert one(db, "select outbox.make_partitions(10)") == 4
    assert one(db, "select tableoid::regclass::text from outbox.message") == f"outbox.{today}"


def test_two_makers_at_once_make_each_day_once(db: Session, open_session: Open) -> None:
    makers = [open_session() for _ in range(4)]
    with ThreadPoolExecutor() as threads:
        made = [threads.submit(one, maker, "select outbox.make_partitions(10)") for maker in makers]
        # Who finds another at it makes none, or waits for it and finds them made.
        assert sorted(future.result(timeout=30) for future in made) == [0, 0, 0, 3]
    assert len(db.execute(DAYS).fetchall()) == 11


def test_every_partition_has_the_two_indexes_of_the_log(db: Session) -> None:
    db.execute("select outbox.make_partitions(8)")
    indexes = """
        select count(*) from pg_index join pg_inherits on inhrelid = indrelid
        where inhparent = 'outbox.message'::regclass group by indrelid
    """
    assert {count for (count,) in db.execute(indexes)} == {2}


def _assert(truth: bool) -> None:
    assert truth


def test_the_name_of_a_partition_is_taken_from_nobody_else(db: Session) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        db.execute("select outbox.retire_partition('message_default', 0)")
    with pytest.raises(psycopg.errors.UndefinedTable):
        db.execute("select outbox.retire_partition('subscription; drop table x', 0)")
