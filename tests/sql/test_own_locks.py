"""What the schema and the processes lock are rows, which no other login may lock."""

import re
import threading
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.eventually import eventually
from tests.sql.conftest import Member, Open
from tests.sql.log import SQL_DIRECTORY, Session, one

ADVISORY = re.compile(r"pg_(try_)?advisory")
# Those that once guarded names and sources, of all that these tests make.
FORMER: LiteralString = """
    select pg_advisory_lock(hashtextextended(words, 0))
    from (select 'outbox connector ' || unnest(array['shop', 'other', 'kafka'])
          union all select 'outbox source ' || generate_series(0, 50)) as former (words)
"""
PATIENCE: LiteralString = "set lock_timeout = '2s'"
TAKE_IN: LiteralString = """
    select outbox.connect_in('shop', 'shop', 'kafka', '{"topic": "shop"}')
"""
SUBSCRIBE: LiteralString = "insert into outbox.subscription (name) values (%s)"
NAME: LiteralString = "update outbox.subscription set name = %s where name = %s"


POSITION: LiteralString = """
    insert into outbox.source_position
        (source_id, topic, partition, topic_id, next_offset, end_offset)
    values (%s, 'shop', 0, 'id', 0, 0)
"""
DEAD_LETTER: LiteralString = """
    insert into outbox.source_dead_letter
        (source_id, topic, partition, record_offset, header_names, header_values, reason, detail)
    values (%s, 'shop', 0, 0, '{}', '{}', 'too_large', 'why')
"""


def waits(db: Session, other: Session) -> None:
    waiting = "select wait_event_type from pg_stat_activity where pid = %s"
    assert one(db, waiting, other.info.backend_pid) == "Lock"


@pytest.mark.parametrize("folder", ["sql", "relay", "service"])
def test_no_advisory_lock_is_taken_anywhere(folder: str) -> None:
    """Any login may hold one, for as long as it likes."""
    files = [
        path
        for path in (SQL_DIRECTORY.parent / folder).rglob("*")
        if path.suffix in {".py", ".sql"}
    ]
    assert len(files) > 20
    assert [str(path) for path in files if ADVISORY.search(path.read_text())] == []


def test_what_a_publisher_may_lock_keeps_no_name_and_no_source_waiting(
    db: Session, member: Member
) -> None:
    member("outbox_publisher").execute(FORMER)
    db.execute(PATIENCE)
    source_id = one(db, TAKE_IN)
    db.execute("select outbox.seek_source(%s, 'latest')", [source_id])
    db.execute(SUBSCRIBE, ["other"])
    db.execute(NAME, ["another", "other"])


def test_a_change_that_leaves_the_name_waits_for_no_other_subscription(
    db: Session, open_session: Open
) -> None:
    maker = open_session()
    maker.execute("begin")
    maker.execute(SUBSCRIBE, ["other"])
    db.execute(PATIENCE)
    db.execute(NAME, ["kafka", "kafka"])
    db.execute(NAME, ["Kafka", "kafka"])
    with pytest.raises(errors.LockNotAvailable):
        db.execute(NAME, ["third", "Kafka"])


@pytest.mark.parametrize("turned", [False, True], ids=["in first", "out first"])
def test_of_two_directions_at_once_one_has_the_name(
    db: Session, open_session: Open, turned: bool
) -> None:
    second = open_session()
    makes = [lambda: db.execute(TAKE_IN), lambda: db.execute(SUBSCRIBE, ["Shop"])]
    others = [lambda: second.execute(SUBSCRIBE, ["Shop"]), lambda: second.execute(TAKE_IN)]
    db.execute("begin")
    makes[turned]()
    refusals: list[Exception] = []

    def make() -> None:
        try:
            others[turned]()
        except psycopg.Error as refusal:
            refusals.append(refusal)

    thread = threading.Thread(target=make)
    thread.start()
    eventually(lambda: waits(db, second))
    db.execute("commit")
    thread.join(20)
    assert isinstance(refusals[0], errors.UniqueViolation)


@pytest.mark.long
def test_a_source_that_a_session_keeps_locked_is_told_and_not_waited_for(
    db: Session, open_session: Open
) -> None:
    source_id = one(db, TAKE_IN)
    other = open_session()
    other.execute("begin")
    other.execute("select from outbox.source for update")
    for statement in (
        "select outbox.hold_source(%s)",
        "select outbox.seek_source(%s, 'latest')",
        "select outbox.note_source_waiting(%s, 'why')",
        "select outbox.stop_source(%s, 'why')",
    ):
        with pytest.raises(errors.LockNotAvailable):
            db.execute(statement, [source_id])


def test_a_source_ends_after_the_batch_that_is_under_way_with_its_dead_letters(
    db: Session, open_session: Open
) -> None:
    source_id = one(db, TAKE_IN)
    db.execute(POSITION, [source_id])
    operator = open_session()
    db.execute("begin")
    db.execute("select from outbox.source_position for update skip locked")
    ended: list[object] = []

    def end() -> None:
        try:
            ended.append(one(operator, "select outbox.end_source(%s)", source_id))
        except psycopg.Error as refusal:
            ended.append(refusal)

    thread = threading.Thread(target=end)
    thread.start()
    eventually(lambda: waits(db, operator))
    db.execute(DEAD_LETTER, [source_id])
    db.execute("commit")
    thread.join(20)
    assert ended == [True]
    assert one(db, "select count(*) from outbox.source_dead_letter") == 0
