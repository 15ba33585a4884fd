"""The processes of the saga: four services, a relay for each database, and the provider."""

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from demo.processes import Processes
from demo.saga.messages import KAFKA, WEBHOOKS
from demo.saga.places import SERVICES, Places
from local.program import Program
from local.server import free_port

PROVIDER = "provider"
RELAYS = {service: f"relay-{service}" for service in SERVICES}

# In small, so that what takes minutes elsewhere fits into seconds. After an attempt whose outcome
# died with its relay a message goes again once the timeout is over.
TERMS = {
    "timeout_seconds": 3,
    "retry": {
        "initial_delay_seconds": 0.2,
        "multiplier": 2,
        "max_delay_seconds": 0.5,
        "max_attempts": 100,
    },
    "breaker": {"window_seconds": 3, "minimum": 5, "threshold": 0.5, "cool_down_seconds": 1},
    "on_exhausted": "park",
}


class Fleet(Processes):
    """Everything that can be killed. `order_url` is where customers go."""

    def __init__(self, places: Places, logs: Path) -> None:
        super().__init__(logs)
        self._places = places
        self._ports = {name: free_port() for name in (*SERVICES, *RELAYS.values(), PROVIDER)}
        self.order_url = self._url("order")
        self.inherited["KAFKA_BOOTSTRAP_SERVERS"] = places.bootstrap_servers

    def equip(self) -> None:
        """The outboxes, who subscribes to whom, and the programs. Raises StartError, psycopg.Error.

        Each database is an installation of its own, with a relay of its own.
        """
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._migrate, SERVICES))
        secrets: dict[str, dict[str, str]] = {service: {} for service in SERVICES}
        for service in SERVICES:
            with psycopg.connect(self._places.databases[service]) as connection:
                set_kafka_channels(connection, service)
                for channel, (sender, receiver) in WEBHOOKS.items():
                    if sender == service:
                        endpoint = f"{self._url(receiver)}/webhooks/{channel}"
                        secrets[receiver][channel] = subscribe(connection, channel, endpoint)
        programs = [
            *(self._service(service, secrets[service]) for service in SERVICES),
            *(self._relay(service) for service in SERVICES),
            self._provider(),
        ]
        self.programs = {program.name: program for program in programs}
        self.kills = dict.fromkeys(self.programs, 0)
        self.down = set(self.programs)

    def _migrate(self, service: str) -> None:
        self.relay_command(
            f"migrate-{service}", self._environment(service), "migrate", "--outbox-only"
        )

    def _environment(self, service: str) -> Mapping[str, str]:
        return {**self.inherited, "DATABASE_URL": self._places.databases[service]}

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def _service(self, name: str, secrets: Mapping[str, str]) -> Program:
        settings = {
            "GROUP_ID": self._places.prefix + name,
            "TOPIC_PREFIX": self._places.prefix,
            "SECRETS": json.dumps(secrets),
            "PROVIDER_URL": self._url(PROVIDER),
        }
        environment = {**self._environment(name), **settings}
        return self._python(name, f"demo.saga.services.{name}", environment)

    def _provider(self) -> Program:
        environment = {**self.inherited, "BOOK": str(self._places.book)}
        return self._python(PROVIDER, "demo.saga.provider", environment)

    def _python(self, name: str, module: str, environment: Mapping[str, str]) -> Program:
        return Program(
            name,
            [sys.executable, "-m", module],
            log=self.logs / f"{name}.log",
            environment={**environment, "PORT": str(self._ports[name])},
            ready_url=f"{self._url(name)}/healthz",
        )

    def _relay(self, service: str) -> Program:
        name = RELAYS[service]
        # Endpoints in the relay's own network are refused, but where they are allowed.
        allowed = {"RELAY_ALLOW_NETWORKS": "127.0.0.0/8"}
        environment = {**self._environment(service), **allowed}
        return self.relay(name, self._ports[name], self._places.prefix, environment)


SET_CHANNELS = "update outbox.subscription set channels = %s where name = 'kafka'"
PAUSE_KAFKA = """
    update outbox.subscription set paused = true, paused_reason = 'all of it goes to endpoints'
    where name = 'kafka'
"""


def set_kafka_channels(connection: psycopg.Connection[object], service: str) -> None:
    """Of what a service publishes, only what goes through Kafka: else a topic would be missed."""
    channels = [channel for channel, (sender, _) in KAFKA.items() if sender == service]
    if channels:
        connection.execute(SET_CHANNELS, [channels])
    else:
        connection.execute(PAUSE_KAFKA)


SUBSCRIBE = "select secret from outbox.subscribe(%s, %s, %s, %s)"


def subscribe(connection: psycopg.Connection[tuple[str]], channel: str, endpoint: str) -> str:
    """Sends a channel to an endpoint from now on; returns the secret of the signatures."""
    parameters = [channel.replace(".", "-"), channel, endpoint, Jsonb(TERMS)]
    row = connection.execute(SUBSCRIBE, parameters).fetchone()
    assert row is not None, "who subscribes gets a secret"
    return row[0]


@contextmanager
def fleet(places: Places, logs: Path) -> Iterator[Fleet]:
    """All is made and none of it started; all end with it."""
    started = Fleet(places, logs)
    try:
        started.equip()
        yield started
    finally:
        started.end()
