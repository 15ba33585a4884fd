"""Real servers for every test: one Postgres of each version and one Kafka for the whole run."""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from psycopg import sql

from local import kafka as local_kafka
from local import server as local_server
from local.elasticmq import Queues
from local.program import Program, script
from local.server import StartError
from tests.servers import TEMPLATE, ServerName, Servers, ask

SERVERS = pytest.StashKey[Servers]()
OLDEST = "postgres_14"

# What of the developer's environment would reach into the processes under test.
FOREIGN_SETTINGS = (
    "DATABASE_URL",
    "KAFKA_",
    "RELAY_",
    "SERVICE_",
    "WEBHOOK_",
    "OUTBOX_",
    "OTEL_",
    "PG",
)


# Whose rules say of the oldest Postgres what they say of the newest: there they are tried by night.
OLDEST_BY_NIGHT = (
    "tests/catalogue/",
    "tests/sql/test_connect",
    "tests/sql/test_event_types_unkept.py",
    "tests/sql/test_names.py",
    "tests/sql/test_own_channels.py",
    "tests/sql/test_quota.py",
    "tests/sql/test_views.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before those are left out whose marks are not asked for."""
    for item in items:
        if OLDEST in item.nodeid and item.nodeid.startswith(OLDEST_BY_NIGHT):
            item.add_marker(pytest.mark.nightly)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[SERVERS] = Servers()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker whom to ask for servers."""
    node.workerinput["servers_port"] = node.config.stash[SERVERS].port


def pytest_unconfigure(config: pytest.Config) -> None:
    if SERVERS in config.stash:
        config.stash[SERVERS].stop()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what the selected tests need before the first one's time runs."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    needs: list[tuple[str, ServerName]] = [
        ("postgres_server", "postgres_18"),
        ("any_database_url", "postgres_18"),
        ("kafka", "kafka"),
        ("elasticmq", "elasticmq"),
    ]
    for fixture, server in needs:
        if fixture in wanted:
            # A server that can't start fails the tests that need it, with its reason.
            with suppress(StartError):
                server_address(session.config, server)


def server_address(config: pytest.Config, name: ServerName) -> str:
    """host:port of a server of this run."""
    worker_input: dict[str, Any] | None = getattr(config, "workerinput", None)
    port = worker_input["servers_port"] if worker_input else config.stash[SERVERS].port
    return ask(port, name)


class PostgresServer:
    """A running PostgreSQL whose owner is the test run: look, but don't stop it."""

    def __init__(self, address: str):
        self.address = address

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """The URL of one database of this server."""
        return f"postgresql://{user}@{self.address}/{database}"

    @contextmanager
    def clone(self, template: str = TEMPLATE) -> Iterator[str]:
        """The URL of a new database, a copy of `template`, dropped in the end."""
        name = sql.Identifier(f"test_{uuid.uuid4().hex}")
        copy = sql.SQL("create database {} template {}").format(name, sql.Identifier(template))
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            # Files are copied as files, which 14 does always: block by block through the WAL, as
            # later ones do unless told, costs twice the time of most tests.
            if connection.info.server_version >= 150000:
                copy += sql.SQL(" strategy file_copy")
            connection.execute(copy)
        try:
            yield self.dsn(name.as_string().strip('"'))
        finally:
            with psycopg.connect(self.dsn(), autocommit=True) as connection:
                connection.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> PostgresServer:
    """PostgreSQL 18."""
    return PostgresServer(server_address(pytestconfig, "postgres_18"))


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A migrated database of the test's own on PostgreSQL 18, as superuser."""
    with postgres_server.clone() as url:
        yield url


def versions(since: int = 14) -> list[object]:
    """For the parameters of a fixture: every supported PostgreSQL.

    The oldest of them is long, or nightly by OLDEST_BY_NIGHT; those between have a command of their
    own.
    """
    marks = {since: pytest.mark.long}
    older = (
        pytest.param(f"postgres_{version}", marks=marks.get(version, pytest.mark.versions))
        for version in range(since, 18)
    )
    return ["postgres_18", *older]


@pytest.fixture(params=versions())
def any_database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of the test's own, on each version in turn, as superuser."""
    server = PostgresServer(server_address(request.config, request.param))
    with server.clone() as url:
        yield url


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> str:
    """Bootstrap servers of a real Kafka; it makes no topic by itself."""
    return server_address(pytestconfig, "kafka")


@pytest.fixture(scope="session")
def elasticmq(pytestconfig: pytest.Config) -> Queues:
    """The queues of a real ElasticMQ: each test makes its own."""
    return Queues(int(server_address(pytestconfig, "elasticmq").rpartition(":")[2]))


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}."


class CreateTopic(Protocol):
    def __call__(self, name: str, partitions: int = 4, **config: str) -> str: ...


@pytest.fixture
def create_topic(kafka: str, topic_prefix: str) -> CreateTopic:
    """Makes the topic `topic_prefix + name` and returns its full name."""

    def create(name: str, partitions: int = 4, **config: str) -> str:
        local_kafka.create_topic(kafka, topic_prefix + name, partitions, **config)
        return topic_prefix + name

    return create


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a loopback TCP port that no server listens on."""
    return local_server.free_port


class Spawn(Protocol):
    def __call__(
        self,
        program: str,
        *arguments: str,
        environment: Mapping[str, str],
        ready_url: str | None = None,
    ) -> Program: ...


@contextmanager
def spawning(directory: Path) -> Iterator[Spawn]:
    """Starts console scripts of this project as real processes, killed in the end.

    `spawn("outbox-relay", "run", environment={…})`: the environment is this one's without what
    would configure the processes, and with what is given. Their output is in `directory`, and what
    they wrote is shown with a failure.
    """
    programs: list[Program] = []
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)
    }

    def start(
        program: str,
        *arguments: str,
        environment: Mapping[str, str],
        ready_url: str | None = None,
    ) -> Program:
        started = Program(
            program,
            [script(program), *arguments],
            log=directory / f"{program}-{len(programs)}.log",
            environment={**inherited, **environment},
            ready_url=ready_url,
        )
        programs.append(started)
        started.launch()
        return started

    try:
        yield start
    finally:
        for program in programs:
            program.kill()
            print(f"--- {program.log.name}\n{program.log_tail(16_000)}")


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    """Starts programs for one test."""
    with spawning(tmp_path) as spawn:
        yield spawn
