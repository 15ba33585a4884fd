"""A database that is not encoded in UTF8 is refused, with the command that makes one."""

import logging
import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from starlette.testclient import TestClient

from relay.doctor import examination
from service.app import create_app
from service.settings import Settings
from tests.conftest import PostgresServer
from tests.relay.operating import outbox_relay, settings

REFUSAL = "and the outbox needs UTF8: createdb --encoding=UTF8 --template=template0 NAME"


@pytest.fixture(scope="module", params=["SQL_ASCII", "LATIN1"])
def other_url(postgres_server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database in another encoding."""
    name = sql.Identifier(f"encoded_{request.param}_{os.getpid()}".lower())
    make = sql.SQL("create database {} encoding {} locale 'C' template template0")
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as connection:
        connection.execute(make.format(name, sql.Literal(request.param)))
        yield make_conninfo(postgres_server.dsn(), dbname=name.as_string().strip('"'))
        connection.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.mark.parametrize("command", ["migrate", "run", "status"])
def test_a_command_says_so_and_ends(other_url: str, command: str) -> None:
    told = outbox_relay(command, environment={"DATABASE_URL": other_url})
    assert (told.returncode, REFUSAL in told.stderr) == (1, True)


def test_the_doctor_finds_it(other_url: str) -> None:
    faults = [one for one in examination.examine(settings(other_url)) if one.what == "database"]
    assert [(one.level, REFUSAL in one.text) for one in faults] == [("fault", True)]


def test_the_service_is_not_ready_and_its_log_says_why(
    other_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Settings(database_url=other_url, database_timeout_seconds=2))
    with (
        caplog.at_level(logging.ERROR, "service.database"),
        TestClient(app, raise_server_exceptions=False) as client,
    ):
        assert client.get("/readyz").status_code == 503
    assert REFUSAL in caplog.text
