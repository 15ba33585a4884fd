"""The ways to a database: directly, and through PgBouncer in transaction mode."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from local.pgbouncer import PgBouncer
from local.stack import temporary_directory

# For the parameters of a fixture.
WAYS = ["directly", pytest.param("pooled", marks=pytest.mark.long)]
# Each client has to wait for a connection, and none for long.
SETTINGS = {"default_pool_size": "3"}


@contextmanager
def by_way(way: str, url: str) -> Iterator[str]:
    """How to reach the database of `url` that way, as the login that it names."""
    if way == "directly":
        yield url
        return
    with pooled(url) as pooler:
        yield pooler.url(url)


@contextmanager
def pooled(url: str, settings: Mapping[str, str] = SETTINGS) -> Iterator[PgBouncer]:
    """A pooler before the server of `url` that lets its login in; killed in the end."""
    login = str(conninfo_to_dict(url)["user"])
    with temporary_directory() as directory:
        pooler = PgBouncer.start(Path(directory), url, logins=[login], settings=settings)
        try:
            yield pooler
        finally:
            pooler.kill()
            print(f"--- {pooler.log.name}\n{pooler.log_tail()}")
