"""Books for the consumers: databases of their own, beside the service's."""

from collections.abc import Iterator

import pytest

from demo.consumers import finance, inventory
from demo.places import open_books
from tests.conftest import PostgresServer


@pytest.fixture
def inventory_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The inventory's database, every product at its opening stock, and an outbox."""
    with postgres_server.clone() as url:
        open_books(url, inventory.NAME)
        yield url


@pytest.fixture
def finance_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Finance's database, nothing booked."""
    with postgres_server.clone("template0") as url:
        open_books(url, finance.NAME)
        yield url
