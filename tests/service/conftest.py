"""The service in this process, on a database of the test's own."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.shop import Shop


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection beside the service's, autocommit."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def client(database_url: str) -> Iterator[TestClient]:
    """The service. A fault in it is an answer, as it is for its callers."""
    app = create_app(Settings(database_url=database_url, pool_size=4))
    with TestClient(app, raise_server_exceptions=False) as started:
        yield started


@pytest.fixture
def shop(client: TestClient, database: psycopg.Connection[Any]) -> Shop:
    return Shop(client, database)
