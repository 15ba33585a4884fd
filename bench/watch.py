"""What a relay's checkpoints say about how far it got, by the database's clock."""

import time
from collections.abc import Callable
from datetime import datetime

from bench.arena import Connection

PATIENCE_SECONDS = 120
INTERVAL_SECONDS = 0.01

SEND_ONE = "select outbox.publish(%s, 'warm', '{}')"


def send_one(connection: Connection, topic: str, arrivals: int = 1) -> None:
    """Publishes one message, and waits until it has gone so many times: once a subscription.

    Raises RuntimeError where the relay does not get on.
    """
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    connection.execute(SEND_ONE, (topic,))
    wait_until_gone(connection, row[0], arrivals)


# Only inside a run's transaction does a relay's session carry a cursor's name.
FIRST_CLAIM = """
select min(xact_start) from pg_stat_activity where application_name like 'outbox-relay % cursor %'
"""


def watch(connection: Connection, arrivals: int) -> float:
    """Seconds from the next claim to the checkpoint with which so many messages have gone.

    Raises RuntimeError where the relay does not get on.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        row = connection.execute(FIRST_CLAIM).fetchone()
        assert row is not None
        if row[0] is not None:
            began_at: datetime = row[0]
            return (wait_until_gone(connection, began_at, arrivals) - began_at).total_seconds()
        _wait(deadline)


ACKNOWLEDGED = """
select coalesce(sum(messages), 0)::bigint, max(created_at)
from outbox.checkpoint
where created_at > %s
"""


def wait_until_gone(connection: Connection, since: datetime, arrivals: int) -> datetime:
    """Waits until so many messages have gone after `since`; when the last checkpoint was written.

    Raises RuntimeError where the relay does not get on.
    """
    before, deadline = 0, time.monotonic() + PATIENCE_SECONDS
    while True:
        row = connection.execute(ACKNOWLEDGED, (since,)).fetchone()
        assert row is not None
        so_far, last_at = row
        if so_far >= arrivals:
            ended_at: datetime = last_at
            return ended_at
        if so_far > before:
            before, deadline = so_far, time.monotonic() + PATIENCE_SECONDS
        _wait(deadline)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Raises RuntimeError where the relay does not get on."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        _wait(deadline)


def _wait(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError(f"the relay does not get on for {PATIENCE_SECONDS} s")
    time.sleep(INTERVAL_SECONDS)
