"""A relay that is frozen loses its work to another, and what it does when it wakes is refused."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.kafka import Kafka
from local.postgres import Postgres
from local.program import Program
from tests.conftest import PostgresServer, Spawn
from tests.eventually import eventually
from tests.relay.stage import Stage
from tests.servers import POSTGRES_SETTINGS, make_template

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures"]

# So long may a run wait for the broker; five seconds later, one that does nothing has lost its
# session.
BARRIER_SECONDS = "3"

SESSION = """
select state, wait_event from pg_stat_activity
where datname = current_database() and application_name like 'outbox-relay a cursor%%'
"""
RELAYS = "select distinct relay from outbox.checkpoint where messages > 0"


def in_state(stage: Stage, state: str, wait_event: str) -> None:
    """Raises AssertionError unless the session of relay a is in a run and waits so."""
    assert stage.query(SESSION) == [(state, wait_event)]


def took_over(stage: Stage) -> None:
    """Raises AssertionError until relay b has written a checkpoint."""
    assert ("b",) in stage.query(RELAYS)


def noticed(stage: Stage, log: str) -> None:
    """Raises AssertionError until relay a's log tells that its session is over.

    Woken, it finds its database gone, or first that the broker took too long.
    """
    assert "session_failed" in log


@pytest.fixture(scope="module")
def behind_a_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that listens on a Unix socket as well."""
    # A socket's path may be 107 bytes long; the server may run as another user.
    with tempfile.TemporaryDirectory(prefix="outbox-") as sockets:
        Path(sockets).chmod(0o777)
        settings = {**POSTGRES_SETTINGS, "unix_socket_directories": sockets}
        directory = tmp_path_factory.mktemp("postgres") / "data"
        with Postgres.start(directory, settings=settings) as server:
            make_template(server)
            yield server
            server.kill()


@pytest.fixture
def socket_stage(
    behind_a_socket: Postgres, broker: Kafka, topic_prefix: str, spawn: Spawn
) -> Iterator[Stage]:
    """Over a Unix socket, where no timeout of TCP helps."""
    sockets = behind_a_socket.settings["unix_socket_directories"]
    port = behind_a_socket.port
    with PostgresServer(f"127.0.0.1:{port}").clone() as url:
        database = url.rpartition("/")[2]
        over_socket = f"postgresql://postgres@/{database}?host={sockets}&port={port}"
        yield Stage(over_socket, broker.bootstrap_servers, topic_prefix, spawn)


def frozen_idle(stage: Stage, broker: Kafka) -> Program:
    """Relay a, frozen while it waits for the broker with a run in its hands."""
    stage.create_topic("orders")
    frozen = stage.relay(RELAY_NAME="a", RELAY_BARRIER_SECONDS=BARRIER_SECONDS)
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    broker.pause()
    stage.publish(200, "orders")
    eventually(lambda: in_state(stage, "idle in transaction", "ClientRead"), 10)
    frozen.pause()
    broker.resume()
    return frozen


def frozen_streaming(stage: Stage, broker: Kafka) -> Program:
    """Relay a, frozen while its session has more rows for it than it took."""
    stage.create_topic("orders")
    # A queue of 2 MB and a broker that takes nothing: reading stops in the middle of 60 MB.
    frozen = stage.relay(
        RELAY_NAME="a",
        RELAY_BARRIER_SECONDS=BARRIER_SECONDS,
        KAFKA_QUEUE_BUFFERING_MAX_KBYTES="2000",
    )
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    broker.pause()
    stage.publish(3000, "orders", size=20_000)
    eventually(lambda: in_state(stage, "active", "ClientWrite"), 10)
    frozen.pause()
    broker.resume()
    return frozen


def replaced_and_refused(stage: Stage, frozen: Program) -> None:
    """Another relay takes over from the frozen one, which wakes and does no harm."""
    stage.relay(RELAY_NAME="b")
    stage.publish(200, "orders")
    eventually(lambda: took_over(stage), 30)
    stage.all_arrived("orders")
    frozen.resume()
    eventually(lambda: noticed(stage, frozen.output()), 30)
    stage.publish(200, "orders")
    stage.all_arrived("orders")


def test_a_relay_frozen_idle_in_transaction_is_replaced_and_refused(
    fragile_stage: Stage, broker: Kafka
) -> None:
    replaced_and_refused(fragile_stage, frozen_idle(fragile_stage, broker))


def test_a_relay_frozen_idle_in_transaction_over_a_unix_socket_is_replaced_and_refused(
    socket_stage: Stage, broker: Kafka
) -> None:
    replaced_and_refused(socket_stage, frozen_idle(socket_stage, broker))


def test_a_relay_frozen_in_the_middle_of_a_stream_loses_its_session_without_a_rival(
    fragile_stage: Stage, broker: Kafka
) -> None:
    stage = fragile_stage
    frozen = frozen_streaming(stage, broker)

    def let_go() -> None:
        assert stage.query(SESSION) == []

    eventually(let_go, 30)
    replaced_and_refused(stage, frozen)


def test_a_relay_frozen_in_the_middle_of_a_stream_over_a_unix_socket_is_replaced_and_refused(
    socket_stage: Stage, broker: Kafka
) -> None:
    replaced_and_refused(socket_stage, frozen_streaming(socket_stage, broker))
