"""What a shop publishes has one effect at each consumer of the pages: by Kafka and by webhooks."""

import asyncio
import importlib
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from standardwebhooks import Webhook

from local.program import Program
from tests.adopt import page
from tests.adopt.node import link_packages
from tests.adopt.shop import Shop
from tests.conftest import CreateTopic, Spawn
from tests.eventually import eventually
from tests.programs import required

ORDERS = (1, 2)
ANOTHER_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
PUBLISH = "select outbox.publish('orders', 'order.paid', %s, group_key => %s)"
SUBSCRIBE = "select secret from outbox.subscribe(%s, 'orders', %s)"
KEYS = "select idempotency_key from outbox.message order by id"
PARCELS = "select receiver, order_id from parcel order by receiver, order_id"


class Receivers:
    """The receivers of the page as processes, each with a subscription of its own."""

    def __init__(self, shop: Shop, folder: Path, free_port: Callable[[], int]) -> None:
        self._shop = shop
        self._folder = folder
        self._free_port = free_port
        self._programs: list[Program] = []
        self.secrets: dict[str, tuple[str, str]] = {}  # URL and secret by name

    def start(self, name: str, command: Callable[[str], list[str]]) -> None:
        port = self._free_port()
        url = f"http://127.0.0.1:{port}/orders"
        with psycopg.connect(self._shop.superuser) as superuser:
            row = superuser.execute(SUBSCRIBE, [name, url]).fetchone()
        assert row is not None
        self.secrets[name] = url, row[0]
        program = Program(
            name,
            command(str(port)),
            log=self._folder / f"{name}.log",
            environment={
                **self._shop.environment(),
                "WEBHOOK_SECRET": row[0],
                "PORT": str(port),
            },
        )
        self._programs.append(program)
        program.launch()
        eventually(lambda: listens(port), 30)

    def kill(self) -> None:
        for program in self._programs:
            program.kill()
            print(f"--- {program.log.name}\n{program.log_tail(4_000)}")


def listens(port: int) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def receivers(a_shop: Shop, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Receivers]:
    a_shop.make_inbox()
    a_shop.make_tables("receivers")
    page.write("receivers", tmp_path)
    link_packages(tmp_path)
    made = Receivers(a_shop, tmp_path, free_port)
    try:
        uvicorn = [
            sys.executable,
            "-m",
            "uvicorn",
            f"--app-dir={tmp_path}",
            "receiver:app",
            "--port",
        ]
        made.start("python", lambda port: [*uvicorn, port])
        made.start("node", lambda _: [required("node"), str(tmp_path / "receiver.mjs")])
        yield made
    finally:
        made.kill()


@pytest.fixture
def modules(
    tmp_path: Path, a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Any]]:
    """Imports what the page of the inbox shows."""
    page.write("inbox", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DATABASE_URL", a_shop.url)
    yield importlib.import_module
    for name in page.files("inbox"):
        sys.modules.pop(name.removesuffix(".py"), None)


def parcels(shop: Shop) -> list[tuple[str, int]]:
    with psycopg.connect(shop.superuser) as superuser:
        return superuser.execute(PARCELS).fetchall()


def of(*names: str) -> list[tuple[str, int]]:
    return [(name, order) for name in sorted(names) for order in ORDERS]


def read_by_confluent_kafka(modules: Callable[[str], Any], kafka: str, topic: str) -> None:
    """All of the topic twice, as two consumers of one name do."""
    inbox, client = modules("with_psycopg"), modules("by_confluent_kafka")
    for group in (f"{topic}.a", f"{topic}.b"):
        received: list[str] = []

        def receive(key: str, order: Any, received: list[str] = received) -> None:
            inbox.receive(key, order)
            received.append(key)

        client.consume(
            kafka, topic, group, receive, lambda received=received: len(received) < len(ORDERS)
        )


async def read_by_aiokafka(modules: Callable[[str], Any], kafka: str, topic: str) -> None:
    inbox, client = modules("with_sqlalchemy"), modules("by_aiokafka")
    for group in (f"{topic}.c", f"{topic}.d"):
        received: asyncio.Queue[str] = asyncio.Queue()

        async def receive(key: str, order: Any, received: asyncio.Queue[str] = received) -> None:
            await inbox.receive(key, order)
            received.put_nowait(key)

        reading = asyncio.create_task(client.consume(kafka, topic, group, receive))
        for _ in ORDERS:
            await asyncio.wait_for(received.get(), 30)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    await inbox.engine.dispose()


def send(url: str, secret: str, key: str, body: str) -> int:
    """A request as the relay signs them."""
    now = datetime.now(UTC)
    headers = {
        "webhook-id": key,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(key, now, body),
    }
    return httpx2.post(url, content=body, headers=headers).status_code


@pytest.mark.long
def test_a_message_has_one_effect_at_each_consumer(
    a_shop: Shop,
    receivers: Receivers,
    modules: Callable[[str], Any],
    spawn: Spawn,
    kafka: str,
    create_topic: CreateTopic,
    topic_prefix: str,
) -> None:
    topic = create_topic("orders")
    with psycopg.connect(a_shop.url) as connection:
        for order in ORDERS:
            connection.execute(PUBLISH, [f'{{"id": {order}}}', str(order)])
    environment = {
        "DATABASE_URL": a_shop.superuser,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "RELAY_TOPIC_PREFIX": topic_prefix,
        "RELAY_ALLOW_NETWORKS": "127.0.0.1/32",
    }
    spawn("outbox-relay", "run", environment=environment)
    read_by_confluent_kafka(modules, kafka, topic)
    asyncio.run(read_by_aiokafka(modules, kafka, topic))

    def all_are_there() -> None:
        assert parcels(a_shop) == of("node", "psycopg", "python", "sqlalchemy")

    eventually(all_are_there, 30)
    with psycopg.connect(a_shop.superuser) as superuser:
        [(key,), *_] = superuser.execute(KEYS).fetchall()
    for url, secret in receivers.secrets.values():
        # A repeat: another parcel for the same order would be refused.
        assert send(url, secret, key, '{"id": 1}') == 204
        assert send(url, ANOTHER_SECRET, "forged", '{"id": 3}') == 401
        assert httpx2.post(url, content='{"id": 3}').status_code == 401
    all_are_there()
