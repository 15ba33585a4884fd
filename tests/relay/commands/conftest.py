"""A database with a subscription, for the tests of the commands."""

from collections.abc import Iterator

import psycopg
import pytest

from relay.database import Connection
from relay.operate import subscription
from tests.relay.commands.billing import ENDPOINT


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def secret(connection: Connection) -> str:
    """That of `billing`, which is subscribed to channel `orders`."""
    return subscription.add(
        connection, "billing", channels=["orders"], endpoint=ENDPOINT, settings={}
    )
