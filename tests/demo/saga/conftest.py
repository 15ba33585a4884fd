"""One database for the tests of the saga: all four services, and one outbox."""

from collections.abc import Iterator

import psycopg
import pytest

from demo.places import INBOX, REPEATED, run_scripts
from tests.conftest import PostgresServer
from tests.demo.saga.world import SCRIPTS, SERVICES, World


@pytest.fixture(scope="session")
def saga_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Empty after each test."""
    with postgres_server.clone() as url:
        run_scripts(url, [INBOX, REPEATED, *(SCRIPTS / f"{name}.sql" for name in SERVICES)])
        yield url


@pytest.fixture
def world(saga_url: str) -> Iterator[World]:
    """One in a transaction that is rolled back in the end: what are transactions are savepoints."""
    with (
        psycopg.connect(saga_url, autocommit=True) as connection,
        connection.transaction(force_rollback=True),
    ):
        yield World(connection)
