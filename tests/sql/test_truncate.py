"""The log is truncated by its owner, with its ids: what comes after is another message."""

import pytest
from psycopg import errors

from tests.sql.conftest import Member
from tests.sql.log import Session, cursor_id, dead_letter, one, pass_everything, pending, publish

RESTART = "truncate outbox.message restart identity"


def test_a_message_gets_no_id_that_a_dead_letter_has(db: Session) -> None:
    publish(db)
    given_up = publish(db)
    dead_letter(db, given_up)
    db.execute(RESTART)
    assert publish(db) > given_up


def test_a_replay_from_a_time_finds_what_was_written_since(db: Session) -> None:
    for _ in range(5):
        publish(db)
    # As maintenance notes it, once an hour.
    mark = "insert into outbox.log_mark (at, id) values (clock_timestamp() - interval '1 hour', 5)"
    db.execute(mark)
    db.execute(RESTART)
    since = one(db, "select clock_timestamp()")
    new = [publish(db), publish(db)]
    pass_everything(db)
    assert one(db, "select outbox.replay('kafka', from_time => %s)", since) == 2
    assert pending(db, cursor_id(db)) == new


def test_no_role_calls_that_by_hand(member: Member) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        member("outbox_publisher").execute("select outbox.give_no_id_twice()")
