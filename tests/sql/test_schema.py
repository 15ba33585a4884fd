"""sql/schema.sql is what the migrations make."""

import psycopg

from local.schema import PATH, schema
from tests.conftest import PostgresServer


def test_the_committed_schema_is_what_the_migrations_make(postgres_server: PostgresServer) -> None:
    with postgres_server.clone("template0") as url:
        made = schema(url)
    assert made.splitlines() == PATH.read_text().splitlines(), "run: make schema"


COMPILE = """
    select plpgsql_validator(routine.oid)
    from pg_proc as routine
    join pg_namespace as schema on schema.oid = pronamespace
    join pg_language as language on language.oid = prolang
    where nspname in ('outbox', 'sale') and lanname = 'plpgsql'
"""


def test_every_function_works_where_the_database_demands_most_of_functions(
    database_url: str,
) -> None:
    """As a login, a role or a database may by plpgsql.extra_errors."""
    with psycopg.connect(database_url) as connection:
        connection.execute("load 'plpgsql'")
        connection.execute("set local plpgsql.extra_errors = 'all'")
        assert connection.execute(COMPILE).rowcount > 100
