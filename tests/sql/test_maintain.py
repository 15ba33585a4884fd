"""The operator's scripts do what their heads say, and are safe to run again."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.sql.conftest import Member, Open
from tests.sql.log import (
    SQL_DIRECTORY,
    Session,
    dead_letter,
    let_days_pass,
    one,
    only_rows,
    pass_everything,
    publish,
    turn,
)
from tests.sql.programs import psql

SCRIPTS = sorted((SQL_DIRECTORY / "maintain").glob("*.sql"))
ON_THEIR_WAY = "select dead_letter_id from outbox.delivery order by cursor_id, message_id"


def script(name: str) -> bytes:
    return (SQL_DIRECTORY / "maintain" / f"{name}.sql").read_bytes()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_psql_runs_a_script_twice(any_database_url: str, path: Path) -> None:
    assert psql(any_database_url, "-f", path)
    assert psql(any_database_url, "-f", path)


def test_redriving_adds_nothing_the_second_time(db: Session, member: Member) -> None:
    dead_letters = [dead_letter(db, publish(db)) for _ in range(3)]
    relay = member("outbox_relay")
    assert only_rows(relay.execute(script("redrive_dead_letters"))) == [(3,)]
    assert only_rows(relay.execute(script("redrive_dead_letters"))) == [(0,)]
    assert [dead_letter_id for (dead_letter_id,) in db.execute(ON_THEIR_WAY)] == dead_letters


def test_redriven_dead_letters_go_in_the_order_of_the_log(db: Session) -> None:
    messages = [publish(db) for _ in range(3)]
    last, first, middle = (dead_letter(db, messages[index]) for index in (2, 0, 1))
    assert one(db, "select outbox.redrive(%s)", [last, middle, first]) == 3
    assert [dead_letter_id for (dead_letter_id,) in db.execute(ON_THEIR_WAY)] == [
        first,
        middle,
        last,
    ]


def test_a_dead_letter_that_is_unknown_or_delivered_is_left_alone(db: Session) -> None:
    dead_letter_id = dead_letter(db, publish(db))
    assert one(db, "select outbox.redrive(%s)", [dead_letter_id, dead_letter_id, 12345]) == 1
    db.execute("delete from outbox.delivery")
    db.execute("update outbox.dead_letter set delivered_at = clock_timestamp()")
    assert one(db, "select outbox.redrive(%s)", [dead_letter_id]) == 0
    assert db.execute(ON_THEIR_WAY).fetchall() == []


def test_two_redrives_at_once_send_a_dead_letter_once(db: Session, open_session: Open) -> None:
    dead_letter_id = dead_letter(db, publish(db))
    other = open_session()

    def waits() -> None:
        assert one(db, "select cardinality(pg_blocking_pids(%s)) > 0", other.info.backend_pid)

    with ThreadPoolExecutor() as threads:
        with db.transaction():
            assert one(db, "select outbox.redrive(%s)", [dead_letter_id]) == 1
            second = threads.submit(one, other, "select outbox.redrive(%s)", [dead_letter_id])
            eventually(waits)
        assert second.result(timeout=10) == 0
    assert db.execute(ON_THEIR_WAY).fetchall() == [(dead_letter_id,)]


def test_old_partitions_go_in_two_runs(db: Session, member: Member) -> None:
    for days in (10, 10, 7):
        publish(db)
        turn(db)
        let_days_pass(db, days)
    pass_everything(db)
    needed = publish(db)
    turn(db)
    let_days_pass(db, 8)
    late = publish(db)
    relay = member("outbox_relay")
    outcomes = [
        [outcome for _, outcome in only_rows(relay.execute(script("drop_old_partitions")))]
        for _ in range(3)
    ]
    assert outcomes == [
        ["truncated", "truncated", "truncated", "needed"],
        ["dropped", "dropped", "dropped", "needed"],
        ["needed"],
    ]
    left = [message for (message,) in db.execute("select id from outbox.message order by id")]
    assert left == [needed, late]
