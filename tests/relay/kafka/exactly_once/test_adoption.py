"""A run in doubt is adopted only by the history of the database that it belongs to."""

import subprocess
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest

from local.postgres import Postgres
from tests.conftest import PostgresServer, Spawn
from tests.eventually import eventually
from tests.relay.stage import ExactlyOnceStage, Stage
from tests.servers import TEMPLATE, make_template

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]

REFUSED = "outbox_relay_cursors_refused_total"
# Each message in a transaction of its own, so that their ids cover whatever another history used.
PUBLISH_ONE = "select outbox.publish('orders', 'event', '{}', group_key => 'g')"


def deliver(stage: Stage, messages: int, channel: str) -> None:
    """One run of so many messages."""
    stage.publish(messages, channel)
    assert stage.relay("--once").wait(60) == 0


def publish_singly(stage: Stage, messages: int) -> None:
    with stage.database() as connection:
        for _ in range(messages):
            connection.execute(PUBLISH_ONE)


def refused(port: int) -> float:
    """How many cursors a relay has refused, by its metrics. Raises AssertionError for no answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    except OSError as unreachable:
        raise AssertionError(str(unreachable)) from unreachable
    finally:
        connection.close()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(REFUSED))


def test_two_databases_with_the_same_names_do_not_touch_each_others_cursors(
    exactly_once: ExactlyOnceStage, postgres_server: PostgresServer, spawn: Spawn
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    stage.create_topic("others")
    with postgres_server.clone() as url:
        other = ExactlyOnceStage(url, stage.bootstrap_servers, stage.topic_prefix, spawn)
        # Each has pending what the snapshot of the other one's latest run covers.
        deliver(stage, 10, "orders")
        deliver(other, 10, "others")
        other.publish(50, "others")
        deliver(stage, 50, "orders")
        deliver(other, 1, "others")
        stage.all_arrived_once("orders")
        other.all_arrived_once("others")


def test_a_subscription_dropped_and_made_again_does_not_adopt_the_former_ones_cursor(
    exactly_once: ExactlyOnceStage,
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    deliver(stage, 10, "orders")
    stage.execute("select outbox.delete_subscription(name, true) from outbox.subscription")
    stage.execute(
        "insert into outbox.subscription (name, delivery) values ('kafka', 'exactly_once')"
    )
    deliver(stage, 100, "orders")
    stage.all_arrived_once("orders")


def test_a_clone_that_kept_the_installation_id_sends_again_what_was_pending_and_loses_nothing(
    exactly_once: ExactlyOnceStage,
    postgres_server: PostgresServer,
    spawn: Spawn,
    free_port: Callable[[], int],
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    deliver(stage, 10, "orders")
    stage.publish(10, "orders")
    with postgres_server.clone(database_name(stage)) as url:
        twin = Stage(url, stage.bootstrap_servers, stage.topic_prefix, spawn)
        # Two runs that the clone knows nothing of: the first sends what is pending there too.
        assert stage.relay("--once").wait(60) == 0
        deliver(stage, 10, "orders")
        twin.publish(50, "orders", group="t")
        port = free_port()
        relay = twin.relay(RELAY_PORT=str(port))

        def counted() -> None:
            assert refused(port) >= 1

        eventually(counted, 30)
        assert "kafka_cursor_refused" in relay.output()
        eventually(lambda: lost_nothing(twin), 30)
        relay.stop()
        # Both histories count for the consumer: what was pending came from both, the rest once.
        repeats = twin.reckoning("orders").repeats
        assert repeats == 10
        # And the other way round.
        deliver(stage, 50, "orders")
        eventually(lambda: lost_nothing(stage), 30)


def test_the_only_run_of_a_clone_is_not_adopted_by_its_original(
    exactly_once: ExactlyOnceStage, postgres_server: PostgresServer, spawn: Spawn
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    stage.create_topic("others")
    deliver(stage, 10, "orders")
    with postgres_server.clone(database_name(stage)) as url:
        twin = Stage(url, stage.bootstrap_servers, stage.topic_prefix, spawn)
        # Both stand at the same checkpoint. The twin's snapshot covers what is pending here.
        stage.publish(50, "orders")
        deliver(twin, 10, "others")
        assert stage.relay("--once").wait(60) == 0
        stage.all_arrived_once("orders")


def lost_nothing(stage: Stage) -> None:
    """Raises AssertionError where something of this history has not arrived."""
    assert stage.reckoning("orders").lost == []


def database_name(stage: Stage) -> str:
    with stage.database() as connection:
        return connection.info.dbname


class Histories:
    """A server, and a copy of its data from an earlier moment."""

    def __init__(self, server: Postgres, copy: Path) -> None:
        self.server = server
        self._copy = copy
        self._other: Postgres | None = None

    def remember(self) -> None:
        """Takes the copy, as a backup of the files does."""
        self.server.stop()
        subprocess.run(["cp", "-a", self.server.data_dir, self._copy], check=True, timeout=60)
        self.server.launch()

    def go_back(self, *, promoted: bool) -> None:
        """The server is gone; in its place is the copy, or a standby that had come no further."""
        self.server.kill()
        if promoted:
            (self._copy / "standby.signal").touch()
        self._other = Postgres.start(self._copy, port=self.server.port)
        if promoted:
            with psycopg.connect(self._other.dsn(), autocommit=True) as connection:
                row = connection.execute("select pg_promote(true, 30)").fetchone()
                assert row == (True,)

    def end(self) -> None:
        for server in (self.server, self._other):
            if server is not None:
                server.kill()


@pytest.fixture
def histories(tmp_path: Path) -> Iterator[Histories]:
    """A server of the test's own, that can go back."""
    server = Postgres.start(tmp_path / "postgres")
    histories = Histories(server, tmp_path / "copy")
    try:
        make_template(server)
        yield histories
    finally:
        histories.end()


# After one run Kafka's cursor names the very checkpoint that the copy stands at.
@pytest.mark.parametrize("promoted", [True, False], ids=["standby_promoted", "restored"])
def test_after_a_step_back_in_time_nothing_new_is_skipped(
    histories: Histories,
    kafka: str,
    topic_prefix: str,
    spawn: Spawn,
    promoted: bool,
) -> None:
    stage = ExactlyOnceStage(histories.server.dsn(TEMPLATE), kafka, topic_prefix, spawn)
    stage.create_topic("orders")
    stage.create_topic("forgotten")
    deliver(stage, 10, "orders")
    histories.remember()
    deliver(stage, 10, "forgotten")
    histories.go_back(promoted=promoted)
    # The transaction ids of what was forgotten are used again.
    publish_singly(stage, 20)
    assert stage.relay("--once").wait(60) == 0
    stage.all_arrived_once("orders")
