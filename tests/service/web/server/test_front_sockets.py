"""WebSockets that are never finished, never read, or never silent."""

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import psycopg
import pytest

from local.server import free_port
from service.web.server.websocket import MAX_FRAMES
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.payments.live_socket import publish
from tests.service.raw import Raw, get
from tests.service.shop import Shop
from tests.service.web.front import MEGABYTE, Front, only_ours, start

NOT_SILENT = 'service_connections_ended_total{reason="websocket_not_silent"}'
PING, PONG, TEXT, BINARY, CONTINUATION = 0x9, 0xA, 0x1, 0x2, 0x0


FEW = {"SERVICE_CLIENT_TIMEOUT_SECONDS": "1", "SERVICE_MAX_CONNECTIONS": "20"}


@pytest.fixture(scope="module")
def front(module_spawn: Spawn, front_database_url: str) -> Front:
    return start(module_spawn, front_database_url, free_port(), **FEW)


@pytest.fixture
def database(front: Front) -> Iterator[psycopg.Connection[Any]]:
    """The owner's session in its database."""
    with psycopg.connect(front.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def order_id(front: Front, database: psycopg.Connection[Any]) -> str:
    with httpx2.Client(base_url=f"http://127.0.0.1:{front.port}") as http:
        return str(Shop(http, database).order()["id"])


def handshake(order_id: str, *headers: str) -> bytes:
    return get(
        f"/v1/api/sale/ws?orderId={order_id}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        *headers,
    )


def frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """A client's frame; its mask is zero, so that the payload goes as it is."""
    assert len(payload) < 126
    return struct.pack("!BBI", opcode | (0x80 if final else 0), 0x80 | len(payload), 0) + payload


def joined(front: Front, order_id: str, receive_buffer: int | None = None) -> Raw:
    client = front.raw(receive_buffer).send(handshake(order_id))
    while b"\r\n\r\n" not in client.some():
        pass
    return client


@pytest.mark.parametrize(
    "header",
    [
        f"X: {'a' * 9000}",  # more than the WebSocket library takes in a line
        "Sec-WebSocket-Version: 12",
        "Sec-WebSocket-Key: x",
        "Content-Length: 5",
    ],
)
def test_a_handshake_that_is_none_is_answered_and_ended(
    front: Front, order_id: str, header: str
) -> None:
    with front.raw() as client:
        content = client.send(handshake(order_id, header)).rest()
    assert content.startswith(b"HTTP/1.1 4"), content
    eventually(lambda: only_ours(front))


def test_a_crowd_of_websockets_keeps_out_neither_another_nor_requests(
    front: Front, order_id: str, database: psycopg.Connection[Any]
) -> None:
    """Six times as many as there may be; none of them says a word, not even when it is closed."""
    with ExitStack() as stack:
        for _ in range(60):
            newest = stack.enter_context(joined(front, order_id))
        publish(database, order_id, "for the newest")
        assert b"for the newest" in newest.some()
        for _ in range(30):
            stack.enter_context(front.raw())
        assert front.status("/readyz") == 200


def test_a_flood_of_pings_that_are_not_read_costs_no_memory(front: Front, order_id: str) -> None:
    before = front.memory()
    with joined(front, order_id, receive_buffer=4096) as client:
        # A message in between, which the service reads and drops.
        pings = frame(PING, b"x" * 125) * 500 + frame(TEXT, b"x")
        for _ in range(32 * MEGABYTE // len(pings)):
            if not client.send_for(pings, 5):
                break
        assert front.memory() - before < 16 * MEGABYTE
    eventually(lambda: only_ours(front))


FRAMES = {
    "messages": frame(TEXT, b"x"),
    "no text": frame(BINARY, b"\xff"),
    "pings": frame(PING, b"x"),
    "pongs": frame(PONG),
    "fragments of messages": frame(TEXT, final=False) + frame(CONTINUATION),
    "endless fragments": frame(CONTINUATION, final=False),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_client_that_is_not_silent_is_closed(front: Front, order_id: str, kind: str) -> None:
    begun = frame(TEXT, final=False) if kind == "endless fragments" else b""
    with joined(front, order_id) as client:
        # One after the other, as those would come that are meant.
        for content in [begun, *[FRAMES[kind]] * (MAX_FRAMES + 1)]:
            client.send(content)
        assert b"\x88\x11" + struct.pack("!H", 1008) + b"too many frames" in client.rest()
    eventually(lambda: only_ours(front))


def test_those_that_are_not_silent_are_counted(
    spawn: Spawn, front_database_url: str, order_id: str
) -> None:
    front = start(spawn, front_database_url, free_port(), **FEW)
    for kind in ("messages", "pings"):
        with joined(front, order_id) as client:
            client.send(FRAMES[kind] * (MAX_FRAMES + 1)).rest()

    def counted() -> None:
        assert front.metric(NOT_SILENT) == 2

    eventually(counted)


def test_a_client_that_speaks_before_it_is_answered_is_dropped(
    spawn: Spawn, front_database_url: str, order_id: str, database: psycopg.Connection[Any]
) -> None:
    """Its order can't be read yet, while it sends what would have to be kept until then."""
    front = start(spawn, front_database_url, free_port(), **FEW)
    with database.transaction():
        database.execute("lock table sale.sale_order in access exclusive mode")
        with front.raw() as client:
            client.send(handshake(order_id))
            client.send_for(frame(TEXT, b"x") * 100_000, 5)
            eventually(client.assert_closed)
    eventually(lambda: only_ours(front))

    def counted() -> None:
        assert front.metric(NOT_SILENT) == 1

    eventually(counted)


def test_a_client_that_says_it_is_alive_gets_its_updates(
    front: Front, order_id: str, database: psycopg.Connection[Any]
) -> None:
    with joined(front, order_id) as client:
        for _ in range(MAX_FRAMES // 3):
            client.send(frame(PING) + frame(TEXT, b"ping") + frame(PONG))
        publish(database, order_id, "here it is")
        content = b""
        while b"here it is" not in content:
            content += client.some()


def test_a_client_that_reads_nothing_is_dropped(
    front: Front, order_id: str, database: psycopg.Connection[Any]
) -> None:
    """Updates of 300 KB until neither kernel nor service takes more for it."""
    with joined(front, order_id, receive_buffer=4096):
        for _ in range(30):
            publish(database, order_id, "x" * 300_000)
        eventually(lambda: only_ours(front), 40)
