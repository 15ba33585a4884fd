"""Both distributions work where nothing else is installed, on each Python that is here."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from local.distributions import CLIENT, RELAY, ROOT, build
from local.program import Program, script
from tests.conftest import PostgresServer
from tests.programs import missing
from tests.receiver import Receiver

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [one for one in ("3.11", "3.12", "3.13", "3.14") if one != THIS]
EXTRAS = "[otel,pubsub,sqs,yaml]"

PUBLISH = """
import sys
from outbox_client import Outbox
with Outbox(*sys.argv[1:]) as outbox:
    outbox.messages.publish(channel_id="orders", type="order.paid", payload={"id": 7})
"""


class Wheels(NamedTuple):
    """What is published, each built from its sdist."""

    relay: Path
    client: Path


class Installed:
    """An environment of its own with one wheel and what it depends on."""

    def __init__(self, directory: Path, python: str, *requirements: str | Path) -> None:
        self._bin = directory / "bin"
        uv("venv", "--python", python, directory)
        uv("pip", "install", "--python", self._bin / "python", *requirements)

    def program(self, name: str) -> Path:
        return self._bin / name

    def run(self, name: str, *arguments: str, **environment: str) -> str:
        """What a program of it prints. Raises CalledProcessError."""
        command: list[str | Path] = [self.program(name), *arguments]
        return subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=60
        ).stdout


def uv(*arguments: str | Path) -> None:
    """Nothing of the user's configuration counts, and no Python is fetched."""
    command = [script("uv"), "--quiet", "--no-config", "--no-python-downloads", *arguments]
    subprocess.run(command, check=True, timeout=110)


def find(python: str) -> str:
    """The interpreter of a version, on PATH or of pyenv; without one the test is not tried."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in (python, *map(str, sorted(pyenv.glob(f"{python}.*/bin/python")))):
        with suppress(subprocess.CalledProcessError):
            uv("python", "find", found)
            return found
    return missing(f"there is no Python {python} here; install it, and this test runs")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    directory = tmp_path_factory.mktemp("dist")
    return Wheels(*(build(project, directory)[1] for project in (RELAY, CLIENT)))


@pytest.fixture
def empty_url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.clone("template0") as url:
        yield url


COMMANDS = ("outbox-relay", "outbox-service")


def explain_themselves(relay: Installed) -> None:
    """The help of all commands imports all that they need."""
    for name in COMMANDS:
        assert relay.run(name, "--version") == f"{name} {version('outbox-relay')}\n"
        assert "DATABASE_URL" in relay.run(name, "--help")


def publish_and_deliver(
    relay: Installed, client: Installed, url: str, port: int, log: Path
) -> None:
    """From an empty database to a message that a client publishes and an endpoint has."""
    environment = {"DATABASE_URL": url}
    relay.run("outbox-relay", "migrate", "--outbox-only", **environment)
    with psycopg.connect(url) as connection:
        # There is no Kafka here.
        connection.execute("update outbox.subscription set paused = true")
    key = relay.run(
        "outbox-service", "keys", "create", "--name", "shop", "--scope", "publish", **environment
    ).split()[-1]
    with Receiver() as endpoint:
        subscribe = ("subscriptions", "add", "billing", "--channel", "orders", "--endpoint")
        relay.run("outbox-relay", *subscribe, f"{endpoint.url}/", **environment)
        service_url = f"http://127.0.0.1:{port}"
        with Program.start(
            "outbox-service",
            [relay.program("outbox-service")],
            log=log,
            environment={**environment, "SERVICE_PORT": str(port)},
            ready_url=f"{service_url}/readyz",
        ):
            client.run("python", "-c", PUBLISH, service_url, key)
        relay.run(
            "outbox-relay", "run", "--once", RELAY_ALLOW_NETWORKS="127.0.0.1/32", **environment
        )
        assert [one.body for one in endpoint.requests] == [b'{"id":7}']


@pytest.mark.long
def test_the_wheels_work_with_the_locked_versions_and_nothing_else(
    wheels: Wheels, tmp_path: Path, empty_url: str, free_port: Callable[[], int]
) -> None:
    locked = ("--no-deps", "--require-hashes", "-r", ROOT / "requirements.runtime.lock")
    relay = Installed(tmp_path / "relay", sys.executable, *locked)
    uv("pip", "install", "--python", relay.program("python"), "--no-deps", wheels.relay)
    client = Installed(
        tmp_path / "client", sys.executable, "-c", ROOT / "requirements.lock", wheels.client
    )
    explain_themselves(relay)
    publish_and_deliver(relay, client, empty_url, free_port(), tmp_path / "service.log")


@pytest.mark.nightly
@pytest.mark.parametrize("python", [THIS, *OTHERS])
def test_the_wheels_work_on_each_python_with_the_newest_versions_that_they_allow(
    python: str,
    wheels: Wheels,
    tmp_path: Path,
    empty_url: str,
    free_port: Callable[[], int],
) -> None:
    interpreter = find(python)
    relay = Installed(tmp_path / "relay", interpreter, f"{wheels.relay}{EXTRAS}")
    client = Installed(tmp_path / "client", interpreter, wheels.client)
    explain_themselves(relay)
    publish_and_deliver(relay, client, empty_url, free_port(), tmp_path / "service.log")
