"""A session that is lost leaves nothing behind, however often that happens."""

from pathlib import Path

import pytest

from tests.relay.stage import ExactlyOnceStage

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]

LOSE = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name like 'outbox-relay%%'
"""
TIMES = 8
# A connection that is made when it is needed, and one that is being replaced.
SLACK = 2


def held(pid: int) -> tuple[int, int]:
    """How many threads and descriptors a process has."""
    process = Path(f"/proc/{pid}")
    return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_neither_threads_nor_descriptors_are_left(
    exactly_once: ExactlyOnceStage, delivery: str
) -> None:
    stage = exactly_once
    stage.deliver(delivery)
    stage.create_topic("orders")
    relay = stage.relay()
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    assert relay._process is not None
    threads, descriptors = held(relay._process.pid)
    for _ in range(TIMES):
        stage.query(LOSE)
        stage.publish(10, "orders")
        stage.all_arrived("orders")
    now = held(relay._process.pid)
    assert now[0] <= threads + SLACK, f"{now[0]} threads, and there were {threads}"
    assert now[1] <= descriptors + SLACK, f"{now[1]} descriptors, and there were {descriptors}"
