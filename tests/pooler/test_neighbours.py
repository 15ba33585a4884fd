"""Who is next on a pooled connection finds there what a fresh one brings, and nothing of ours."""

from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.long

# Whatever a session can leave behind. The last part: what it would do otherwise than a fresh one.
LEFT = """
    select 'prepared', name from pg_prepared_statements
    union all select 'listens', channel from pg_listening_channels() as channel
    union all select 'cursor', name from pg_cursors
    union all select 'lock', locktype from pg_locks
    where pid = pg_backend_pid() and locktype = 'advisory'
    union all select 'temporary', relname from pg_class where relnamespace = pg_my_temp_schema()
    union all select name, setting from pg_settings
    order by 1, 2
"""


def left(url: str) -> tuple[int, list[Any]]:
    with psycopg.connect(url, autocommit=True, application_name="neighbour") as neighbour:
        rows = neighbour.execute(LEFT).fetchall()
        (pid,) = neighbour.execute("select pg_backend_pid()").fetchone() or (0,)
        return pid, rows
