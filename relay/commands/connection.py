"""The connection of a command to a database that fits this code."""

from collections.abc import Iterator
from contextlib import contextmanager

from relay import migrations
from relay.database import Connection, connect, transaction
from relay.settings import Settings

TIMEOUT = "select set_config('lock_timeout', '8s', true)"


@contextmanager
def migrated(settings: Settings) -> Iterator[Connection]:
    """Connects. Raises migrations.MigrationError where the database does not fit this code."""
    with connect(settings) as connection:
        with transaction(connection):
            connection.execute(TIMEOUT)
            migrations.check(connection)
        yield connection
