"""Databases as released versions made them."""

from collections.abc import Iterator

import psycopg
import pytest

from local import released
from relay import migrations
from tests.conftest import PostgresServer


@pytest.fixture(params=released.versions())
def former_version(request: pytest.FixtureRequest) -> str:
    """One that was released, or is under way."""
    return str(request.param)


@pytest.fixture
def former_url(former_version: str, postgres_server: PostgresServer) -> Iterator[str]:
    """A database with the migrations and the roles of that version."""
    names = released.promised_hashes(former_version)
    made = [one.path for one in migrations.known() if one.path.name in names]
    assert len(made) == len(names)
    with postgres_server.clone("template0") as url:
        for script in (*made, released.promised_roles(former_version)):
            with psycopg.connect(url) as connection:
                connection.execute(script.read_bytes())
        yield url
