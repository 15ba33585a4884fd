"""The memory of webhooks: months made ahead of time, dropped when all of them are old enough."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import errors

from tests.sql.conftest import Open
from tests.sql.log import Session, one

RECEIVE = """
insert into sale.received_webhook (key, order_id, event_type, received_at)
values (%s, gen_random_uuid(), 'ATTEMPT_SUCCESS', clock_timestamp() - make_interval(days => %s))
"""
TURN = "select sale.turn_received(%s)"
MONTHS = """
select class.relname from pg_inherits join pg_class as class on class.oid = inhrelid
where inhparent = 'sale.received_webhook'::regclass and class.relname <> 'received_webhook_default'
order by class.relname
"""
# (key, month in whose partition it is)
KEPT = "select key, tableoid::regclass::text from sale.received_webhook order by key"


def months(db: Session) -> list[str]:
    return [name for (name,) in db.execute(MONTHS).fetchall()]


def month(days_ago: int = 0, *, later: int = 0) -> str:
    """The partition of so many days ago, or of so many months after this one."""
    day = datetime.now(UTC) - timedelta(days=days_ago)
    number = day.year * 12 + day.month - 1 + later
    return f"received_webhook_{number // 12}{number % 12 + 1:02}"


def kept(db: Session) -> list[Any]:
    return db.execute(KEPT).fetchall()


def test_this_month_and_the_next_two_are_there_and_a_second_call_makes_nothing(
    db: Session,
) -> None:
    assert months(db) == [month(later=later) for later in range(3)]
    assert one(db, TURN, 180) == 0
    db.execute(RECEIVE, ["now", 0])
    assert kept(db) == [("now", f"sale.{month()}")]


def test_a_webhook_is_recorded_though_its_month_is_missing_and_moves_when_it_is_made(
    db: Session,
) -> None:
    db.execute(f"drop table sale.{month()}")
    db.execute(RECEIVE, ["now", 0])
    db.execute(RECEIVE, ["earlier", 100])
    assert {where for _, where in kept(db)} == {"sale.received_webhook_default"}
    assert one(db, TURN, 180) == 2
    assert kept(db) == [("earlier", f"sale.{month(100)}"), ("now", f"sale.{month()}")]


def test_a_month_goes_when_all_of_it_is_older_than_the_days_and_not_before(db: Session) -> None:
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    # To the end of the month before the last one, so that it is older by a day, or younger by one.
    since = (datetime.now(UTC) - (first - timedelta(days=1)).replace(day=1)).days
    db.execute(RECEIVE, ["old", since + 1])
    db.execute(RECEIVE, ["young", 0])
    assert one(db, TURN, since + 60) == 1
    assert month(since + 1) in months(db)
    assert one(db, TURN, since + 2) == 0
    assert one(db, TURN, max(since - 1, 1)) == 1
    assert kept(db) == [("young", f"sale.{month()}")]
    assert month(since + 1) not in months(db)


def test_what_is_too_old_for_a_month_of_its_own_goes_from_the_default_partition(
    db: Session,
) -> None:
    db.execute(RECEIVE, ["old", 400])
    db.execute(RECEIVE, ["far in the future", -4000])
    assert one(db, TURN, 180) == 0
    assert kept(db) == [("far in the future", "sale.received_webhook_default")]


@pytest.mark.parametrize("days", [0, -1])
def test_days_that_would_forget_everything_are_refused(db: Session, days: int) -> None:
    db.execute(RECEIVE, ["now", 0])
    with pytest.raises(errors.InvalidParameterValue):
        db.execute(TURN, [days])
    assert len(kept(db)) == 1


def test_what_others_hold_is_left_for_the_next_call(db: Session, open_session: Open) -> None:
    db.execute(RECEIVE, ["old", 100])
    assert one(db, TURN, 180) == 1
    writer = open_session()
    with writer.transaction():
        writer.execute(RECEIVE, ["being written", 0])
        assert one(db, TURN, 30) == 0
    assert one(db, TURN, 30) == 1
    assert [key for key, _ in kept(db)] == ["being written"]


def test_of_two_calls_at_once_one_does_it(db: Session, open_session: Open) -> None:
    other = open_session()
    with other.transaction():
        assert one(other, TURN, 180) == 0
        db.execute(f"create table sale.beside as select '{month()}' as name")
        assert one(db, TURN, 180) == 0
    # And nobody who records a webhook waits for it.
    with other.transaction():
        one(other, TURN, 180)
        db.execute("set lock_timeout = '1s'")
        db.execute(RECEIVE, ["meanwhile", 0])
