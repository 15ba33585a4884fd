"""Promises of the fixtures that the other tests stand on."""

import sys
from pathlib import Path

import psycopg
import pytest

from local.program import Program
from local.server import StartError
from tests.conftest import PostgresServer
from tests.eventually import eventually


def test_a_clone_is_migrated_and_gone_in_the_end(postgres_server: PostgresServer) -> None:
    with postgres_server.clone() as url:
        with psycopg.connect(url) as connection:
            row = connection.execute("select to_regclass('outbox.message') is not null").fetchone()
            assert row == (True,)
            name = connection.info.dbname
        left_open = psycopg.connect(url)
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("select 1")
    left_open.close()
    with psycopg.connect(postgres_server.dsn()) as connection:
        found = connection.execute("select from pg_database where datname = %s", [name])
        assert found.fetchone() is None


def test_clones_share_nothing(postgres_server: PostgresServer) -> None:
    with postgres_server.clone() as first, postgres_server.clone() as second:
        with psycopg.connect(first) as connection:
            connection.execute("create table only_here ()")
        with psycopg.connect(second) as connection:
            row = connection.execute("select to_regclass('only_here') is null").fetchone()
        assert row == (True,)


def test_eventually_returns_what_the_assertion_returns_at_last() -> None:
    attempts: list[int] = []

    def third() -> int:
        attempts.append(1)
        assert len(attempts) == 3
        return len(attempts)

    assert eventually(third) == 3


def test_eventually_raises_the_last_failure() -> None:
    def never() -> None:
        raise AssertionError("still not")

    with pytest.raises(AssertionError, match="still not"):
        eventually(never, timeout_seconds=0.1)


def test_a_program_that_dies_while_starting_tells_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"exits with status 3(.|\n)*no such thing"):
        Program.start(
            "liar",
            [sys.executable, "-c", "import sys; print('no such thing'); sys.exit(3)"],
            log=tmp_path / "liar.log",
            environment={},
            ready_url="http://127.0.0.1:9/healthz",
        )
