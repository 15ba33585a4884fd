"""The log's partitions are made ahead of its ids and turned to in time; no writer waits."""

import math
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors, sql

from tests.eventually import eventually
from tests.sql.conftest import Open
from tests.sql.log import Session, let_days_pass, one, pass_everything, publish, try_to_turn, turn

ROOM = 100_000_000_000
PARTITIONS = "select partition, from_time is null, upto_time is null from outbox.partition_state()"
MADE = ["message_0", "message_1"]
WHERE_ROWS_ARE = "select tableoid::regclass::text, id from outbox.message order by id"
DROP = sql.SQL("drop table outbox.{}")
FORGET = "delete from outbox.known_partition where parent = 'outbox.message' and number = any (%s)"
NOW = "select setval(pg_get_serial_sequence('outbox.message', 'id'), %s)"


def lose(db: Session, *numbers: int) -> None:
    """Takes partitions away, as if they had not been made."""
    for number in numbers:
        db.execute(DROP.format(sql.Identifier(f"message_{number}")))
    db.execute(FORGET, [list(numbers)])


def partitions(db: Session) -> list[str]:
    return [row[0] for row in db.execute(PARTITIONS).fetchall()]


def test_a_log_begins_with_one_to_write_to_and_one_ahead(db: Session) -> None:
    assert db.execute(PARTITIONS).fetchall() == [
        ("message_0", False, True),
        ("message_1", True, True),
    ]


@pytest.mark.parametrize(
    ("retention_days", "width"), [(1, 1), (4, 1), (8, 2), (732, 183), (3648, 912)]
)
def test_it_turns_after_a_quarter_of_the_retention(
    db: Session, retention_days: int, width: int
) -> None:
    make = "select outbox.make_partitions(%s)"
    publish(db)
    let_days_pass(db, width - 1)
    assert one(db, make, retention_days) == 0
    let_days_pass(db, 1)
    assert one(db, make, retention_days) == 1
    publish(db)
    assert db.execute(WHERE_ROWS_ARE).fetchall() == [
        ("outbox.message_0", 1),
        ("outbox.message_1", ROOM + 1),
    ]


@pytest.mark.parametrize("retention_days", [1, 7, 30, 730, 3650])
def test_a_log_of_any_length_is_few_partitions(db: Session, retention_days: int) -> None:
    for _ in range(30):
        let_days_pass(db, math.ceil(retention_days / 4))
        db.execute("select outbox.make_partitions(%s)", [retention_days])
        for name in partitions(db):
            db.execute("select outbox.retire_partition(%s, %s)", [name, retention_days])
    # The present one, one ahead, and what retention keeps: five quarters at most.
    assert len(partitions(db)) <= 7


def test_without_anybody_to_turn_the_log_goes_on(db: Session) -> None:
    publish(db)
    let_days_pass(db, 3000)
    publish(db)
    assert {where for where, _ in db.execute(WHERE_ROWS_ARE)} == {"outbox.message_0"}


def test_ids_that_ran_ahead_find_their_partition(db: Session) -> None:
    db.execute(NOW, [ROOM - 1])
    publish(db)
    publish(db)
    assert one(db, "select outbox.make_partitions()") == 1
    assert db.execute(PARTITIONS).fetchall() == [
        ("message_0", False, False),
        ("message_1", False, True),
        ("message_2", True, True),
    ]


def test_a_sequence_that_was_set_far_ahead_leaves_no_insert_without_a_partition(
    db: Session,
) -> None:
    """As after a copy from a database that is older."""
    db.execute(NOW, [57 * ROOM])
    assert one(db, "select outbox.make_partitions()") == 2
    publish(db)
    assert db.execute(WHERE_ROWS_ARE).fetchall() == [("outbox.message_57", 57 * ROOM + 1)]


def test_a_turn_that_was_rolled_back_is_found_by_the_next_call(db: Session) -> None:
    let_days_pass(db, 2)
    with db.transaction(force_rollback=True):
        db.execute("select outbox.make_partitions()")
    publish(db)
    db.execute("select outbox.make_partitions()")
    assert db.execute(PARTITIONS + " limit 2").fetchall() == [
        ("message_0", False, False),
        ("message_1", False, True),
    ]


def test_a_partition_keeps_the_checks_and_defaults_of_the_log(db: Session) -> None:
    turn(db)
    turn(db)
    turn(db)
    message_id = publish(db)
    assert message_id == one(db, "select id from outbox.message") == 3 * ROOM + 1
    with pytest.raises(errors.CheckViolation):
        publish(db, priority=6)


def test_the_log_turns_beside_open_readers_and_writers(db: Session, open_session: Open) -> None:
    """Neither waits for it, nor it for them."""
    reader, writer = open_session(), open_session()
    for session in (reader, writer):
        session.execute("set lock_timeout = '1ms'")
    with reader.transaction(), writer.transaction():
        one(reader, "select count(*) from outbox.message")
        early = publish(writer)
        with db.transaction():
            turn(db)
            between = publish(writer)
            one(reader, "select count(*) from outbox.message")
        late = publish(writer)
        one(reader, "select count(*) from outbox.message")
    assert (early, between, late) == (1, ROOM + 1, ROOM + 2)
    assert partitions(db) == [*MADE, "message_2"]


def test_the_log_is_not_turned_while_a_transaction_writes_that_does_not_know_the_partition(
    db: Session, open_session: Open
) -> None:
    lose(db, 1)
    writer = open_session()
    with writer.transaction():
        publish(writer)
        assert one(db, "select outbox.make_partitions()") == 1
        try_to_turn(db)
        assert publish(writer) == 2

    def turns() -> None:
        try_to_turn(db)
        assert publish(writer) > ROOM

    # Other tests' transactions count as well.
    eventually(turns, 60)


def test_an_id_that_was_drawn_before_the_turn_goes_where_it_belongs(
    db: Session, open_session: Open
) -> None:
    writer = open_session()
    with writer.transaction():
        publish(writer)
        turn(db)
        publish(db)
    assert db.execute(WHERE_ROWS_ARE).fetchall() == [
        ("outbox.message_0", 1),
        ("outbox.message_1", ROOM + 1),
    ]


def test_a_log_that_others_lock_is_left_for_the_next_call(db: Session, open_session: Open) -> None:
    lose(db, 1)
    other = open_session()
    with other.transaction():
        other.execute("lock table only outbox.message in share update exclusive mode")
        assert one(db, "select outbox.make_partitions()") == 0
        publish(db)
    assert one(db, "select outbox.make_partitions()") == 1
    assert partitions(db) == MADE


def test_two_makers_at_once_make_each_partition_once(db: Session, open_session: Open) -> None:
    lose(db, 1)
    makers = [open_session() for _ in range(4)]
    with ThreadPoolExecutor() as threads:
        made = [threads.submit(one, maker, "select outbox.make_partitions()") for maker in makers]
        assert sorted(future.result(timeout=30) for future in made) == [0, 0, 0, 1]
    assert partitions(db) == MADE


def test_every_partition_has_the_two_indexes_of_the_log(db: Session) -> None:
    turn(db)
    indexes = """
        select count(*) from pg_index join pg_inherits on inhrelid = indrelid
        where inhparent = 'outbox.message'::regclass group by indrelid
    """
    assert {count for (count,) in db.execute(indexes)} == {2}


@pytest.mark.parametrize("days", [0, 1, 3, 4, 6])
def test_a_time_leads_to_the_partition_that_was_written_to_then(db: Session, days: int) -> None:
    """Three turns, three, two and one days apart."""
    for apart in (3, 2, 1):
        turn(db)
        let_days_pass(db, apart)
    since = "select outbox.first_id_since(clock_timestamp() - make_interval(days => %s, mins => 5))"
    expected = {0: 3, 1: 2, 3: 1, 4: 1, 6: 0}
    assert one(db, since, days) == expected[days] * ROOM


def test_a_time_leads_to_the_hour_in_which_it_was(db: Session) -> None:
    earlier = "update outbox.log_mark set at = at - interval '90 minutes'"
    marked = []
    for _ in range(3):
        marked.append(publish(db))
        db.execute(earlier)
        db.execute("select outbox.make_partitions()")
        db.execute("select outbox.make_partitions()")
    since = "select outbox.first_id_since(clock_timestamp() - make_interval(mins => %s))"
    assert [one(db, since, minutes) for minutes in (5, 95, 185)] == [marked[1], marked[0], 0]


def test_marks_of_what_is_gone_are_forgotten(db: Session) -> None:
    for _ in range(3):
        publish(db)
        turn(db)
        let_days_pass(db, 9)
    pass_everything(db)
    for _ in range(2):
        db.execute(
            "select outbox.retire_partition(partition, 7) from outbox.partition_state(7)"
            " where past_retention"
        )
    db.execute("select outbox.make_partitions()")
    assert one(db, "select min(id) from outbox.log_mark") >= 2 * ROOM


def test_a_message_that_drew_its_id_just_before_a_turn_is_not_passed_over(db: Session) -> None:
    publish(db)
    turn(db)
    publish(db)
    assert one(db, "select outbox.first_id_since(clock_timestamp())") == 0


def test_the_name_of_a_partition_is_taken_from_no_other_table(db: Session) -> None:
    for name in ("message", "message_7", "subscription; drop table x"):
        with pytest.raises(psycopg.errors.UndefinedTable):
            db.execute("select outbox.retire_partition(%s, 0)", [name])


def test_a_log_whose_ids_begin_anew_goes_on_where_it_is(db: Session) -> None:
    publish(db)
    turn(db)
    db.execute("truncate outbox.message restart identity")
    db.execute("select outbox.make_partitions()")
    assert publish(db) == ROOM + 1
    let_days_pass(db, 30)
    assert one(db, "select outbox.retire_partition('message_1', 7)") == "kept"


def test_a_partition_that_was_detached_is_not_taken(db: Session) -> None:
    message_id = publish(db)
    turn(db)
    let_days_pass(db, 30)
    db.execute("alter table outbox.message detach partition outbox.message_0")
    with pytest.raises(psycopg.errors.UndefinedTable):
        db.execute("select outbox.retire_partition('message_0', 7)")
    assert one(db, "select id from outbox.message_0") == message_id
    assert partitions(db) == ["message_1", "message_2"]


def test_a_partition_that_is_gone_is_not_turned_to_and_made_again(db: Session) -> None:
    db.execute("drop table outbox.message_1")
    turn(db)
    assert publish(db) == 1
    assert partitions(db) == MADE
    turn(db)
    assert publish(db) == ROOM + 1


def test_partitions_that_are_not_recorded_are_recorded_again(db: Session) -> None:
    """As after a dump that left the table of them out."""
    publish(db)
    turn(db)
    turn(db)
    db.execute("delete from outbox.known_partition")
    assert one(db, "select outbox.make_partitions()") == 0
    assert db.execute(PARTITIONS).fetchall() == [
        ("message_0", False, False),
        ("message_1", False, False),
        ("message_2", False, True),
        ("message_3", True, True),
    ]


def test_a_turn_that_is_held_up_is_told(db: Session, open_session: Open) -> None:
    lose(db, 1)
    writer = open_session()
    with writer.transaction():
        publish(writer)
        db.execute("select outbox.make_partitions()")
        try_to_turn(db)
        assert one(db, "select outbox.partitions_left_out()") == ["message_0"]
    turn(db)
    assert one(db, "select outbox.partitions_left_out()") == []


def test_a_clock_that_was_ahead_keeps_no_message_from_a_replay_nor_the_log_from_turning(
    db: Session,
) -> None:
    since = one(db, "select clock_timestamp() + interval '5 minutes'")
    publish(db)
    db.execute("update outbox.message set created_at = created_at + interval '10 minutes'")
    turn(db)
    assert one(db, "select outbox.first_id_since(%s)", since) == 0
    db.execute(
        "update outbox.known_partition set from_time = '2100-01-01'"
        " where parent = 'outbox.message' and number = 1"
    )
    db.execute("select outbox.make_partitions()")
    assert one(db, "select max(from_time) < clock_timestamp() from outbox.known_partition")


def test_a_message_of_another_century_keeps_its_partition_a_day_at_most(db: Session) -> None:
    publish(db)
    db.execute("update outbox.message set created_at = 'infinity'")
    turn(db)
    over = """
        select upto_time < clock_timestamp() + interval '25 hours' from outbox.known_partition
        where parent = 'outbox.message' and number = 0
    """
    assert one(db, over)


def test_writers_wait_a_tenth_of_a_second_for_a_partition_that_goes(
    db: Session, open_session: Open
) -> None:
    """Who holds the log for long makes it give up."""
    turn(db)
    let_days_pass(db, 30)
    holder = open_session()
    with holder.transaction():
        publish(holder)
        assert one(db, "select outbox.retire_partition('message_0', 7)") == "locked"
    settings = "select array_to_string(proconfig, ' ') from pg_proc where proname = %s"
    for name in ("retire_partition", "turn_by_age"):
        assert "lock_timeout=80ms" in one(db, settings, name)


# What it says, and whether writers would have waited for less than a lock's whole time.
RETIRE = """
    select outcome, clock_timestamp() - statement_timestamp() < interval '80 ms'
    from outbox.retire_partition('message_0', 7) as outcome
"""


def test_writers_wait_no_longer_where_a_session_holds_only_the_partition(
    db: Session, open_session: Open
) -> None:
    turn(db)
    let_days_pass(db, 30)
    pass_everything(db)
    holder = open_session()
    with holder.transaction():
        holder.execute("lock table outbox.message_0 in access share mode")
        # The machine may be busy.
        assert ("locked", True) in [db.execute(RETIRE).fetchone() for _ in range(5)]


def test_the_name_of_another_partitioned_table_says_nothing_to_the_log_s(db: Session) -> None:
    """It is no pattern, whatever its owner has called it."""
    db.execute("create schema evil")
    db.execute('create table evil."a(" (id int) partition by range (id)')
    db.execute('create table evil."a(_0" partition of evil."a(" for values from (0) to (1)')
    found = db.execute("select parent, number from outbox.attached_partition").fetchall()
    assert ("outbox.message", 0) in found
    assert ("evil.a(", 0) in found
