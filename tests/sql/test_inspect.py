"""Every question of sql/inspect is answered to a reader, in a transaction that can't write."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.event_types import register
from tests.sql.conftest import Member, Open
from tests.sql.log import (
    SQL_DIRECTORY,
    Session,
    cursor_id,
    dead_letter,
    only_rows,
    pass_everything,
    publish,
)

QUESTIONS = sorted((SQL_DIRECTORY / "inspect").glob("*.sql"))


def answer(reader: Session, name: str) -> list[dict[str, Any]]:
    """The rows of one file of sql/inspect, as a member of outbox_reader gets them."""
    statement = (SQL_DIRECTORY / "inspect" / f"{name}.sql").read_bytes()
    with reader.cursor(row_factory=dict_row) as cursor:
        return only_rows(cursor.execute(statement))


@pytest.fixture
def reader(member: Member) -> Session:
    return member("outbox_reader")


ROWS = """
    insert into outbox.delivery (cursor_id, message_id, group_key, attempts, due_at, reason)
    select cursor.id, row.*
    from (values (1, 'g', 2, clock_timestamp() + interval '1 minute', 'status'),
                 (2, 'g', 0, null, null), (3, 'h', 8, 'infinity', null))
         as row (id, group_key, attempts, due_at, reason)
    join outbox.subscription on name = 'billing'
    join outbox.cursor on subscription_id = subscription.id and priority = 3
"""
ATTEMPTS = """
    insert into outbox.attempt_log (subscription_id, message_id, idempotency_key, number, at,
        duration_seconds, status, error, answer, relay)
    select subscription.id, 1, 'k', number, clock_timestamp() - number * interval '1 minute',
           number, 500, error, 'secret', 'host-1'
    from (values (1, 'status'), (2, 'timeout'), (3, 'timeout'), (20, null)) as a (number, error)
    join outbox.subscription on name = 'billing'
"""
AUDITED = """
    insert into outbox.audit (api_key_id, key_name, by_console, action, subject, subject_id)
    values (1, 'ada', true, 'subscription.pause', 'billing', 2)
"""


def fail_endpoint(db: Session) -> None:
    """An endpoint whose breaker is open, with rows in two groups and attempts of 20 minutes."""
    db.execute("select outbox.subscribe('billing', 'nothing', 'https://h/')")
    db.execute(
        "update outbox.breaker set failing_since = clock_timestamp() - interval '1 hour',"
        " opened_at = clock_timestamp(), retry_at = clock_timestamp() + interval '30 s'"
    )
    db.execute(ROWS)
    db.execute(ATTEMPTS)


@pytest.fixture
def traffic(db: Session, open_session: Open) -> Iterator[None]:
    """Messages sent, waiting and given up; transactions held and prepared; a relay in a run."""
    for priority in (1, 3, 5):
        publish(db, priority=priority)
    dead_letter(db, publish(db))
    register(db, "event", {"type": "object"}, enforcement="report")
    db.execute("select outbox.publish('orders', 'event', '7')")
    fail_endpoint(db)
    db.execute(AUDITED)
    pass_everything(db)
    publish(db, priority=1)
    holder, relay, preparer = open_session(), open_session(), open_session()
    holder.execute("set application_name = 'month-end report'")
    preparer.autocommit = False
    xid = preparer.xid(1, f"test-{uuid.uuid4().hex}", "prepared")
    with holder.transaction(), relay.transaction():
        publish(holder)
        preparer.tpc_begin(xid)
        publish(preparer)
        preparer.tpc_prepare()
        relay.execute(
            "select set_config('application_name', %s, true)",
            [f"outbox-relay host-1 cursor {cursor_id(db)}"],
        )
        try:
            yield
        finally:
            preparer.tpc_rollback()


def test_there_is_a_file_for_each_question() -> None:
    assert {path.stem for path in QUESTIONS} == {
        "backlog",
        "next_messages",
        "dead_letters",
        "holders",
        "throughput",
        "horizon",
        "partitions",
        "deliveries",
        "breakers",
        "attempts",
        "failed_attempts",
        "event_types",
        "audit",
    }


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_a_file_begins_with_its_question_and_can_not_write(path: Path) -> None:
    question, begin, *_ = path.read_text().splitlines()
    assert question.startswith("-- ")
    assert "?" in question
    assert begin == "begin read only;"


def test_every_question_is_answered_on_an_empty_database(reader: Session) -> None:
    for path in QUESTIONS:
        answer(reader, path.stem)


@pytest.mark.usefixtures("traffic")
def test_every_question_is_answered_under_traffic(reader: Session) -> None:
    empty = [path.stem for path in QUESTIONS if not answer(reader, path.stem)]
    assert empty == []


@pytest.mark.usefixtures("traffic")
def test_backlog_tells_how_much_waits_and_for_how_long(reader: Session) -> None:
    rows = {row["priority"]: row for row in answer(reader, "backlog")}
    assert rows[1]["waiting"] == "1"
    assert rows[1]["oldest_for"] is not None
    assert rows[3]["waiting"] == "0"
    assert rows[3]["oldest_for"] is None


@pytest.mark.usefixtures("traffic")
def test_next_messages_are_those_that_wait(reader: Session) -> None:
    rows = answer(reader, "next_messages")
    assert [(row["priority"], row["place"], row["channel"]) for row in rows] == [(1, 1, "orders")]


@pytest.mark.usefixtures("traffic")
def test_holders_tells_which_relay_holds_which_cursor(reader: Session) -> None:
    held = [row for row in answer(reader, "holders") if row["held_by"]]
    assert [(row["priority"], row["held_by"]) for row in held] == [(3, "host-1")]
    assert held[0]["held_for"] is not None


@pytest.mark.usefixtures("traffic")
def test_horizon_names_the_sessions_and_the_prepared_transaction(reader: Session) -> None:
    rows = [row for row in answer(reader, "horizon") if row["database"] == reader.info.dbname]
    assert "month-end report" in {row["application_name"] for row in rows}
    assert "prepared transaction" in {row["kind"] for row in rows}
    assert all(row["held_for"] is not None for row in rows)


@pytest.mark.usefixtures("traffic")
def test_partitions_tells_what_keeps_them(reader: Session) -> None:
    kept = [row["retention"] for row in answer(reader, "partitions")]
    assert kept == ["kept: younger than retention", "made ahead"]


@pytest.mark.usefixtures("traffic")
def test_deliveries_tells_what_each_group_waits_for(reader: Session) -> None:
    rows = [
        (row["group_key"], row["message_id"], row["state"], row["behind_it"], row["last_error"])
        for row in answer(reader, "deliveries")
    ]
    assert rows == [("g", 1, "retrying", 1, "status"), ("h", 3, "parked", 0, None)]


@pytest.mark.usefixtures("traffic")
def test_breakers_tells_since_when_an_endpoint_fails(reader: Session) -> None:
    (row,) = answer(reader, "breakers")
    assert (row["subscription"], row["breaker"]) == ("billing", "open")
    assert row["failing_for"] >= timedelta(hours=1)
    assert row["next_request_at"] is not None


@pytest.mark.usefixtures("traffic")
def test_attempts_tells_how_requests_ended_lately_and_how_long_they_took(reader: Session) -> None:
    rows = [
        (row["outcome"], row["attempts"], float(row["p50_seconds"]))
        for row in answer(reader, "attempts")
    ]
    assert rows == [("timeout", 2, 2.5), ("status", 1, 1.0)]
    failed = [(row["attempt"], row["error"]) for row in answer(reader, "failed_attempts")]
    assert failed == [(1, "status"), (2, "timeout"), (3, "timeout")]


def test_without_the_right_to_see_a_session_the_horizon_says_so(
    db: Session, member: Member, open_session: Open
) -> None:
    """An owner who is not in pg_read_all_stats learns who, but not for how long."""
    owner = member("outbox_relay")
    db.execute(
        psycopg.sql.SQL("alter function outbox.open_transactions owner to {}").format(
            psycopg.sql.Identifier(owner.info.user)
        )
    )
    culprit = open_session()
    try:
        with culprit.transaction():
            publish(culprit)
            rows = owner.execute(
                "select held_since, remark from outbox.horizon where name = %s",
                [f"pid {culprit.info.backend_pid}"],
            ).fetchall()
    finally:
        db.execute("alter function outbox.open_transactions owner to postgres")
    remark = f"insufficient privilege: grant pg_read_all_stats to {owner.info.user}"
    assert rows == [(None, remark)]
