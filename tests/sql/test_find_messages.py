"""outbox.find_messages finds what is known by its key, its group or its time; and who may look."""

from typing import LiteralString

import pytest
from psycopg import errors

from tests.sql.conftest import Member
from tests.sql.log import Session, one, pass_everything, publish
from tests.sql.traced import found, row, trace

SPREAD = """
    insert into outbox.message (channel, type, group_key, payload, created_at, idempotency_key)
    select 'orders', 't', 'g' || n %% 7, '', timestamptz '2026-01-01 00:00Z' + n * interval '1 s',
           case when n %% 1000 = 0 then 'key-' || n else outbox.uuid7()::text end
    from generate_series(1, %s) as n
"""


def test_a_key_that_says_its_time_is_found_without_a_span(db: Session) -> None:
    db.execute(SPREAD, [5000])
    message = publish(db)
    key = one(db, "select idempotency_key from outbox.message where id = %s", message)
    ids, looked, more = found(db, "(%s)", key)
    # Those of the same seconds, and up to a hundred on either side.
    assert (ids, more) == ([message], False)
    assert looked < 300


def test_a_callers_own_key_is_found_in_a_span_of_time_by_reading_that_alone(db: Session) -> None:
    db.execute(SPREAD, [5000])
    span: LiteralString = (
        "('key-3000', from_time => '2026-01-01 00:49Z', upto_time => '2026-01-01 00:51Z')"
    )
    ids, looked, more = found(db, span)
    assert (ids, more) == ([3000], False)
    assert looked < 500
    assert found(db, "('key-3000', from_time => '2026-01-01 01:00Z')")[0] == []


def test_all_messages_with_one_key_are_found_the_newest_first(db: Session) -> None:
    twice: LiteralString = "select outbox.publish(%s, 't', '{}', idempotency_key => 'own')"
    first, second = one(db, twice, "a"), one(db, twice, "b")
    assert found(db, "('own')")[0] == [second, first]
    assert found(db, "('own', channel => 'a')")[0] == [first]


def test_it_says_where_a_span_holds_more_than_it_looks_at(db: Session) -> None:
    db.execute(SPREAD, [100_001])
    ids, looked, more = found(db, "('nobody''s')")
    assert (ids, more) == ([], True)
    assert 100_000 <= looked <= 105_000
    assert found(db, "('nobody''s', upto_time => '2026-01-01 12:00Z')")[2] is False


def test_of_a_group_those_that_wait_in_rows_come_first_however_old(
    db: Session, billing: int
) -> None:
    old, behind = publish(db), publish(db)
    pass_everything(db)
    row(db, billing, old, attempts=1, due="1 h")
    row(db, billing, behind)
    newest = [publish(db) for _ in range(12)]
    publish(db, "another group")
    assert found(db, "(group_key => 'g')")[0] == [old, behind, *newest[:3:-1]]


def test_of_a_group_what_waits_in_rows_is_of_the_given_channel(db: Session, billing: int) -> None:
    message = publish(db)
    pass_everything(db)
    row(db, billing, message, attempts=1, due="1 h")
    assert found(db, "(group_key => 'g', channel => 'orders')")[0] == [message]
    assert found(db, "(group_key => 'g', channel => 'another')")[0] == []


def test_of_a_group_the_newest_come_first_whatever_their_priority(db: Session) -> None:
    oldest = [publish(db, priority=1) for _ in range(12)]
    newest = publish(db)
    assert found(db, "(group_key => 'g')")[0] == [newest, *oldest[:2:-1]]


def test_looking_takes_a_key_or_a_group(db: Session) -> None:
    for query in ("()", "('k', 'g')"):
        with pytest.raises(errors.InvalidParameterValue):
            found(db, query)


@pytest.mark.parametrize("group", ["outbox_reader", "outbox_relay", "outbox_service"])
def test_who_reads_may_trace(db: Session, member: Member, billing: int, group: str) -> None:
    message = publish(db)
    assert billing
    assert set(trace(member(group), message)) == {"kafka", "billing"}


def test_a_publisher_may_not_trace(member: Member) -> None:
    session = member("outbox_publisher")
    for query in ("trace(1)", "trace_message(1)", "find_messages('k')"):
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute(b"select * from outbox." + query.encode())


def test_of_given_subscriptions_it_tells_no_others(db: Session, billing: int) -> None:
    message = publish(db)
    assert billing
    rows = db.execute("select subscription from outbox.trace(%s, '{1}')", [message]).fetchall()
    assert rows == [("kafka",)]
