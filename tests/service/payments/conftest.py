"""A service for tests that hold locks."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings


@pytest.fixture
def patient(database_url: str) -> Iterator[TestClient]:
    """A service that gives up no statement while a test runs."""
    app = create_app(Settings(database_url=database_url, pool_size=4, database_timeout_seconds=60))
    with TestClient(app) as client:
        yield client
