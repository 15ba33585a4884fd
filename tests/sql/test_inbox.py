"""A consumer applies each message once, however often it comes."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from tests.eventually import eventually
from tests.sql.log import SQL_DIRECTORY, Session, one

FIRST_TIME = "select inbox.first_time('inventory', %s)"


@pytest.fixture
def inbox_url(any_database_url: str) -> Iterator[str]:
    """An empty database, as a consumer has it, with nothing but the inbox."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(any_database_url, autocommit=True) as owner:
        owner.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        url = make_conninfo(any_database_url, dbname=name)
        with psycopg.connect(url) as consumer:
            consumer.execute((SQL_DIRECTORY / "inbox.sql").read_bytes())
        yield url
        owner.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def inbox(inbox_url: str) -> Iterator[Session]:
    with psycopg.connect(inbox_url, autocommit=True) as session:
        yield session


@pytest.fixture
def rival(inbox_url: str) -> Iterator[Session]:
    with psycopg.connect(inbox_url, autocommit=True) as session:
        yield session


def test_a_message_comes_for_the_first_time_once(inbox: Session) -> None:
    assert [one(inbox, FIRST_TIME, key) for key in ("a", "a", "b")] == [True, False, True]


def test_each_consumer_remembers_for_itself(inbox: Session) -> None:
    assert one(inbox, "select inbox.first_time('inventory', 'a')")
    assert one(inbox, "select inbox.first_time('finance', 'a')")


def test_a_rollback_forgets_the_message_with_its_effect(inbox: Session) -> None:
    with inbox.transaction(force_rollback=True):
        assert one(inbox, FIRST_TIME, "a")
    assert one(inbox, FIRST_TIME, "a")


@pytest.mark.parametrize(("commits", "second_is_first"), [(True, False), (False, True)])
def test_of_two_at_once_the_second_waits_for_the_first(
    inbox: Session, rival: Session, inbox_url: str, commits: bool, second_is_first: bool
) -> None:
    def waits() -> None:
        with psycopg.connect(inbox_url) as watcher:
            blocked = "select cardinality(pg_blocking_pids(%s)) > 0"
            assert one(watcher, blocked, rival.info.backend_pid)

    with ThreadPoolExecutor() as threads:
        with inbox.transaction(force_rollback=not commits):
            assert one(inbox, FIRST_TIME, "a")
            second = threads.submit(one, rival, FIRST_TIME, "a")
            eventually(waits)
        assert second.result(timeout=10) is second_is_first


def test_trimming_forgets_the_old_alone(inbox: Session) -> None:
    one(inbox, FIRST_TIME, "old")
    inbox.execute("update inbox.received set received_at = clock_timestamp() - interval '31 days'")
    one(inbox, FIRST_TIME, "young")
    assert one(inbox, "select inbox.trim(interval '30 days')") == 1
    assert one(inbox, FIRST_TIME, "old")
    assert not one(inbox, FIRST_TIME, "young")


def test_it_can_be_installed_again_over_what_is_there(inbox: Session) -> None:
    one(inbox, FIRST_TIME, "a")
    inbox.execute((SQL_DIRECTORY / "inbox.sql").read_bytes())
    assert not one(inbox, FIRST_TIME, "a")


def test_a_missing_key_is_refused(inbox: Session) -> None:
    """Taken as seen, every message without a key would be dropped after the first."""
    with pytest.raises(errors.NotNullViolation):
        inbox.execute(FIRST_TIME, [None])
    with pytest.raises(errors.CheckViolation):
        inbox.execute(FIRST_TIME, [""])
