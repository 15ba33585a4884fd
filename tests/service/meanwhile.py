"""What another transaction does while a request waits for it."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import LiteralString

import psycopg

from tests.eventually import eventually
from tests.service.api import Platform


@contextmanager
def meanwhile(
    platform: Platform, statement: LiteralString, parameters: Mapping[str, object]
) -> Iterator[None]:
    """A statement whose transaction ends when a request waits for it, or when the block does."""
    with (
        psycopg.connect(platform.database.info.dsn) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute(statement, parameters)

        def let_go() -> None:
            eventually(lambda: waits_for(platform, other.info.backend_pid))
            other.commit()

        committed = pool.submit(let_go)
        yield
        committed.result()


def waits_for(platform: Platform, pid: int) -> None:
    """Asserts that one session waits for that one."""
    [[waiting]] = platform.database.execute(
        "select count(*) from pg_stat_activity where %s = any (pg_blocking_pids(pid))", [pid]
    ).fetchall()
    assert waiting == 1
