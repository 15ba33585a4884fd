"""The service in this process, on a database of the test's own."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.conftest import PostgresServer
from tests.service.api import Platform
from tests.service.shop import Shop

# What a test sends as bytes is as good as what it sends as an object.
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection beside the service's, autocommit."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def client(database_url: str) -> Iterator[TestClient]:
    """The service. A fault in it is an answer, as it is for its callers."""
    app = create_app(Settings(database_url=database_url, pool_size=4))
    with TestClient(app, raise_server_exceptions=False, headers=JSON) as started:
        yield started


@pytest.fixture
def shop(client: TestClient, database: psycopg.Connection[Any]) -> Shop:
    return Shop(client, database)


@pytest.fixture(scope="module")
def platform(postgres_server: PostgresServer) -> Iterator[Platform]:
    """The service as a login that is nothing but a member of outbox_service.

    One database for a module: its tests use channels and names of their own.
    """
    role = sql.Identifier(f"test_{uuid.uuid4().hex}")
    with (
        postgres_server.clone() as url,
        psycopg.connect(url, autocommit=True) as database,
    ):
        database.execute("create sequence dead_message start 1000000")
        make = sql.SQL("create role {} login in role outbox_service")
        database.execute(make.format(role))
        service_url = make_conninfo(url, user=role.as_string().strip('"'))
        app = create_app(Settings(database_url=service_url, pool_size=8))
        with TestClient(app, raise_server_exceptions=False, headers=JSON) as http:
            yield Platform(http, database, service_url)
        database.execute(sql.SQL("drop role {}").format(role))
