"""Fixtures of the tests that run real relays on a real Kafka."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from local.kafka import Kafka
from local.server import free_port
from tests.conftest import Spawn
from tests.proxy import Proxy
from tests.relay.stage import Stage
from tests.relay.wires import LOOPBACK, Wires

# Who may do what is asked only where a test forbids something.
ACCESS_CONTROL = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


@pytest.fixture
def stage(database_url: str, kafka: str, topic_prefix: str, spawn: Spawn) -> Stage:
    """On the Kafka that all tests share: no test may break it."""
    return Stage(database_url, kafka, topic_prefix, spawn)


@pytest.fixture(scope="session")
def two_doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kafka, Proxy]]:
    """A broker that only the tests of this process use; clients of its second listener are sent to
    the proxy before it.
    """
    port, behind, controller = free_port(), free_port(), free_port()
    with Proxy(behind) as proxy:
        doors = f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}"
        settings = {
            # A busy machine must not make it lose its registration, and a restart waits for the
            # former one.
            "broker.session.timeout.ms": "4000",
            "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller}",
            "listeners": f"{doors},WATCHED://{LOOPBACK}:{behind}",
            "advertised.listeners": f"{doors},WATCHED://{LOOPBACK}:{proxy.port}",
            "listener.security.protocol.map": ",".join(
                f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", "WATCHED")
            ),
            **ACCESS_CONTROL,
        }
        directory = tmp_path_factory.mktemp("kafka") / "data"
        with Kafka.start(directory, port=port, settings=settings, quick_start=True) as broker:
            yield broker, proxy
            broker.kill()


@pytest.fixture(scope="session")
def kafka_of_its_own(two_doors: tuple[Kafka, Proxy]) -> Kafka:
    """That broker, by its first door."""
    return two_doors[0]


@pytest.fixture
def broker(kafka_of_its_own: Kafka) -> Iterator[Kafka]:
    """A broker to freeze, kill and restart; it is whole again after the test."""
    yield kafka_of_its_own
    if kafka_of_its_own.running:
        kafka_of_its_own.resume()
    else:
        kafka_of_its_own.restart()


@pytest.fixture
def fragile_stage(database_url: str, broker: Kafka, topic_prefix: str, spawn: Spawn) -> Stage:
    """On a broker that may be broken."""
    return Stage(database_url, broker.bootstrap_servers, topic_prefix, spawn)


@pytest.fixture
def wires(
    database_url: str, two_doors: tuple[Kafka, Proxy], topic_prefix: str, spawn: Spawn
) -> Iterator[Wires]:
    """The watched wires of one test; they flow again after it."""
    broker, kafka = two_doors
    with Proxy(urlsplit(database_url).port or 5432) as database:
        yield Wires(
            Stage(database_url, broker.bootstrap_servers, topic_prefix, spawn), database, kafka
        )
    kafka.watch = lambda _: None
    kafka.flow()
