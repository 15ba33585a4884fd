"""However a request ends, its body goes with it, and waits for no collector of circles."""

import asyncio
import gc
import math
import socket
import weakref
from collections.abc import Iterator
from ipaddress import ip_network

import pytest
import uvloop

from relay.push.http.guard import Guard
from relay.push.http.resolver import AddrInfo
from tests.relay.push.http.endpoint import OK, Script, endpoint, request, until_closed
from tests.relay.push.http.requests import LOOPBACK, Client, Request


class Body(bytes):
    """Whose end is seen; no reference to bytes can be weak."""

    there = 0

    def __init__(self, _: int) -> None:
        Body.there += 1

    def __del__(self) -> None:
        Body.there -= 1


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def hang(connection: socket.socket) -> None:
    until_closed(connection)


def cut(connection: socket.socket) -> None:
    request(connection)


def noise(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(b"500 mail.example knows no such command\r\n")
    until_closed(connection)


def fail(connection: socket.socket) -> None:
    request(connection)
    connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    until_closed(connection)


def take(connection: socket.socket) -> None:
    request(connection)
    connection.sendall(OK)
    until_closed(connection)


def no_address(host: str, port: int, **_: object) -> list[AddrInfo]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def error_of(url: str, *, most_connections: int = 10, others: int = 0) -> str | None:
    """The word of one request beside `others`, whose body has gone when it is answered."""

    async def ask() -> str | None:
        client = Client(Guard(LOOPBACK), no_address, most_connections=most_connections)
        beside = [
            asyncio.create_task(client.post(Request(url, {}, b"", 10, math.inf)))
            for _ in range(others)
        ]
        await asyncio.sleep(0)
        answer = await client.post(Request(url, {}, Body(100_000), 0.5, math.inf))
        # A transport lets go in the loop's next turns.
        for _ in range(5):
            await asyncio.sleep(0)
        left = Body.there
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await client.close()
        assert not left
        return answer.error

    return uvloop.run(ask())


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (take, None),
        (fail, "http_503"),
        (hang, "timeout"),
        (cut, "disconnected"),
        (noise, "protocol"),
    ],
)
def test_of_a_request_to_an_endpoint_nothing_stays(script: Script, error: str | None) -> None:
    with endpoint(script) as server:
        assert error_of(server.url) == error


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://nobody.example/", "dns"),
        ("http://192.168.0.1/", "forbidden_address"),
        ("ftp://127.0.0.1/", "url"),
    ],
)
def test_of_a_request_that_found_no_endpoint_nothing_stays(url: str, error: str) -> None:
    assert error_of(url) == error


def test_of_a_request_to_a_closed_port_nothing_stays() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert error_of(f"http://127.0.0.1:{port}/") == "connect"


@pytest.mark.parametrize(("script", "error"), [(hang, "timeout"), (noise, "tls")])
def test_of_a_request_that_found_no_tls_nothing_stays(script: Script, error: str) -> None:
    with endpoint(script) as server:
        assert error_of(f"https://127.0.0.1:{server.port}/") == error


def test_of_a_request_that_found_no_connection_nothing_stays() -> None:
    with endpoint(hang) as server:
        assert error_of(server.url, most_connections=1, others=1) == "no_connection"


def test_of_a_connection_nothing_stays_behind() -> None:
    """Its parser held it, and it its parser."""

    async def ask(url: str) -> None:
        client = Client(Guard([ip_network("127.0.0.1/32")]))
        await client.post(Request(url, {}, b"", 5, math.inf))
        (connection,) = map(weakref.ref, client._pool._of)
        await client.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert connection() is None

    with endpoint(take) as server:
        uvloop.run(ask(server.url))
