"""What Kafka committed Postgres does not forget, and what does not fit is waited for."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from psycopg import sql

from local.postgres import Postgres
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.log_reader import read_log
from tests.proxy import Proxy
from tests.relay.stage import ExactlyOnceStage
from tests.relay.traps import CHECKPOINT, Trap
from tests.servers import TEMPLATE, make_template

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]

PUBLISH = "select outbox.publish('orders', 'event', '{}', group_key => 'g')"
WRITTEN = "select pg_current_wal_insert_lsn()::text"
WAL_WRITER = "select pid from pg_stat_activity where backend_type = 'walwriter'"
PREPARE = sql.SQL("prepare transaction {}")
COMMIT = sql.SQL("commit prepared {}")
FLUSHED = "select pg_current_wal_flush_lsn() >= %s::pg_lsn"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A server of the test's own, with room for thousands of prepared transactions."""
    settings = {
        "max_prepared_transactions": "4000",
        "max_locks_per_transaction": "10",
    }
    with Postgres.start(tmp_path / "postgres", settings=settings) as server:
        make_template(server)
        yield server
        server.kill()


@pytest.fixture
def roomy(postgres: Postgres, kafka: str, topic_prefix: str, spawn: Spawn) -> ExactlyOnceStage:
    """A stage on that server."""
    return ExactlyOnceStage(postgres.dsn(TEMPLATE), kafka, topic_prefix, spawn)


def commit_without_the_disk(stage: ExactlyOnceStage) -> str:
    """Commits a message that is not on disk yet; returns how far the disk has to come."""
    with stage.database() as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute(PUBLISH)
        row = connection.execute(WRITTEN).fetchone()
    assert row is not None
    return str(row[0])


@contextmanager
def no_one_else_writes_to_disk(stage: ExactlyOnceStage) -> Iterator[None]:
    """The server's own writer stands still: only who waits for the disk brings anything there."""
    ((writer,),) = stage.query(WAL_WRITER)
    os.kill(writer, signal.SIGSTOP)
    try:
        yield
    finally:
        # It would outlive its server.
        with suppress(ProcessLookupError):
            os.kill(writer, signal.SIGKILL)


def test_kafka_commits_nothing_that_postgres_could_forget(
    roomy: ExactlyOnceStage, postgres: Postgres
) -> None:
    stage = roomy
    stage.create_topic("orders")
    with Proxy(postgres.port) as wire:
        relay = stage.relay(DATABASE_URL=wire.url(stage.database_url))
        stage.publish(10, "orders")
        stage.all_arrived_once("orders")
        with no_one_else_writes_to_disk(stage):
            # Its own checkpoint would bring everything there: the wire holds that back.
            trap = Trap(wire, CHECKPOINT, wire.stall)
            lsn = commit_without_the_disk(stage)
            trap.wait()

            def seen() -> None:
                assert len(stage.arrivals("orders")) == 11

            eventually(seen, 30)
            assert stage.query(FLUSHED, lsn) == [(True,)], "a crash would take it back"
            postgres.kill()
        relay.kill()
    postgres.launch()
    # What was seen is still there, and nothing is taken for seen that came after the crash.
    stage.publish(50, "orders")
    stage.relay()
    stage.all_arrived_once("orders")
    assert len(read_log(stage.database_url, "orders")) == 61


BURN = """
create procedure burn(transactions integer) language plpgsql as $$
begin
    for n in 1 .. transactions loop
        perform pg_current_xact_id();
        commit;
    end loop;
end
$$
"""


@contextmanager
def open_transactions(stage: ExactlyOnceStage, number: int) -> Iterator[None]:
    """Keeps so many transactions open, their ids so far apart that each takes a byte to note."""
    random = Random(46)
    names = [f"open {n}" for n in range(number)]
    with stage.database() as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute(BURN)
        for name in names:
            connection.execute("call burn(%s)", (random.randrange(256),))
            connection.execute("begin")
            connection.execute("select pg_current_xact_id()")
            connection.execute(PREPARE.format(name))
        yield
        for name in names:
            connection.execute(COMMIT.format(name))


def test_a_thousand_open_transactions_delay_no_other(roomy: ExactlyOnceStage) -> None:
    stage = roomy
    stage.create_topic("orders")
    relay = stage.relay()
    with open_transactions(stage, 1000):
        for _ in range(3):
            stage.publish(100, "orders")
            stage.all_arrived_once("orders")
        assert "snapshot_too_large" not in relay.output()
        note = stage.note()
        assert note is not None
        assert len(note) > 1000, "the open transactions are not in it"
    stage.all_arrived_once("orders")


def test_a_snapshot_that_fits_no_metadata_is_waited_for_and_told(roomy: ExactlyOnceStage) -> None:
    stage = roomy
    stage.create_topic("orders")
    relay = stage.relay()
    stage.publish(10, "orders")
    stage.all_arrived_once("orders")
    before = stage.checkpoints()
    with open_transactions(stage, 3500):
        stage.publish(100, "orders", group="late")

        def told() -> None:
            assert "snapshot_too_large" in relay.output()

        eventually(told, 20)
        assert stage.checkpoints() == before
        assert len(stage.arrivals("orders")) == 10
    stage.all_arrived_once("orders")
