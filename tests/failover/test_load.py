"""A primary is killed while writers write: what was acknowledged to them arrives, in order."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.eventually import eventually
from tests.pair import Pair
from tests.relay.stage import ExactlyOnceStage
from tests.servers import TEMPLATE

pytestmark = pytest.mark.long

WRITERS = 4
# Before the kill, and after it.
COMMITS = 400
WAIT_FOR_STANDBY = (
    "alter system set synchronous_standby_names = '*'",
    "select pg_reload_conf()",
)
SYNCHRONOUS = "select count(*) from pg_stat_replication where sync_state = 'sync'"
PUBLISH = """
insert into outbox.message (channel, type, group_key, idempotency_key, payload)
values ('orders', 'order.paid', %s, %s, '{}')
"""
LOGGED = "select idempotency_key from outbox.message where channel = 'orders'"


def replicate_synchronously(pair: Pair) -> None:
    """From here on a commit is acknowledged when the standby has it, as managed ones do."""
    with psycopg.connect(pair.primary.dsn(), autocommit=True) as primary:
        for statement in WAIT_FOR_STANDBY:
            primary.execute(statement)

        def synchronous() -> None:
            assert primary.execute(SYNCHRONOUS).fetchone() == (1,)

        eventually(synchronous, 30)


class Load:
    """Writers with a group each, which publish one message after the other and start anew where
    the server is gone; `acknowledged` are the keys whose commit was answered.
    """

    def __init__(self, url: str) -> None:
        self.acknowledged: list[str] = []
        self._url = url
        self._ended = threading.Event()

    def write(self, writer: int) -> None:
        n = 0
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=2) as session:
                    while not self._ended.is_set():
                        n += 1
                        key = f"{writer}-{n}"
                        session.execute(PUBLISH, (f"g{writer}", key))
                        self.acknowledged.append(key)
            except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction):
                # The server is gone, or a standby still. Whether the last one committed nobody
                # knows, and the next has another key.
                self._ended.wait(0.05)

    def end(self) -> None:
        self._ended.set()

    def reaches(self, commits: int) -> None:
        """Waits for so many acknowledged commits in all."""

        def reached() -> None:
            assert len(self.acknowledged) >= commits

        eventually(reached, 60)


@contextmanager
def under_load(url: str) -> Iterator[Load]:
    load = Load(url)
    threads = [threading.Thread(target=load.write, args=[n]) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.end()
        for thread in threads:
            thread.join()


@pytest.mark.timeout(180)
def test_nothing_acknowledged_is_lost_when_the_primary_is_killed_and_its_standby_promoted(
    pair: Pair, stage: ExactlyOnceStage
) -> None:
    stage.deliver("at_least_once")
    stage.create_topic("orders")
    replicate_synchronously(pair)
    stage.relay()
    with under_load(pair.url(TEMPLATE)) as load:
        load.reaches(COMMITS)
        killed_at = time.monotonic()
        pair.primary.kill()
        pair.address.switch(pair.standby.port)
        pair.promote()
        before = len(load.acknowledged)
        load.reaches(before + 1)
        seconds = time.monotonic() - killed_at
        load.reaches(before + COMMITS)
    [reckoning] = stage.all_arrived("orders")
    logged = {key for (key,) in stage.query(LOGGED)}
    assert set(load.acknowledged) <= logged
    print(
        f"{len(load.acknowledged)} acknowledged, {len(logged)} in the log and arrived in order, "
        f"{reckoning.repeats} repeats; written again {seconds:.1f} s after the kill"
    )
