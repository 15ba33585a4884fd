"""One service process for all tests of the client, each with channels and names of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local.program import Program, script
from local.server import free_port
from outbox_client import Outbox
from service.platform import keys
from service.web.access.keys import SCOPES
from tests.client.service import Service
from tests.conftest import FOREIGN_SETTINGS, PostgresServer


@pytest.fixture(scope="session")
def service(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A real process, with a key of all scopes."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)
    }
    log: Path = tmp_path_factory.mktemp("client") / "outbox-service.log"
    port = free_port()
    with (
        postgres_server.clone() as url,
        psycopg.connect(url, autocommit=True) as database,
    ):
        environment = {**inherited, "DATABASE_URL": url, "SERVICE_PORT": str(port)}
        ready_url = f"http://127.0.0.1:{port}/readyz"
        command = [script("outbox-service")]
        with Program.start(
            "outbox-service", command, log=log, environment=environment, ready_url=ready_url
        ) as program:
            yield Service(program, port, keys.create(database, "client", SCOPES), database)


@pytest.fixture
def outbox(service: Service) -> Iterator[Outbox]:
    with Outbox(service.url, service.key) as outbox:
        yield outbox
