"""Under a publication of all tables, which change data capture makes, the outbox goes on.

Postgres refuses UPDATE and DELETE then on a table that has neither key nor replica identity.
"""

import psycopg
import pytest

from tests.sql.log import SQL_DIRECTORY, Session, one, pass_everything, publish, turn

# The leaves of partitioned tables are what is written to.
NAMELESS = """
select class.oid::regclass::text
from pg_class as class join pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname in ('outbox', 'sale', 'inbox') and class.relkind = 'r'
  and class.relreplident <> 'f'
  and not exists (select from pg_index where indrelid = class.oid and indisprimary)
"""
ATTEMPT = """
insert into outbox.attempt_log
    (subscription_id, message_id, idempotency_key, number, at, duration_seconds, relay)
values (1, 1, 'key', 1, clock_timestamp(), 0, 'test')
"""


@pytest.fixture(autouse=True)
def published(db: Session) -> None:
    db.execute("create publication everything for all tables")


def test_every_row_can_be_told_from_others(db: Session) -> None:
    db.execute((SQL_DIRECTORY / "inbox.sql").read_bytes())
    turn(db)
    assert db.execute(NAMELESS).fetchall() == []


def test_a_log_is_rebased(db: Session) -> None:
    waiting = publish(db)
    turn(db)
    publish(db)
    db.execute("select outbox.rebase()")
    assert one(db, "select min(id) from outbox.message where xid = '3'") == waiting


def test_old_attempts_are_deleted(db: Session) -> None:
    db.execute(ATTEMPT)
    db.execute("delete from outbox.attempt_log")
    assert one(db, "select count(*) from outbox.attempt") == 0


def test_a_replay_is_made_and_its_cursor_deleted(db: Session) -> None:
    publish(db)
    pass_everything(db)
    assert one(db, "select outbox.replay('kafka', from_message_id => 1)") == 1
    db.execute("select outbox.delete_subscription('kafka', true)")
    assert one(db, "select count(*) from outbox.replay") == 0


def test_a_table_that_has_neither_is_refused(db: Session) -> None:
    """Without which none of these tests could fail."""
    db.execute("create table plain (n integer); insert into plain values (1)")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        db.execute("update plain set n = 2")
