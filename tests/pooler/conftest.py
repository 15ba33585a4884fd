"""PgBouncer in transaction mode before a database of the test's own."""

from collections.abc import Iterator

import psycopg
import pytest
from starlette.testclient import TestClient

from local.pgbouncer import PgBouncer
from service.app import create_app
from service.settings import Settings
from tests.pooled import pooled
from tests.service.conftest import JSON
from tests.service.shop import Shop


@pytest.fixture
def pooler(database_url: str) -> Iterator[PgBouncer]:
    """With few connections to the server."""
    with pooled(database_url) as pooler:
        yield pooler


@pytest.fixture
def client(database_url: str, pooler: PgBouncer) -> Iterator[TestClient]:
    """The service behind it."""
    app = create_app(Settings(database_url=pooler.url(database_url), pool_size=4))
    with TestClient(app, raise_server_exceptions=False, headers=JSON) as client:
        yield client


@pytest.fixture
def shop(client: TestClient, database_url: str) -> Iterator[Shop]:
    with psycopg.connect(database_url, autocommit=True) as database:
        yield Shop(client, database)
