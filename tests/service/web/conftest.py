"""A service that ends a client after a second, and one that has patience."""

from collections.abc import Callable

import pytest

from tests.conftest import Spawn
from tests.service.web.front import MAX_CONNECTIONS, Front, start


@pytest.fixture
def front(spawn: Spawn, database_url: str, free_port: Callable[[], int]) -> Front:
    return start(
        spawn,
        database_url,
        free_port(),
        SERVICE_CLIENT_TIMEOUT_SECONDS="1",
        SERVICE_MAX_CONNECTIONS=str(MAX_CONNECTIONS),
    )


@pytest.fixture
def patient(spawn: Spawn, database_url: str, free_port: Callable[[], int]) -> Front:
    """One that ends no connection for being slow while a test runs."""
    return start(spawn, database_url, free_port(), SERVICE_CLIENT_TIMEOUT_SECONDS="300")
