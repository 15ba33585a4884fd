"""A shop of the test's own."""

from collections.abc import Iterator

import pytest

from tests.adopt.shop import Shop, shop
from tests.conftest import PostgresServer


@pytest.fixture
def a_shop(postgres_server: PostgresServer) -> Iterator[Shop]:
    with shop(postgres_server) as made:
        yield made
