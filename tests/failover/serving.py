"""The service on a database that the tests lose."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings


@contextmanager
def serving(database_url: str) -> Iterator[TestClient]:
    """One with a small pool, which answers a fault with 500."""
    settings = Settings(database_url=database_url, pool_size=4, database_timeout_seconds=5)
    headers = {"Content-Type": "application/json"}
    with TestClient(create_app(settings), raise_server_exceptions=False, headers=headers) as client:
        yield client
