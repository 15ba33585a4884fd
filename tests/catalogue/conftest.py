"""A session on a migrated database, on each version of Postgres in turn.

What is asked here reads and writes no table, so that the tests of a file share one.
"""

from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import PostgresServer, server_address, versions
from tests.sql.log import Session


@pytest.fixture(scope="module", params=versions())
def db(request: pytest.FixtureRequest) -> Iterator[Session]:
    server = PostgresServer(server_address(request.config, request.param))
    with server.clone() as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection
