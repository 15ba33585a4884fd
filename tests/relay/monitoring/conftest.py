"""A database of its own for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from relay.database import Connection
from relay.monitoring import server as status_server
from relay.monitoring.server import StatusServer
from relay.monitoring.telemetry import Telemetry
from tests.relay.monitoring.serving import Serve
from tests.relay.operating import settings


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def serve(free_port: Callable[[], int]) -> Iterator[Serve]:
    """Starts a status server for a database; closed in the end."""
    with ExitStack() as servers:

        def start(database_url: str, telemetry: Telemetry) -> StatusServer:
            port = str(free_port())
            server = status_server.start(settings(database_url, RELAY_PORT=port), telemetry)
            assert server is not None
            servers.callback(server.close)
            return server

        yield start
