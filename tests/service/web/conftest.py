"""A service that ends a client after a second, and one that has patience.

Each is one process for the tests of a module: who counts what it has done needs one of their own.
"""

from collections.abc import Iterator

import pytest

from local.server import free_port
from tests.conftest import PostgresServer, Spawn, spawning
from tests.service.web.front import MAX_CONNECTIONS, Front, start


@pytest.fixture(scope="module")
def front_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.clone() as url:
        yield url


@pytest.fixture(scope="module")
def module_spawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawn]:
    with spawning(tmp_path_factory.mktemp("programs")) as spawn:
        yield spawn


@pytest.fixture(scope="module")
def front(module_spawn: Spawn, front_database_url: str) -> Front:
    return start(
        module_spawn,
        front_database_url,
        free_port(),
        SERVICE_CLIENT_TIMEOUT_SECONDS="1",
        SERVICE_MAX_CONNECTIONS=str(MAX_CONNECTIONS),
    )


@pytest.fixture(scope="module")
def patient(module_spawn: Spawn, front_database_url: str) -> Front:
    """One that ends no connection for being slow while a test runs."""
    return start(
        module_spawn, front_database_url, free_port(), SERVICE_CLIENT_TIMEOUT_SECONDS="300"
    )
