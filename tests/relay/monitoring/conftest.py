"""A database of its own for each test."""

from collections.abc import Iterator

import psycopg
import pytest

from relay.database import Connection


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection
