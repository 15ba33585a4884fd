"""The pages of a shop's catalogue, asked for without a browser."""

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
from tests.service.console import showcase


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer) -> Iterator[Platform]:
    """As a login that is nothing but a member of outbox_service, and for keys alone."""
    role = sql.Identifier(f"test_{uuid.uuid4().hex}")
    with (
        postgres_server.clone() as url,
        psycopg.connect(url, autocommit=True) as database,
    ):
        showcase.fill(database)
        database.execute(sql.SQL("create role {} login in role outbox_service").format(role))
        service_url = make_conninfo(url, user=role.as_string().strip('"'))
        app = create_app(Settings(database_url=service_url, pool_size=4))
        with TestClient(app, raise_server_exceptions=False) as http:
            yield Platform(http, database, service_url)
        database.execute(sql.SQL("drop role {}").format(role))


@pytest.fixture(scope="module")
def console(postgres_server: PostgresServer) -> Iterator[Platform]:
    """A service with a console, as a login that is nothing but a member of outbox_service."""
    role = sql.Identifier(f"test_{uuid.uuid4().hex}")
    with (
        postgres_server.clone() as url,
        psycopg.connect(url, autocommit=True) as database,
    ):
        database.execute("create sequence dead_message start 1000000")
        database.execute(sql.SQL("create role {} login in role outbox_service").format(role))
        service_url = make_conninfo(url, user=role.as_string().strip('"'))
        app = create_app(Settings(database_url=service_url, pool_size=8, console=True))
        headers = {"Content-Type": "application/json"}
        with TestClient(app, raise_server_exceptions=False, headers=headers) as http:
            yield Platform(http, database, service_url)
        database.execute(sql.SQL("drop role {}").format(role))


@pytest.fixture(scope="module")
def public(shop: Platform) -> Iterator[TestClient]:
    """The same to everybody."""
    app = create_app(Settings(database_url=shop.service_url, pool_size=4, catalogue="public"))
    with TestClient(app, raise_server_exceptions=False) as http:
        yield http


@pytest.fixture
def bare(database_url: str) -> Iterator[tuple[TestClient, psycopg.Connection[Any]]]:
    """An empty catalogue to everybody, and its database."""
    app = create_app(Settings(database_url=database_url, pool_size=4, catalogue="public"))
    with (
        TestClient(app, raise_server_exceptions=False) as http,
        psycopg.connect(database_url, autocommit=True) as database,
    ):
        yield http, database
