"""The migrations make one schema, on every version, with psql, whenever the example came."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.sql.log import SQL_DIRECTORY
from tests.sql.programs import psql, run

MIGRATIONS = sorted((SQL_DIRECTORY / "migrations").glob("*.sql"))
Migrated = Callable[[Sequence[Path]], str]


@contextmanager
def empty_database(url: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        yield make_conninfo(url, dbname=name)
        owner.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def migrated(any_database_url: str) -> Iterator[Migrated]:
    """Applies migrations with psql to a new database; gives the schema that they make."""
    with ExitStack() as databases:

        def schema(migrations: Sequence[Path]) -> str:
            url = databases.enter_context(empty_database(any_database_url))
            for migration in migrations:
                psql(url, "-1", "-f", migration)
            dump = run("pg_dump", url, "--schema-only").splitlines()
            # The guard around a dump is random.
            return "\n".join(line for line in dump if not line.startswith("\\"))

        yield schema


def test_psql_applies_each_migration_in_one_transaction(migrated: Migrated) -> None:
    schema = migrated(MIGRATIONS)
    for table in ("message", "subscription", "cursor", "checkpoint", "delivery", "dead_letter"):
        assert f"CREATE TABLE outbox.{table} (" in schema


def test_an_outbox_that_had_the_payment_example_first_ends_up_the_same(migrated: Migrated) -> None:
    """The example is installed once, after what it uses; the outbox's go on coming after it."""
    later = [path for path in MIGRATIONS if path.stem > "004" and "sale" not in path.stem]
    example_first = [path for path in MIGRATIONS if path not in later] + later
    assert example_first != MIGRATIONS
    assert migrated(example_first) == migrated(MIGRATIONS)


def test_the_outbox_needs_no_payment_example(migrated: Migrated) -> None:
    assert "sale" not in migrated([path for path in MIGRATIONS if "sale" not in path.stem])


def test_numbers_are_unique() -> None:
    numbers = [path.name[:3] for path in MIGRATIONS]
    assert len(set(numbers)) == len(numbers)
