"""A database that is restarted, ends sessions or falls silent: the relay recovers by itself."""

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.postgres import Postgres
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.relay.stage import Stage
from tests.relay.writers import writing
from tests.servers import TEMPLATE, make_template

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures"]

CUTS = 3
# What goes over the wire at each moment: a session's first message, then the statements of a run.
MOMENTS = {
    "connect": b"application_name",
    "claim": b"begin isolation level read committed",
    "checkpoint": b"insert into outbox.checkpoint",
    "commit": b"commit\0",
}
COMMIT = MOMENTS["commit"]


@pytest.fixture
def proxy(stage: Stage) -> Iterator[Proxy]:
    """On the way to the test's database."""
    port = urlsplit(stage.database_url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_wire_that_is_cut_costs_no_message(stage: Stage, proxy: Proxy, moment: str) -> None:
    left = list(range(CUTS))

    def cut(data: bytes) -> None:
        if MOMENTS[moment] in data and left:
            left.pop()
            proxy.cut()

    proxy.watch = cut
    stage.create_topic("orders")
    stage.relay(DATABASE_URL=proxy.url(stage.database_url))
    for _ in range(CUTS + 1):
        stage.publish(100, "orders")
        stage.all_arrived("orders")
    assert not left, f"cut {CUTS - len(left)} times only"
    assert stage.dead_letters() == []


def test_a_commit_whose_answer_is_lost_is_found_out_and_nothing_is_sent_twice(
    stage: Stage, proxy: Proxy
) -> None:
    left = list(range(CUTS))

    def cut() -> None:
        proxy.cut()
        proxy.flow()

    def lose_the_answer(data: bytes) -> None:
        if COMMIT in data and left:
            left.pop()
            proxy.mute()
            # Time enough for the server to commit; its answer never gets through.
            threading.Timer(0.3, cut).start()

    proxy.watch = lose_the_answer
    stage.create_topic("orders")
    stage.relay(DATABASE_URL=proxy.url(stage.database_url))
    for _ in range(CUTS + 1):
        stage.publish(100, "orders")
        (reckoning,) = stage.all_arrived("orders")
    assert not left
    assert reckoning.repeats == 0


def test_a_relay_whose_wire_falls_silent_in_a_run_is_replaced_and_refused(
    stage: Stage, proxy: Proxy
) -> None:
    silent = threading.Event()

    def silence(data: bytes) -> None:
        if MOMENTS["checkpoint"] in data and not silent.is_set():
            proxy.stall()
            silent.set()

    proxy.watch = silence
    stage.create_topic("orders")
    stage.publish(100, "orders")
    cut_off = stage.relay(RELAY_BARRIER_SECONDS="1", DATABASE_URL=proxy.url(stage.database_url))
    assert silent.wait(20)
    stage.relay(RELAY_BARRIER_SECONDS="1")
    stage.publish(100, "orders")
    stage.all_arrived("orders")
    proxy.flow()

    def noticed() -> None:
        assert "session_failed" in cut_off.output()

    eventually(noticed, 20)
    stage.publish(100, "orders")
    (reckoning,) = stage.all_arrived("orders")
    assert reckoning.repeats == 100, "the run whose checkpoint never got through"
    assert cut_off.running


TERMINATE = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where datname = current_database() and application_name like 'outbox-relay%%'
"""


def test_sessions_that_are_terminated_under_load_lose_nothing_and_keep_the_order(
    stage: Stage,
) -> None:
    stage.create_topic("orders")
    stage.relay()
    ended = 0
    with writing(stage.database_url, "orders", seed=14):
        for _ in range(8):

            def moved_on(before: int = stage.checkpoints()) -> None:
                assert stage.checkpoints() > before + 2

            eventually(moved_on, 30)
            ended += stage.query(TERMINATE)[0][0]
    assert ended >= 8
    stage.all_arrived("orders")


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A server of the test's own, to kill and to restart."""
    with Postgres.start(tmp_path / "postgres") as server:
        make_template(server)
        yield server
        server.kill()


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_database_that_is_restarted_under_load_loses_nothing_and_keeps_the_order(
    postgres: Postgres, kafka: str, topic_prefix: str, spawn: Spawn, ending: str
) -> None:
    stage = Stage(postgres.dsn(TEMPLATE), kafka, topic_prefix, spawn)
    stage.create_topic("orders")
    relays = [stage.relay(), stage.relay()]
    with writing(stage.database_url, "orders", seed=15):

        def moved_on() -> None:
            assert stage.checkpoints() > 5

        eventually(moved_on, 30)
        getattr(postgres, ending)()
        postgres.launch()
    stage.all_arrived("orders")
    assert all(relay.running for relay in relays)
