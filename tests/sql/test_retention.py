"""Retention never takes a message that some cursor has not passed, and waits for no lock long."""

import uuid

import psycopg
import pytest
from psycopg import errors

from tests.sql.conftest import Open
from tests.sql.log import (
    Session,
    cursor_id,
    dead_letter,
    let_days_pass,
    one,
    pass_everything,
    pending,
    publish,
    turn,
)

PARTITION = "message_0"


def retire(db: Session, partition: str = PARTITION) -> str:
    outcome: str = one(db, "select outbox.retire_partition(%s, 7)", partition)
    return outcome


def needed_by(db: Session) -> str | None:
    query = "select needed_by from outbox.partition_state(7) where partition = %s"
    sentence: str | None = one(db, query, PARTITION)
    return sentence


def grow_old(db: Session) -> None:
    """The partition that was written to is past retention now."""
    turn(db)
    let_days_pass(db, 30)


@pytest.fixture
def old_message(db: Session) -> int:
    """A message of 30 days ago, in a partition of its own."""
    message_id = publish(db)
    grow_old(db)
    return message_id


@pytest.mark.usefixtures("old_message")
def test_a_day_that_every_cursor_passed_is_truncated_then_dropped(db: Session) -> None:
    pass_everything(db)
    assert needed_by(db) is None
    assert retire(db) == "truncated"
    assert one(db, "select count(*) from outbox.message") == 0
    assert retire(db) == "dropped"
    assert one(db, "select to_regclass('outbox.' || %s)", PARTITION) is None


def test_what_one_cursor_has_not_passed_is_kept(db: Session, old_message: int) -> None:
    db.execute("insert into outbox.subscription (name) values ('audit')")
    pass_everything(db)
    db.execute(
        "update outbox.checkpoint set seen = '3:3:' where cursor_id = %s",
        [cursor_id(db, name="audit")],
    )
    assert needed_by(db) == "not yet passed by audit (priority 3)"
    assert retire(db) == "needed"
    assert pending(db, cursor_id(db, name="audit")) == [old_message]


@pytest.mark.usefixtures("old_message")
def test_a_paused_subscription_keeps_its_messages(db: Session) -> None:
    db.execute("update outbox.subscription set paused = true")
    assert retire(db) == "needed"
    assert needed_by(db) == "not yet passed by kafka (priority 3)"


def test_a_message_that_committed_late_is_kept(db: Session, open_session: Open) -> None:
    """Its transaction was open in the cursor's snapshot, its id is far behind the cursor."""
    publish(db)
    writer = open_session()
    with writer.transaction():
        late_id = publish(writer)
        grow_old(db)
        pass_everything(db)
    assert retire(db) == "needed"
    assert pending(db, cursor_id(db)) == [late_id]


@pytest.mark.usefixtures("old_message")
def test_a_delta_under_way_keeps_what_it_has_to_read(db: Session) -> None:
    pass_everything(db)
    db.execute(
        "update outbox.checkpoint set seen = '3:3:', target = pg_current_snapshot(), after_id = 0,"
        " fresh_id = 1, upto_id = 1 where n = 1"
    )
    assert retire(db) == "needed"


@pytest.mark.usefixtures("old_message")
def test_truncating_works_beside_a_long_writer_elsewhere(db: Session, open_session: Open) -> None:
    writer = open_session()
    with writer.transaction():
        publish(writer)
        pass_everything(db)
        assert retire(db) == "truncated"
        # The shell needs the parent, which the writer holds.
        assert retire(db) == "locked"
    assert retire(db) == "dropped"


def test_a_long_writer_keeps_the_partition_that_it_wrote_to(
    db: Session, open_session: Open
) -> None:
    old_message = publish(db)
    writer = open_session()
    with writer.transaction():
        written_id = publish(writer)
        pass_everything(db)
        grow_old(db)
        assert retire(db) == "locked"
    assert retire(db) == "needed"
    assert [*db.execute("select id from outbox.message order by id")] == [
        (old_message,),
        (written_id,),
    ]


def test_a_prepared_transaction_keeps_its_rows(db: Session, open_session: Open) -> None:
    publish(db)
    name = f"test-{uuid.uuid4().hex}"
    writer = open_session()
    writer.autocommit = False
    writer.tpc_begin(writer.xid(1, name, "outbox"))
    written_id = publish(writer)
    writer.tpc_prepare()
    pass_everything(db)
    grow_old(db)
    try:
        assert retire(db) == "locked"
    finally:
        writer.tpc_commit()
    assert retire(db) == "needed"
    assert pending(db, cursor_id(db)) == [written_id]


def test_what_is_younger_than_retention_is_kept(db: Session) -> None:
    publish(db)
    pass_everything(db)
    assert retire(db, PARTITION) == "kept"


@pytest.mark.usefixtures("old_message")
def test_an_older_snapshot_must_not_decide(db: Session) -> None:
    db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with pytest.raises(errors.InvalidTransactionState), db.transaction():
        retire(db)


def test_a_dead_letter_outlives_its_partition(db: Session, old_message: int) -> None:
    letter_id = dead_letter(db, old_message)
    pass_everything(db)
    assert retire(db) == "truncated"
    assert one(db, "select outbox.redrive(array[%s])", letter_id) == 1
    assert one(db, "select payload from outbox.dead_letter") == b"{}"


def checkpoints(db: Session, count: int, age: str) -> None:
    """Gives the first cursor `count` further checkpoints of that age; its first becomes older."""
    db.execute("update outbox.checkpoint set created_at = '2020-01-01' where n = 0")
    db.execute(
        """
        insert into outbox.checkpoint (cursor_id, n, seen, relay, created_at)
        select 1, (select max(n) from outbox.checkpoint where cursor_id = 1) + n,
               pg_current_snapshot(), 'test', clock_timestamp() - %s::interval
        from generate_series(1, %s) as n
        """,
        [age, count],
    )


def test_trimming_checkpoints_keeps_the_latest_whatever_their_age(db: Session) -> None:
    checkpoints(db, 150, "2 days")
    assert one(db, "select outbox.trim_checkpoints()") == 51
    kept = "select array_agg(n order by n) from outbox.checkpoint where cursor_id = 1"
    assert one(db, kept) == list(range(51, 151))
    assert one(db, "select outbox.trim_checkpoints(keep_at_least => 0)") == 99
    assert one(db, kept) == [150]
    assert one(db, "select outbox.trim_checkpoints('0', 1)") == 0
    assert one(db, "select count(distinct cursor_id) from outbox.checkpoint") == 5


def test_trimming_checkpoints_keeps_the_young(db: Session) -> None:
    checkpoints(db, 20, "2 days")
    checkpoints(db, 200, "1 minute")
    assert one(db, "select outbox.trim_checkpoints(keep_at_least => 10)") == 21
    kept = "select min(n), max(n) from outbox.checkpoint where cursor_id = 1"
    assert db.execute(kept).fetchall() == [(21, 220)]


def test_only_dead_letters_that_were_delivered_are_deleted(db: Session) -> None:
    dead_letters = [dead_letter(db, publish(db)) for _ in range(4)]
    dead, on_its_way, young, old = dead_letters
    db.execute("select outbox.redrive(%s)", [[on_its_way, young, old]])
    age = "update outbox.dead_letter set died_at = '2020-01-01', delivered_at = "
    db.execute("update outbox.dead_letter set died_at = '2020-01-01'")
    db.execute(age + "clock_timestamp() - interval '6 days' where id = %s", [young])
    db.execute(age + "clock_timestamp() - interval '8 days' where id = %s", [old])
    db.execute("delete from outbox.delivery where dead_letter_id = any (%s)", [[young, old]])
    assert one(db, "select outbox.trim_dead_letters(7)") == 1
    left = [
        dead_letter_id
        for (dead_letter_id,) in db.execute("select id from outbox.dead_letter order by id")
    ]
    assert left == [dead, on_its_way, young]


def test_a_dead_letter_that_another_session_holds_keeps_no_other_one(
    db: Session, open_session: Open
) -> None:
    held, _ = [dead_letter(db, publish(db)) for _ in range(2)]
    age = "update outbox.dead_letter set redriven_at = '2020-01-01', delivered_at = '2020-01-01'"
    db.execute(age)
    db.execute("set lock_timeout = '1s'")
    other = open_session()
    other.execute("begin")
    other.execute("select from outbox.dead_letter where id = %s for update", [held])
    assert one(db, "select outbox.trim_dead_letters(7)") == 1
    assert one(db, "select id from outbox.dead_letter") == held
