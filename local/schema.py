"""Writes sql/schema.sql: what the migrations make, in one file to read; `make schema`.

Until the version under way is released, it also writes what that version promises of the schema.
"""

import subprocess
from pathlib import Path

import psycopg

from local import released
from local.postgres import Postgres
from local.postgres_binaries import bin_dir
from local.stack import temporary_directory
from relay import migrations

PATH = Path(__file__).parent.parent / "sql" / "schema.sql"
HEADER = """\
-- What the migrations in sql/migrations make, as pg_dump of PostgreSQL 18 writes it.
-- It is for reading, and shows in a diff what a migration changes; nothing runs it.
-- `make schema` makes this file. Grants are in sql/roles.sql.
"""
# What pg_dump writes of itself and not of the schema: its version, and a key that is new each time.
OF_THE_DUMP = ("-- Dumped ", "\\restrict ", "\\unrestrict ")


def schema(url: str) -> str:
    """Migrates the empty database at `url`, on PostgreSQL 18; the text of sql/schema.sql for it.

    Raises MigrationError, psycopg.Error or CalledProcessError.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in migrations.migrate(connection, outbox_only=False):
            pass
    command = [str(bin_dir() / "pg_dump"), "--schema-only", "--no-owner", url]
    dump = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    lines = [line for line in dump.splitlines() if not line.startswith(OF_THE_DUMP)]
    return HEADER + "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    with temporary_directory() as directory:
        postgres = Postgres.start(directory / "postgres")
        try:
            PATH.write_text(schema(postgres.dsn()))
            with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
                migrations.grant_roles(connection)
                released.write(connection)
        finally:
            postgres.stop()
