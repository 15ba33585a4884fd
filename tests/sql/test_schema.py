"""sql/schema.sql is what the migrations make."""

from local.schema import PATH, schema
from tests.conftest import PostgresServer


def test_the_committed_schema_is_what_the_migrations_make(postgres_server: PostgresServer) -> None:
    with postgres_server.clone("template0") as url:
        made = schema(url)
    assert made.splitlines() == PATH.read_text().splitlines(), "run: make schema"
