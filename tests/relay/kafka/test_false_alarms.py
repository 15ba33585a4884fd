"""Only a call to Kafka is taken for one that does not return, whatever else takes its time."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.program import Program
from tests.eventually import eventually
from tests.relay.stage import ExactlyOnceStage
from tests.relay.stuck import NO_ROOM_SECONDS, asked, start

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]

SESSIONS = """
select pid from pg_stat_activity
where datname = current_database() and application_name like 'outbox-relay%%'
order by backend_start desc
"""

Watched = Callable[[str], Program]


@pytest.fixture
def watched(
    exactly_once: ExactlyOnceStage, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[Watched]:
    """Starts a relay on a database URL that soon gives up calls which do not return."""
    with ExitStack() as stack:

        def relay(database_url: str) -> Program:
            environment = exactly_once.environment(
                RELAY_BARRIER_SECONDS="1", RELAY_PORT=str(free_port()), DATABASE_URL=database_url
            )
            return stack.enter_context(start(tmp_path, environment))

        yield relay


def blamed_no_cluster(relay: Program) -> None:
    assert "call_does_not_return" not in relay.output()
    assert asked(relay, "/healthz")[0] == 200


@pytest.mark.timeout(120)
def test_hosts_that_are_silent_one_after_the_other_are_waited_for(
    exactly_once: ExactlyOnceStage, watched: Watched
) -> None:
    stage = exactly_once
    stage.deliver("at_least_once")
    stage.create_topic("orders")
    with ExitStack() as stack:
        # Five seconds each: connect_timeout.
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        parts = urlsplit(stage.database_url)
        user, _, host = parts.netloc.rpartition("@")
        hosts = [f"127.0.0.1:{one.getsockname()[1]}" for one in silent] + [host]
        relay = watched(parts._replace(netloc=f"{user}@{','.join(hosts)}").geturl())
        stage.publish(10, "orders")
        stage.all_arrived("orders", timeout_seconds=60)
        blamed_no_cluster(relay)


@pytest.mark.timeout(120)
def test_a_database_that_takes_its_time_is_waited_for(
    exactly_once: ExactlyOnceStage, watched: Watched
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    relay = watched(stage.database_url)
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    # The younger one is the worker's; the loop goes on meanwhile.
    slow = stage.query(SESSIONS)[0][0]
    os.kill(slow, signal.SIGSTOP)
    try:
        stage.publish(10, "orders")
        with pytest.raises(AssertionError):
            eventually(lambda: gave_up(relay), 2 * NO_ROOM_SECONDS)
    finally:
        os.kill(slow, signal.SIGCONT)
    stage.all_arrived("orders")
    blamed_no_cluster(relay)


def gave_up(relay: Program) -> None:
    """Raises AssertionError until the relay gives up a thread."""
    assert "call_does_not_return" in relay.output()
