"""A relay beside whose version a migration does not work, and that runs already when it comes."""

from collections.abc import Callable

import httpx2
import psycopg
import pytest

from tests.conftest import Spawn
from tests.eventually import eventually

# It needs no Kafka.
NO_SUBSCRIPTION = "delete from outbox.subscription"
INCOMPATIBLE = "insert into outbox.migration (version, name) values (999, 'future')"
END_SESSIONS = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
"""


@pytest.mark.long
def test_it_is_not_ready_and_ends_when_it_next_connects_and_says_why(
    database_url: str, spawn: Spawn, free_port: Callable[[], int]
) -> None:
    ready_url = f"http://127.0.0.1:{(port := free_port())}/readyz"
    environment = {"DATABASE_URL": database_url, "RELAY_PORT": str(port)}
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(NO_SUBSCRIPTION)
        relay = spawn("outbox-relay", "run", environment=environment, ready_url=ready_url)
        owner.execute(INCOMPATIBLE)

        def is_not_ready() -> None:
            answer = httpx2.get(ready_url)
            assert (answer.status_code, "999 future" in answer.text) == (503, True)

        eventually(is_not_ready)
        owner.execute(END_SESSIONS)
    assert relay.wait(20) == 1
    assert "999 future, which this version does not know" in relay.output()
