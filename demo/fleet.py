"""The processes of the company."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from demo import connectors
from demo.consumers import inventory
from demo.places import CONSUMERS, Places
from demo.processes import Processes
from demo.subscriptions import SUBSCRIBERS
from local.key import create_key, create_operator
from local.program import Program, script
from local.server import free_port
from service.payments import event_types

SERVICES = ("service-1", "service-2")
RELAYS = ("relay-1", "relay-2")
# Of the log that inventory has in its own database.
STOCK_RELAY = "relay-3"

# This consumer loses its offsets with its life, and reads everything again: its inbox must know it.
FORGETFUL = "finance"


class Fleet(Processes):
    """Two services, three relays, two consumers, and the subscribers once they have their secrets.

    `service_urls` are where the services listen, `subscriber_urls` where each subscriber does.
    """

    def __init__(self, places: Places, logs: Path) -> None:
        super().__init__(logs)
        self._places = places
        self._subscriber_ports = {name: free_port() for name in SUBSCRIBERS}
        self.subscriber_urls = {
            name: f"http://127.0.0.1:{port}" for name, port in self._subscriber_ports.items()
        }
        self._environment = {
            **self.inherited,
            "DATABASE_URL": places.sale,
            "KAFKA_BOOTSTRAP_SERVERS": places.bootstrap_servers,
            "SERVICE_CONSOLE": "on",
        }
        ports = {name: free_port() for name in (*SERVICES, *RELAYS, STOCK_RELAY)}
        self.service_urls = [f"http://127.0.0.1:{ports[name]}" for name in SERVICES]
        self.programs = {
            **{name: self._service(name, ports[name]) for name in SERVICES},
            **{name: self._relay(name, ports[name]) for name in RELAYS},
            STOCK_RELAY: self._stock_relay(ports[STOCK_RELAY]),
            **{name: self._consumer(name) for name in CONSUMERS},
        }
        self.kills = dict.fromkeys(self.programs, 0)
        self.down = set(self.programs)

    def equip(self, subscriber: str, secret: str) -> None:
        """Adds a subscriber that knows the secret of its webhooks' signatures; not started yet."""
        port = self._subscriber_ports[subscriber]
        settings = {
            "PORT": str(port),
            "RECORD": str(self._places.records[subscriber]),
            "SECRET": secret,
        }
        self.down.add(subscriber)
        self.programs[subscriber] = Program(
            subscriber,
            [sys.executable, "-m", "demo.subscribers", subscriber],
            log=self.logs / f"{subscriber}.log",
            environment={**self.inherited, **settings},
            ready_url=f"http://127.0.0.1:{port}/healthz",
        )

    def kill(self, name: str) -> None:
        """SIGKILL, in the middle of whatever it does."""
        super().kill(name)
        if name == FORGETFUL:
            self.programs[name] = self._consumer(name, anew=True)

    def migrate(self) -> None:
        """Bring both logs' databases up to date. Raises StartError with what a command said."""
        with ThreadPoolExecutor(2) as pool:
            for ended in (
                pool.submit(self._migrate, "migrate", self._environment),
                pool.submit(self._migrate, "migrate-stock", self._stock, "--outbox-only"),
            ):
                ended.result()

    def register(self) -> None:
        """Hold what the services publish to its types. Raises StartError with what is wrong."""
        words = ("catalogue", "apply", str(event_types.DIRECTORY))
        self.relay_command("register", self._environment, *words)

    def connect(self) -> None:
        """Makes the connectors. Raises StartError with what the command said."""
        for words in connectors.additions(self._places):
            self.relay_command("connect", self._stock, "connectors", *words)

    def create_key(self) -> str:
        """A new key of the API, to manage subscriptions. Raises StartError."""
        return create_key(self._environment, "demo", "--scope", "manage", "--scope", "read")

    def create_operator(self) -> str:
        """A new key with which the console shows and does all there is. Raises StartError."""
        return create_operator(self._environment)

    def status(self) -> str:
        """What `outbox-relay status` prints."""
        return self.relay_command("status", self._environment, "status")

    @property
    def _stock(self) -> dict[str, str]:
        """The environment of what works on inventory's log."""
        return {**self._environment, "DATABASE_URL": self._places.books[inventory.NAME]}

    def _migrate(self, name: str, environment: dict[str, str], *options: str) -> None:
        self.relay_command(name, environment, "migrate", *options)

    def _service(self, name: str, port: int) -> Program:
        return Program(
            name,
            [script("outbox-service")],
            log=self.logs / f"{name}.log",
            environment={**self._environment, "SERVICE_PORT": str(port)},
            ready_url=f"http://127.0.0.1:{port}/readyz",
        )

    def _relay(self, name: str, port: int) -> Program:
        # Endpoints in the relay's own network are refused, but where they are allowed.
        environment = {**self._environment, "RELAY_ALLOW_NETWORKS": "127.0.0.0/8"}
        return self.relay(name, port, self._places.prefix, environment)

    def _stock_relay(self, port: int) -> Program:
        permission = connectors.permission(self._places)
        return self.relay(STOCK_RELAY, port, self._places.prefix, {**self._stock, **permission})

    def _consumer(self, name: str, *, anew: bool = False) -> Program:
        settings = {
            "DATABASE_URL": self._places.books[name],
            "TOPIC": self._places.topic("payment.success"),
            "GROUP_ID": self._places.group(name, anew=anew),
        }
        return Program(
            name,
            [sys.executable, "-m", f"demo.consumers.{name}"],
            log=self.logs / f"{name}.log",
            environment={**self._environment, **settings},
        )


@contextmanager
def fleet(places: Places, logs: Path) -> Iterator[Fleet]:
    """The company with its tables made and none of its processes started; all end with it."""
    started = Fleet(places, logs)
    try:
        started.migrate()
        started.register()
        yield started
    finally:
        started.end()
